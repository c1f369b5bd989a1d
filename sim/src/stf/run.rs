//! Running a test.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use p4runtime::p4info::P4Info;

use super::check::{Difference, Expected, Report, compare, hex};
use super::keys::{fitted, match_value, unnamed};
use super::names::{self, Aliases};
use super::parse::{ActionText, Command, CounterIndex, CounterUnit, KeyText, Test};
use super::value;
use crate::control::{
    ActionCall, CloneSession, Control, EntryKey, MatchValue, MeterConfig, MulticastGroup, Replica,
    TableAction, TableEntry, TableHandle,
};
use crate::{Pipeline, Switch, SwitchConfig, Worker};

/// How a test is run.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Its aliases are accepted as names.
    pub p4info: Option<&'a P4Info>,
    /// Packets on ports that the test does not mention are differences too. p4c's driver has no
    /// such ports, so it never sees those packets.
    pub strict: bool,
    /// Takes the lines of the trace: what each packet meets. The pipeline is to be loaded for it
    /// ([`LoadOptions::trace`](crate::LoadOptions::trace)).
    pub trace: Option<&'a dyn Fn(&str)>,
}

/// Why a test could not be run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {reason}")]
pub struct RunError {
    /// The test's file.
    pub file: String,
    /// The line that could not be done.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Time from packet to packet.
const PACKET: Duration = Duration::from_micros(10);
/// Time from commands to the next packet, as long as p4c's driver waits.
const COMMANDS: Duration = Duration::from_secs(1);

/// Runs a test on a new switch with this program.
///
/// # Errors
/// A line that cannot be done: an unknown table, a value that does not fit, ….
pub fn run(pipeline: Arc<Pipeline>, test: &Test, options: Options<'_>) -> Result<Report, RunError> {
    let switch = Switch::new(SwitchConfig::default());
    let control = switch.load(pipeline);
    let mut runner = Runner {
        trace: options.trace,
        worker: switch.worker(),
        control,
        aliases: options.p4info.map(Aliases::new).unwrap_or_default(),
        now: Duration::ZERO,
        commands: false,
        entries: HashMap::new(),
        members: 0,
        nodes: Vec::new(),
        groups: BTreeMap::new(),
        mirrored_groups: BTreeMap::new(),
        left: BTreeMap::new(),
        expected: BTreeMap::new(),
        any: BTreeSet::new(),
        mentioned: BTreeSet::new(),
        report: Report {
            file: test.file.clone(),
            ..Report::default()
        },
    };
    for statement in &test.statements {
        if let Command::Packet { port, .. } | Command::Expect { port, .. } = &statement.command {
            runner.mentioned.insert(*port);
        }
    }
    for statement in &test.statements {
        runner
            .statement(statement.line, &statement.command)
            .map_err(|reason| RunError {
                file: test.file.clone(),
                line: statement.line,
                reason,
            })?;
    }
    Ok(runner.finish(options.strict))
}

/// A test that runs.
struct Runner<'a> {
    trace: Option<&'a dyn Fn(&str)>,
    worker: Worker,
    control: Control,
    aliases: Aliases,
    now: Duration,
    /// Commands since the last packet.
    commands: bool,
    /// Entries by the names that the test gave them.
    entries: HashMap<String, (TableHandle, EntryKey)>,
    /// Members made for entries of tables with an action profile.
    members: u32,
    /// Replicas of the multicast nodes.
    nodes: Vec<Vec<Replica>>,
    groups: BTreeMap<u16, Vec<Replica>>,
    /// Clone sessions that copy to a multicast group.
    mirrored_groups: BTreeMap<u32, u16>,
    left: BTreeMap<u32, Vec<Vec<u8>>>,
    expected: BTreeMap<u32, Vec<Expected>>,
    /// Ports with an `expect` without a packet.
    any: BTreeSet<u32>,
    mentioned: BTreeSet<u32>,
    report: Report,
}

