//! The v1model pipeline, in the order that simple_switch documents: parser, checksum
//! verification, ingress; clone, digest, resubmit, multicast, drop or unicast; egress; clone,
//! drop, checksum update and deparser, recirculate or transmit.

mod egress;
mod ingress;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::control::Replica;
use crate::exec::{Machine, Packet, Phv, Random, Sink};
use crate::program::{Loc, PHV_WORDS, Program};
use crate::state::{PortsDown, Snapshot, State};
use crate::switch::Output;

/// `standard_metadata.instance_type`, as simple_switch numbers it.
mod instance_type {
    pub(super) const NORMAL: u64 = 0;
    pub(super) const INGRESS_CLONE: u64 = 1;
    pub(super) const EGRESS_CLONE: u64 = 2;
    pub(super) const RECIRCULATED: u64 = 4;
    pub(super) const REPLICATION: u64 = 5;
    pub(super) const RESUBMIT: u64 = 6;
}

/// Why a packet, or a copy, did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    Ingress,
    Egress,
    NoGroup,
    NoSession,
    TooManyPasses,
    Assert,
}

/// What a pass needs and does not change.
pub(crate) struct Context<'a> {
    pub(crate) program: &'a Program,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) state: &'a State,
    pub(crate) ports: &'a PortsDown,
    pub(crate) now: u64,
    pub(crate) max_passes: u32,
    /// Called after digests were queued.
    pub(crate) on_digest: &'a dyn Fn(),
    /// Takes the lines of a trace.
    pub(crate) trace: Option<&'a Sink<'a>>,
}

impl Context<'_> {
    /// Tells something, if anybody listens.
    fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(sink) = self.trace {
            sink(&line());
        }
    }
}

/// Replicas in words.
fn copies_to(replicas: &[Replica]) -> String {
    let copies: Vec<String> = replicas
        .iter()
        .map(|copy| format!("port {} (rid {})", copy.port, copy.instance))
        .collect();
    match copies.is_empty() {
        true => "nowhere".to_owned(),
        false => copies.join(", "),
    }
}

/// The bytes that a packet's parser reads.
#[derive(Clone)]
enum Frame {
    /// The frame that arrived.
    Input,
    /// A recirculated one.
    Made(Arc<Vec<u8>>),
}

/// A packet, or copies of one, that waits for a pass.
enum Work {
    Ingress {
        metadata: Vec<u64>,
        frame: Frame,
        port: Option<u32>,
        kind: u64,
    },
    Egress {
        phv: Vec<u64>,
        frame: Frame,
        packet: Packet,
        copies: Copies,
        kind: u64,
    },
}

/// Where copies of a packet go.
enum Copies {
    One(Replica),
    All(Arc<[Replica]>),
}

impl Copies {
    fn as_slice(&self) -> &[Replica] {
        match self {
            Copies::One(replica) => std::slice::from_ref(replica),
            Copies::All(replicas) => replicas,
        }
    }
}

/// Everything a worker reuses from packet to packet.
pub(crate) struct Scratch {
    phv: Box<Phv>,
    key: Vec<u64>,
    buffer: Vec<u8>,
    head: Vec<u8>,
    random: Random,
    queue: VecDeque<Work>,
    /// Buffers for saved PHVs.
    spare: Vec<Vec<u64>>,
    passes: u32,
}

impl Scratch {
    pub(crate) fn new(program: &Program, random: Random) -> Self {
        // Zeroed pages take no memory until they are written.
        let mut phv: Box<Phv> = vec![0; PHV_WORDS].try_into().unwrap_or_else(|_| {
            // The array's length is the vector's.
            unreachable!()
        });
        phv[0] = 1;
        let start = program.constants_start as usize;
        phv[start..start + program.constants.len()].copy_from_slice(&program.constants);
        let widest = program
            .tables
            .iter()
            .map(|table| table.key_words)
            .max()
            .unwrap_or(0);
        Scratch {
            phv,
            key: vec![0; widest as usize],
            buffer: Vec::with_capacity(256),
            head: Vec::with_capacity(256),
            random,
            queue: VecDeque::new(),
            spare: Vec::new(),
            passes: 0,
        }
    }

