//! One random history of a switch, played to `sim` and to the reference: entries, groups and
//! packets, all drawn from bytes, so that proptest and a fuzzer can both write them and shrink
//! them. Byte 0 is the plainest choice everywhere, and what is missing at the end is 0.
#![allow(unreachable_pub)]

mod frames;
mod tape;
mod writes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use num_bigint::BigUint;
use sim::control::{Control, CounterData};
use sim::{Pipeline, Switch, SwitchConfig, Worker};

use crate::reference::{Counted, Program, Reference, Stop};
pub use tape::{Pool, Seen, Tape};

/// A program, as both sides read it.
pub struct Subject {
    pub name: String,
    pub program: Rc<Program>,
    pub pipeline: Arc<Pipeline>,
    pub pool: Pool,
}

impl Subject {
    /// Reads a document; an error if `sim` does not take it.
    pub fn load(name: &str, json: &[u8]) -> Result<Subject, String> {
        let pipeline = Pipeline::load(json).map_err(|error| error.to_string())?;
        let document = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let pool = Pool::new(&document);
        Ok(Subject {
            name: name.to_owned(),
            program: Rc::new(Program::new(document)),
            pipeline: Arc::new(pipeline),
            pool,
        })
    }
}

/// The bytes that a history is drawn from: a tape for each write and for each packet.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub writes: Vec<Vec<u8>>,
    pub packets: Vec<Vec<u8>>,
}

impl Case {
    /// Cuts bytes into tapes: each begins with its length, and what is even is a write.
    pub fn cut(mut bytes: &[u8]) -> Case {
        let mut case = Case::default();
        while let Some((&length, rest)) = bytes.split_first() {
            let (tape, rest) = rest.split_at(rest.len().min(usize::from(length)));
            bytes = rest;
            match length % 2 {
                0 if case.packets.is_empty() => case.writes.push(tape.to_vec()),
                _ => case.packets.push(tape.to_vec()),
            }
        }
        case
    }
}

/// How a history that showed no difference ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides did the same; so many frames left.
    Agreed {
        left: usize,
        /// Entries hit, by table.
        hits: BTreeMap<String, u64>,
    },
    /// The reference could not tell, and why.
    Open(Stop),
}

/// Both sides in the same state.
pub struct Pair<'a> {
    subject: &'a Subject,
    reference: Reference,
    switch: Arc<Switch>,
    control: Control,
    worker: Worker,
    /// What the keys of entries are, for packets to hit them.
    seen: Seen,
    /// What was done so far, for whoever reads a failure.
    log: String,
}