impl Runner<'_> {
    fn statement(&mut self, line: usize, command: &Command) -> Result<(), String> {
        match command {
            Command::Packet { port, data } => self.packet(line, *port, data),
            Command::Expect { port, pattern } => {
                match pattern {
                    Some(pattern) => {
                        self.report.expected += 1;
                        self.expected.entry(*port).or_default().push(Expected {
                            line,
                            pattern: pattern.clone(),
                        });
                    }
                    None => {
                        self.any.insert(*port);
                    }
                }
                Ok(())
            }
            Command::NoPacket => {
                self.no_packet(line);
                Ok(())
            }
            Command::Wait { seconds } => {
                self.now += Duration::from_secs(u64::from(*seconds));
                Ok(())
            }
            command => {
                self.commands = true;
                self.command(line, command)
            }
        }
    }

    fn packet(&mut self, line: usize, port: u32, data: &[u8]) -> Result<(), String> {
        self.now += if std::mem::take(&mut self.commands) {
            COMMANDS
        } else {
            PACKET
        };
        self.report.sent += 1;
        let mut out = Vec::new();
        match self.trace {
            None => self.worker.process(self.now, port, data, &mut out),
            Some(trace) => {
                trace(&format!("line {line}: packet {port} {}", hex(data)));
                self.worker
                    .process_traced(self.now, port, data, &mut out, trace);
            }
        }
        self.report.left += out.len();
        for (port, packet) in out {
            self.left.entry(port).or_default().push(packet);
        }
        Ok(())
    }

    /// `no_packet`: what has left so far is what earlier lines expect.
    fn no_packet(&mut self, line: usize) {
        for (port, packets) in &self.left {
            let expected = self.expected.get(port).map_or(0, Vec::len);
            for packet in packets.iter().skip(expected) {
                if !self.any.contains(port) {
                    let text = format!("port {port}: a packet left\n  got      {}", hex(packet));
                    let line = Some(line);
                    self.report.differences.push(Difference { line, text });
                }
            }
        }
    }

    fn finish(mut self, strict: bool) -> Report {
        let ports: BTreeSet<u32> = self
            .left
            .keys()
            .chain(self.expected.keys())
            .copied()
            .collect();
        for port in ports {
            let got = self.left.remove(&port).unwrap_or_default();
            let expected = self.expected.remove(&port).unwrap_or_default();
            if self.any.contains(&port) {
                continue;
            }
            if !strict && !self.mentioned.contains(&port) {
                let n = got.len();
                let note =
                    format!("{n} packets left on port {port}, which the test does not mention");
                self.report.notes.push(note);
                continue;
            }
            self.report
                .differences
                .extend(compare(port, &expected, &got));
        }
        self.report.differences.sort_by_key(|d| d.line);
        self.report
    }

    fn command(&mut self, line: usize, command: &Command) -> Result<(), String> {
        let now = self.now;
        match command {
            Command::Add {
                table,
                priority,
                keys,
                action,
                name,
            } => self.add(table, *priority, keys, action, name.as_deref()),
            Command::SetDefault { table, action } => {
                let handle = names::table(self.control.pipeline(), table, &self.aliases)?;
                let call = self.call(handle, action)?;
                self.control
                    .write(now)
                    .set_default_action(handle, Some(call))
                    .map_err(|error| error.to_string())
            }
            Command::RemoveAll => {
                let tables: Vec<_> = self.control.pipeline().tables().collect();
                for (handle, info) in tables {
                    if info.const_entries {
                        continue;
                    }
                    for entry in self.control.entries(handle) {
                        self.control
                            .write(now)
                            .delete(handle, &entry.key)
                            .map_err(|error| error.to_string())?;
                    }
                }
                Ok(())
            }
            Command::CheckCounter {
                counter,
                index,
                condition,
            } => self.check_counter(line, counter, index, *condition),
            Command::MirroringAdd { session, port } => self.mirror(
                *session,
                vec![Replica {
                    port: *port,
                    instance: 0,
                }],
            ),
            Command::MirroringAddMc { session, group } => {
                self.mirrored_groups.insert(*session, *group);
                let replicas = self.groups.get(group).cloned().unwrap_or_default();
                self.mirror(*session, replicas)
            }
            Command::MirroringDelete { session } => {
                self.mirrored_groups.remove(session);
                self.control
                    .write(now)
                    .delete_clone_session(*session)
                    .map_err(|error| error.to_string())
            }
            Command::MirroringGet { session } => {
                let note = match self.control.clone_session(*session) {
                    None => format!("clone session {session} does not exist"),
                    Some(found) => {
                        let ports: Vec<String> =
                            found.replicas.iter().map(|r| r.port.to_string()).collect();
                        format!("clone session {session} goes to ports {}", ports.join(", "))
                    }
                };
                self.report.notes.push(note);
                Ok(())
            }
            Command::GroupCreate { group } => {
                self.groups.insert(*group, Vec::new());
                self.control
                    .write(now)
                    .insert_multicast_group(*group, MulticastGroup::default())
                    .map_err(|error| error.to_string())
            }
            Command::NodeCreate { rid, ports } => {
                let replicas = ports.iter().map(|port| Replica {
                    port: *port,
                    instance: *rid,
                });
                self.nodes.push(replicas.collect());
                Ok(())
            }
            Command::NodeAssociate { group, node } => self.associate(*group, *node),
            _ => self.array_command(command),
        }
    }

    fn mirror(&mut self, session: u32, replicas: Vec<Replica>) -> Result<(), String> {
        let source = CloneSession {
            replicas,
            ..CloneSession::default()
        };
        let exists = self.control.clone_session(session).is_some();
        let mut write = self.control.write(self.now);
        match exists {
            true => write.modify_clone_session(session, source),
            false => write.insert_clone_session(session, source),
        }
        .map_err(|error| error.to_string())
    }

    fn associate(&mut self, group: u16, node: usize) -> Result<(), String> {
        let Some(new) = self.nodes.get(node).cloned() else {
            let n = self.nodes.len();
            return Err(format!("there is no node {node}: {n} were created, from 0"));
        };
        let Some(replicas) = self.groups.get_mut(&group) else {
            return Err(format!("multicast group {group} does not exist"));
        };
        replicas.extend(new);
        let replicas = replicas.clone();
        let source = MulticastGroup {
            replicas: replicas.clone(),
            ..MulticastGroup::default()
        };
        self.control
            .write(self.now)
            .modify_multicast_group(group, source)
            .map_err(|error| error.to_string())?;
        let sessions: Vec<u32> = self
            .mirrored_groups
            .iter()
            .filter(|(_, mirrored)| **mirrored == group)
            .map(|(session, _)| *session)
            .collect();
        for session in sessions {
            self.mirror(session, replicas.clone())?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        table: &str,
        priority: Option<u32>,
        keys: &[KeyText],
        action: &ActionText,
        name: Option<&str>,
    ) -> Result<(), String> {
        let pipeline = self.control.pipeline().clone();
        let handle = names::table(&pipeline, table, &self.aliases)?;
        let info = pipeline.table_info(handle);
        let mut matches: Vec<MatchValue> = info.keys.iter().map(unnamed).collect();
        for key in keys {
            let at = names::key(info, &key.name)?;
            matches[at] = match_value(&info.keys[at], &key.value)
                .map_err(|reason| format!("key `{}`: {reason}", info.keys[at].name))?;
        }
        let key = EntryKey {
            matches,
            // BMv2 knows the priority 0.
            priority: match info.needs_priority {
                true => priority.unwrap_or(0).saturating_add(1),
                false => 0,
            },
        };
        let call = self.call(handle, action)?;
        let mut write = self.control.write(self.now);
        let action = match info.profile {
            None => TableAction::Direct(call),
            Some(profile) => {
                self.members += 1;
                write
                    .insert_member(profile, self.members, call)
                    .map_err(|error| error.to_string())?;
                TableAction::Member(self.members)
            }
        };
        write
            .insert(handle, TableEntry::new(key.clone(), action))
            .map_err(|error| error.to_string())?;
        if let Some(name) = name {
            self.entries.insert(name.to_owned(), (handle, key));
        }
        Ok(())
    }

    fn call(&self, table: TableHandle, action: &ActionText) -> Result<ActionCall, String> {
        let pipeline = self.control.pipeline();
        let handle = names::action(pipeline.table_info(table), &action.name, &self.aliases)?;
        let info = pipeline.action_info(handle);
        for (name, _) in &action.args {
            if !info.params.iter().any(|param| param.name == *name) {
                let known: Vec<&str> = info.params.iter().map(|p| p.name.as_str()).collect();
                return Err(format!(
                    "action `{}` has no parameter `{name}`: it has [{}]",
                    info.name,
                    known.join(", ")
                ));
            }
        }
        let mut params = Vec::new();
        for param in &info.params {
            let Some((_, text)) = action.args.iter().find(|(name, _)| *name == param.name) else {
                return Err(format!("action `{}` needs `{}`", info.name, param.name));
            };
            let bytes = value::parse(text)
                .and_then(|bytes| fitted(&bytes, param.width, text))
                .map_err(|reason| format!("parameter `{}`: {reason}", param.name))?;
            params.push(bytes);
        }
        Ok(ActionCall {
            action: handle,
            params,
        })
    }

    fn check_counter(
        &mut self,
        line: usize,
        counter: &str,
        index: &CounterIndex,
        condition: Option<(CounterUnit, super::Comparison, u64)>,
    ) -> Result<(), String> {
        let (shown, data) = match index {
            CounterIndex::Entry(name) => {
                let Some((table, key)) = self.entries.get(name) else {
                    return Err(format!("no entry was named `{name}`"));
                };
                let data = self.control.direct_counter(*table, Some(key));
                (format!("{counter}({name})"), data)
            }
            CounterIndex::Cell(cell) => {
                let handles: Vec<_> = self.control.pipeline().counters().collect();
                let names = handles.iter().map(|(_, info)| info.name.as_str());
                let at = names::array("counter", counter, names, &self.aliases)?;
                let data = self.control.counter(handles[at].0, *cell);
                (format!("{counter}({cell})"), data)
            }
        };
        let data = data.map_err(|error| error.to_string())?;
        match condition {
            None => {
                let (packets, bytes) = (data.packets, data.bytes);
                let note = format!("counter {shown}: {packets} packets, {bytes} bytes");
                self.report.notes.push(note);
            }
            Some((unit, comparison, wanted)) => {
                let (got, unit) = match unit {
                    CounterUnit::Packets => (data.packets, "packets"),
                    CounterUnit::Bytes => (data.bytes, "bytes"),
                };
                if !comparison.holds(got, wanted) {
                    let text = format!("counter {shown}: {got} {unit}, and {wanted} wanted");
                    let line = Some(line);
                    self.report.differences.push(Difference { line, text });
                }
            }
        }
        Ok(())
    }

    /// Counters, registers and meters, as the command line of BMv2 has them.
    fn array_command(&mut self, command: &Command) -> Result<(), String> {
        let control = &self.control;
        let pipeline = control.pipeline().clone();
        let error = |error: crate::control::ControlError| error.to_string();
        let counter = |name: &str| {
            let all: Vec<_> = pipeline.counters().collect();
            let names = all.iter().map(|(_, info)| info.name.as_str());
            names::array("counter", name, names, &self.aliases).map(|at| all[at].0)
        };
        let register = |name: &str| {
            let all: Vec<_> = pipeline.registers().collect();
            let names = all.iter().map(|(_, info)| info.name.as_str());
            names::array("register", name, names, &self.aliases).map(|at| all[at])
        };
        let meter = |name: &str| {
            let all: Vec<_> = pipeline.meters().collect();
            let names = all.iter().map(|(_, info)| info.name.as_str());
            names::array("meter", name, names, &self.aliases).map(|at| all[at])
        };
        let note = match command {
            Command::CounterRead {
                counter: name,
                index,
            } => {
                let data = control.counter(counter(name)?, *index).map_err(error)?;
                let (packets, bytes) = (data.packets, data.bytes);
                format!("counter {name}[{index}]: {packets} packets, {bytes} bytes")
            }
            Command::CounterWrite {
                counter: name,
                index,
                packets,
                bytes,
            } => {
                let data = crate::control::CounterData {
                    packets: *packets,
                    bytes: *bytes,
                };
                let handle = counter(name)?;
                return control.write_counter(handle, *index, data).map_err(error);
            }
            Command::RegisterRead {
                register: name,
                index,
            } => {
                let (handle, info) = register(name)?;
                let cells = match index {
                    Some(index) => *index..*index + 1,
                    None => 0..info.size,
                };
                let values: Vec<String> = cells
                    .map(|cell| control.register(handle, cell).map(|v| value::show(&v)))
                    .collect::<Result<_, _>>()
                    .map_err(error)?;
                let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
                format!("register {name}{index} = {}", values.join(", "))
            }
            Command::RegisterWrite {
                register: name,
                index,
                value: text,
            } => {
                let (handle, info) = register(name)?;
                let bytes = fitted(&value::parse(text)?, info.width, text)?;
                return control
                    .write_register(handle, *index, &bytes)
                    .map_err(error);
            }
            Command::RegisterReset { register: name } => {
                let (handle, info) = register(name)?;
                for cell in 0..info.size {
                    control.write_register(handle, cell, &[0]).map_err(error)?;
                }
                return Ok(());
            }
            Command::MeterGetRates { meter: name, index } => {
                let (handle, _) = meter(name)?;
                match control.meter(handle, *index).map_err(error)? {
                    None => format!("meter {name}[{index}] has no rates"),
                    Some(m) => format!(
                        "meter {name}[{index}]: {}/s burst {}, peak {}/s burst {}",
                        m.cir, m.cburst, m.pir, m.pburst
                    ),
                }
            }
            Command::MeterSetRates {
                meter: name,
                index,
                committed,
                peak,
            } => {
                let (handle, info) = meter(name)?;
                let per_second = |rate: f64| (rate * 1e6).round() as u64;
                let config = MeterConfig {
                    cir: per_second(committed.0),
                    cburst: committed.1,
                    pir: per_second(peak.0),
                    pburst: peak.1,
                };
                let cells = match index {
                    Some(index) => *index..*index + 1,
                    None => 0..info.size,
                };
                for cell in cells {
                    control
                        .write_meter(handle, cell, Some(config))
                        .map_err(error)?;
                }
                return Ok(());
            }
            // The others are in `command` and `statement`.
            _ => return Ok(()),
        };
        self.report.notes.push(note);
        Ok(())
    }
}