    fn machine<'a>(
        &'a mut self,
        context: &Context<'a>,
        packet: &'a mut Packet,
        data: &'a [u8],
    ) -> Machine<'a> {
        Machine {
            program: context.program,
            snapshot: context.snapshot,
            state: context.state,
            ports: context.ports,
            phv: &mut self.phv,
            packet,
            data,
            now: context.now,
            key: &mut self.key,
            buffer: &mut self.buffer,
            random: &mut self.random,
            trace: context.trace,
        }
    }

    fn set(&mut self, field: Option<(Loc, u32)>, value: u64) {
        if let Some((at, width)) = field {
            self.phv[at as usize] = value & (u64::MAX >> (64 - width));
        }
    }

    fn get(&self, field: Option<(Loc, u32)>) -> u64 {
        field.map_or(0, |(at, _)| self.phv[at as usize])
    }

    /// A copy of the headers and metadata.
    fn save(&mut self, program: &Program) -> Vec<u64> {
        let mut saved = self.spare.pop().unwrap_or_default();
        saved.clear();
        saved.extend_from_slice(&self.phv[..program.reset_words as usize]);
        saved
    }

    fn restore(&mut self, saved: &[u64]) {
        self.phv[..saved.len()].copy_from_slice(saved);
    }

    /// Metadata to zero, but for the fields of a list, which are those of `from`.
    fn keep_fields(&mut self, program: &Program, list: u32, from: &[u64]) {
        let metadata = program.metadata.start as usize..program.metadata.end as usize;
        self.phv[metadata].fill(0);
        for span in &program.field_lists[list as usize].spans {
            self.phv[span.range()].copy_from_slice(&from[span.range()]);
        }
    }

    /// Runs one frame to completion. `dropped` is told of every packet or copy that ends here.
    pub(crate) fn process(
        &mut self,
        context: &Context<'_>,
        port: u32,
        input: &[u8],
        out: &mut impl Output,
        dropped: &mut impl FnMut(Drop),
    ) {
        self.passes = 0;
        let mut dropped = |reason| {
            context.tell(|| match reason {
                Drop::Ingress => "  dropped at the end of ingress".to_owned(),
                Drop::Egress => "  dropped at the end of egress".to_owned(),
                Drop::NoGroup => "  dropped: the multicast group is empty".to_owned(),
                Drop::NoSession => "  not cloned: there is no such session".to_owned(),
                Drop::TooManyPasses => "  dropped: too many passes".to_owned(),
                Drop::Assert => "  dropped: an assertion failed".to_owned(),
            });
            dropped(reason);
        };
        let dropped = &mut dropped;
        self.clear(context.program);
        let kind = instance_type::NORMAL;
        self.ingress(context, Frame::Input, input, Some(port), kind, out, dropped);
        while let Some(work) = self.queue.pop_front() {
            match work {
                Work::Ingress {
                    metadata,
                    frame,
                    port,
                    kind,
                } => {
                    self.clear(context.program);
                    let start = context.program.metadata.start as usize;
                    self.phv[start..start + metadata.len()].copy_from_slice(&metadata);
                    self.spare.push(metadata);
                    self.ingress(context, frame, input, port, kind, out, dropped);
                }
                Work::Egress {
                    phv,
                    frame,
                    packet,
                    copies,
                    kind,
                } => {
                    if !self.pass(context, dropped) {
                        continue;
                    }
                    for &replica in copies.as_slice() {
                        self.restore(&phv);
                        let packet = packet.clone();
                        self.egress(context, &frame, input, packet, replica, kind, out, dropped);
                    }
                    self.spare.push(phv);
                }
            }
        }
    }

    fn clear(&mut self, program: &Program) {
        self.phv[1..program.reset_words as usize].fill(0);
    }

    /// Counts a pass of the parser, or a packet that all its copies leave from; `false` if there were
    /// too many.
    fn pass(&mut self, context: &Context<'_>, dropped: &mut impl FnMut(Drop)) -> bool {
        self.passes += 1;
        if self.passes > context.max_passes {
            dropped(Drop::TooManyPasses);
            return false;
        }
        true
    }

    /// The metadata of a packet that begins again: zero but for the fields of a list.
    fn kept_metadata(&mut self, program: &Program, list: u32) -> Vec<u64> {
        let range = program.metadata.start as usize..program.metadata.end as usize;
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.clear();
        kept.resize(range.len(), 0);
        for span in &program.field_lists[list as usize].spans {
            let words = span.range();
            // Headers are parsed again.
            if words.start >= range.start && words.end <= range.end {
                let to = words.start - range.start;
                kept[to..to + words.len()].copy_from_slice(&self.phv[words]);
            }
        }
        kept
    }
}

fn all_ones(width: u32) -> u64 {
    u64::MAX >> (64 - width)
}

fn limit(bytes: u32) -> Option<usize> {
    (bytes != 0).then_some(bytes as usize)
}