impl<'a> Pair<'a> {
    fn new(subject: &'a Subject) -> Pair<'a> {
        let switch = Switch::new(SwitchConfig {
            max_passes: 1024,
            ..SwitchConfig::default()
        });
        let control = switch.load(subject.pipeline.clone());
        let worker = switch.worker();
        Pair {
            reference: Reference::new(subject.program.clone()),
            subject,
            switch,
            control,
            worker,
            seen: Seen::new(),
            log: String::new(),
        }
    }

    fn fail<T>(&self, what: &str) -> Result<T, String> {
        let Pair { subject, log, .. } = self;
        Err(format!("{}: {what}\nafter\n{log}", subject.name))
    }
}

type ByPort = BTreeMap<u32, Vec<Vec<u8>>>;

fn by_port(frames: Vec<(u32, Vec<u8>)>) -> ByPort {
    let mut ports = ByPort::new();
    for (port, frame) in frames {
        ports.entry(port).or_default().push(frame);
    }
    ports
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn show(ports: &ByPort) -> String {
    let mut text = String::new();
    for (port, frames) in ports {
        for frame in frames {
            let _ = write!(text, "\n    port {port}: {}", hex(frame));
        }
    }
    text
}

/// Plays a history; an error says where the two sides differ.
pub fn play(subject: &Subject, case: &Case) -> Result<Outcome, String> {
    let mut pair = Pair::new(subject);
    for tape in &case.writes {
        let seen = pair.seen.clone();
        pair.write(&mut Tape::new(tape, &subject.pool, &seen))?;
    }
    let seen = pair.seen.clone();
    let mut left = 0;
    let mut now_us = 1_000_000;
    for tape in &case.packets {
        let mut tape = Tape::new(tape, &subject.pool, &seen);
        let again = tape.below(16);
        let (port, frame) = frames::draw(&pair.reference, &mut tape);
        // The same frame again, with an entry more on its way each time: so it gets far.
        for pass in 0..=again {
            now_us += 1_000;
            match pair.send(now_us, port, &frame)? {
                Ok(frames) => left += frames,
                Err(stop) => return Ok(Outcome::Open(stop)),
            }
            if pass < again {
                pair.learn(&mut tape)?;
            }
        }
    }
    pair.compare_state()?;
    let tables = pair.reference.tables.iter();
    let hits = tables.map(|(name, table)| {
        let entries = table.entries.iter();
        (
            name.clone(),
            entries.map(|entry| entry.counted.packets).sum(),
        )
    });
    let hits = hits.collect();
    Ok(Outcome::Agreed { left, hits })
}

impl Pair<'_> {
    /// Gives both a frame; how many frames left, or why the reference could not tell.
    fn send(
        &mut self,
        now_us: u64,
        port: u32,
        frame: &[u8],
    ) -> Result<Result<usize, Stop>, String> {
        let _ = writeln!(self.log, "  frame on port {port}: {}", hex(frame));
        let expected = match self.reference.process(now_us, port, frame) {
            Ok(frames) => by_port(frames),
            Err(stop) => return Ok(Err(stop)),
        };
        let mut frames = Vec::new();
        let now = Duration::from_micros(now_us);
        self.worker.process(now, port, frame, &mut frames);
        let left = frames.len();
        let found = by_port(frames);
        if found != expected {
            let (expected, found) = (show(&expected), show(&found));
            return self.fail(&format!("expected {expected}\n  found {found}"));
        }
        Ok(Ok(left))
    }
}

fn same(counted: Counted, data: CounterData) -> bool {
    (counted.packets, counted.bytes) == (data.packets, data.bytes)
}

impl Pair<'_> {
    /// Counters, registers and digests at the end.
    fn compare_state(&self) -> Result<(), String> {
        let pipeline = self.control.pipeline();
        for (handle, info) in pipeline.counters() {
            for (i, expected) in self.reference.counters[&info.name].iter().enumerate() {
                let found = self.control.counter(handle, i).map_err(|e| e.to_string())?;
                if !same(*expected, found) {
                    let name = &info.name;
                    return self.fail(&format!(
                        "{name}[{i}]: expected {expected:?}, found {found:?}"
                    ));
                }
            }
        }
        for (handle, info) in pipeline.registers() {
            for (i, expected) in self.reference.registers[&info.name].iter().enumerate() {
                let found = self
                    .control
                    .register(handle, i)
                    .map_err(|e| e.to_string())?;
                let found = BigUint::from_bytes_be(&found);
                if *expected != found.clone().into() {
                    let name = &info.name;
                    return self.fail(&format!("{name}[{i}]: expected {expected}, found {found}"));
                }
            }
        }
        for (handle, info) in pipeline.digests() {
            let found: Vec<Vec<BigUint>> = self
                .control
                .take_digests(handle, usize::MAX)
                .into_iter()
                .map(|message| {
                    message
                        .fields
                        .iter()
                        .map(|f| BigUint::from_bytes_be(f))
                        .collect()
                })
                .collect();
            let expected = self.reference.digests.iter();
            let expected = expected.filter(|(name, _)| *name == info.name);
            let expected: Vec<_> = expected.map(|(_, fields)| fields.clone()).collect();
            if found != expected {
                let name = &info.name;
                return self.fail(&format!(
                    "digest {name}: expected {expected:?}, found {found:?}"
                ));
            }
        }
        for (handle, info) in pipeline.tables().filter(|(_, info)| info.direct_counter) {
            let table = &self.reference.tables[&info.name];
            for entry in &table.entries {
                let key = writes::entry_key(entry, info.needs_priority);
                let found = self.control.direct_counter(handle, Some(&key));
                match found {
                    Ok(found) if same(entry.counted, found) => {}
                    found => {
                        let what = format!("{} {entry:?}: found {found:?}", info.name);
                        return self.fail(&what);
                    }
                }
            }
            if table.default.is_some() {
                let found = self.control.direct_counter(handle, None);
                match found {
                    Ok(found) if same(table.missed, found) => {}
                    found => {
                        let what =
                            format!("{} missed {:?}: found {found:?}", info.name, table.missed);
                        return self.fail(&what);
                    }
                }
            }
        }
        let received = self.switch.stats().received;
        if received == 0 && self.log.contains("frame on port") {
            return self.fail("no frame was received");
        }
        Ok(())
    }
}
