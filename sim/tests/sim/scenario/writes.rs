//! Random table state, written to both sides.

use std::fmt::Write as _;
use std::time::Duration;

use num_bigint::BigUint;
use serde_json::Value;
use sim::control::{
    ActionCall, CloneSession, ControlError, EntryKey, GroupMember, MatchValue, MeterConfig,
    MulticastGroup, ProfileGroup, Replica, TableAction, TableEntry, TableInfo,
};

use super::{Pair, Tape};
use crate::reference::{Call, Copy, Counted, Does, Entry, Match, Meter};

fn bytes(number: &BigUint) -> Vec<u8> {
    number.to_bytes_be()
}

fn ones(width: u32) -> BigUint {
    (BigUint::from(1u8) << width) - 1u8
}

/// How `sim` names an entry of the reference.
pub fn entry_key(entry: &Entry, needs_priority: bool) -> EntryKey {
    let matches = entry.key.iter().map(|key| match key {
        Match::Exact(value) => MatchValue::Exact(bytes(value)),
        Match::Lpm(value, prefix_len) => MatchValue::Lpm {
            value: bytes(value),
            prefix_len: *prefix_len,
        },
        Match::Ternary(value, mask) => MatchValue::Ternary {
            value: bytes(value),
            mask: bytes(mask),
        },
        Match::Range(low, high) => MatchValue::Range {
            low: bytes(low),
            high: bytes(high),
        },
        Match::Valid(valid) => MatchValue::Valid(*valid),
    });
    EntryKey {
        matches: matches.collect(),
        priority: if needs_priority {
            entry.priority as u32
        } else {
            0
        },
    }
}

/// What an entry may ask for, `value` among it if there is one.
fn draw_match(kind: &Value, width: u32, value: Option<&BigUint>, tape: &mut Tape<'_>) -> Match {
    let number = |tape: &mut Tape<'_>| match value {
        Some(value) => value.clone(),
        None => tape.number(width),
    };
    match kind.as_str() {
        Some("lpm") => {
            let length = match tape.below(4) {
                0 => width,
                1 => width / 2,
                2 => 0,
                _ => tape.below(width as usize + 1) as u32,
            };
            let mask = ones(width) ^ ones(width - length);
            Match::Lpm(number(tape) & mask, length)
        }
        Some("ternary" | "optional") => {
            let mask = match tape.below(4) {
                0 => ones(width),
                1 => BigUint::default(),
                2 => ones(width) ^ ones(width / 2),
                _ => tape.number(width),
            };
            Match::Ternary(number(tape) & &mask, mask)
        }
        Some("range") => {
            let (a, b) = (number(tape), tape.number(width));
            Match::Range(a.clone().min(b.clone()), a.max(b))
        }
        Some("valid") => match value {
            Some(value) => Match::Valid(*value != BigUint::default()),
            None => Match::Valid(tape.below(2) == 0),
        },
        _ => Match::Exact(number(tape)),
    }
}

impl Pair<'_> {
    /// One change of the state, or none where the drawn one is not possible.
    pub(super) fn write(&mut self, tape: &mut Tape<'_>) -> Result<(), String> {
        let outcome = match tape.below(12) {
            0..=3 => self.entry(None, tape)?,
            4 => self.multicast(tape),
            5 => self.session(tape),
            6 => self.value_set(tape),
            7 => self.change(tape),
            8 => self.register(tape),
            9 => self.meter(tape),
            10 => self.direct_meter(tape),
            _ => self.default_action(tape)?,
        };
        self.accepted(outcome)
    }

    fn accepted(&self, outcome: Result<(), ControlError>) -> Result<(), String> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&format!("a good write was refused: {error}")),
        }
    }

    /// An entry that the last frame would have hit; now and then something else that it may need.
    pub(super) fn learn(&mut self, tape: &mut Tape<'_>) -> Result<(), String> {
        match tape.below(16) {
            12 => {
                let outcome = self.direct_meter(tape);
                return self.accepted(outcome);
            }
            13 => {
                let outcome = self.multicast(tape);
                return self.accepted(outcome);
            }
            14 | 15 => {
                let outcome = self.register(tape);
                return self.accepted(outcome);
            }
            _ => {}
        }
        let missed = self.reference.missed.clone();
        // The last one is the farthest.
        let last = missed
            .len()
            .checked_sub(1 + tape.below(missed.len().min(3)));
        let Some(missed) = last.and_then(|last| missed.get(last)) else {
            return Ok(());
        };
        let outcome = self.entry(Some(missed), tape)?;
        self.accepted(outcome)
    }

    fn action(
        &self,
        json: &Value,
        info: &TableInfo,
        tape: &mut Tape<'_>,
    ) -> Option<(Call, ActionCall)> {
        let ids: Vec<u64> = json["action_ids"]
            .as_array()?
            .iter()
            .filter_map(Value::as_u64)
            .collect();
        let id = *tape.one(&ids)?;
        let action = &self.subject.program.actions[&id];
        let mut data = Vec::new();
        for parameter in action["runtime_data"].as_array().into_iter().flatten() {
            data.push(tape.number(parameter["bitwidth"].as_u64().unwrap_or(0) as u32));
        }
        let handle = info.action(action["name"].as_str()?)?;
        let params = data.iter().map(bytes).collect();
        let call = ActionCall {
            action: handle,
            params,
        };
        Some((Call { action: id, data }, call))
    }

    fn entry(
        &mut self,
        missed: Option<&(String, Vec<BigUint>)>,
        tape: &mut Tape<'_>,
    ) -> Result<Result<(), ControlError>, String> {
        let program = self.subject.program.clone();
        let pipeline = self.subject.pipeline.clone();
        let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
        let tables: Vec<&Value> = program
            .tables()
            .filter(|table| is_empty(&table["entries"]) && !is_empty(&table["key"]))
            .filter(|table| missed.is_none_or(|(name, _)| table["name"] == **name))
            .collect();
        let Some(json) = tape.one(&tables) else {
            return Ok(Ok(()));
        };
        let name = json["name"].as_str().unwrap_or_default().to_owned();
        let Some(handle) = pipeline.table(&name) else {
            return self.fail(&format!("no table {name}"));
        };
        let info = pipeline.table_info(handle);
        let Some((call, sim_call)) = self.action(json, info, tape) else {
            return Ok(Ok(()));
        };
        let keys = json["key"].as_array().into_iter().flatten().enumerate();
        let key: Vec<Match> = keys
            .map(|(i, key)| {
                let value = missed.and_then(|(_, values)| values.get(i));
                draw_match(&key["match_type"], program.key_width(key), value, tape)
            })
            .collect();
        let table = self.reference.tables.get_mut(&name).expect("a table");
        if table.entries.len() >= info.size {
            return Ok(Ok(()));
        }
        if !info.needs_priority && table.entries.iter().any(|entry| entry.key == key) {
            return Ok(Ok(()));
        }
        let priorities = table.entries.iter().map(|entry| entry.priority);
        let priority = priorities.max().unwrap_or(0) + 1;
        let mut write = self.control.write(Duration::ZERO);
        let (does, action) = match json["action_profile"].as_str() {
            None => (Does::Call(call), TableAction::Direct(sim_call)),
            Some(profile) => {
                let handle = pipeline.profile(profile).expect("a profile");
                let members = self
                    .reference
                    .members
                    .entry(profile.to_owned())
                    .or_default();
                let id = members.len() as u32 + 1;
                if members.len() < pipeline.profile_info(handle).size {
                    if let Err(error) = write.insert_member(handle, id, sim_call) {
                        return Ok(Err(error));
                    }
                    members.insert(id, call);
                }
                let ids: Vec<u32> = members.keys().copied().collect();
                let Some(&member) = tape.one(&ids) else {
                    return Ok(Ok(()));
                };
                if json["type"] == "indirect_ws" && tape.below(2) == 0 {
                    let groups = self.reference.groups.entry(profile.to_owned()).or_default();
                    let group = groups.len() as u32 + 1;
                    let mut members: Vec<u32> =
                        ids.iter().copied().filter(|_| tape.below(2) == 1).collect();
                    if members.is_empty() {
                        members.push(member);
                    }
                    let value = ProfileGroup {
                        members: members
                            .iter()
                            .map(|&member| GroupMember {
                                member,
                                weight: 1,
                                watch_port: None,
                            })
                            .collect(),
                        max_size: 0,
                    };
                    if let Err(error) = write.insert_group(handle, group, value) {
                        return Ok(Err(error));
                    }
                    groups.insert(group, members);
                    (Does::Group(group), TableAction::Group(group))
                } else {
                    (Does::Member(member), TableAction::Member(member))
                }
            }
        };
        let entry = Entry {
            key,
            priority,
            does,
            counted: Counted::default(),
            meter: None,
        };
        let _ = writeln!(self.log, "  {name} entry {entry:?}");
        for (key, json) in entry
            .key
            .iter()
            .zip(json["key"].as_array().into_iter().flatten())
        {
            if let Match::Exact(value)
            | Match::Lpm(value, _)
            | Match::Ternary(value, _)
            | Match::Range(value, _) = key
            {
                self.seen
                    .entry(program.key_width(json))
                    .or_default()
                    .push(value.clone());
            }
        }
        let sim_entry = TableEntry::new(entry_key(&entry, info.needs_priority), action);
        let inserted = write.insert(handle, sim_entry);
        table.entries.push(entry);
        Ok(inserted)
    }

    /// Deletes an entry, or gives it the action of another.
    fn change(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let pipeline = self.subject.pipeline.clone();
        let tables: Vec<_> = pipeline
            .tables()
            .filter(|(_, info)| !info.const_entries && info.profile.is_none())
            .filter(|(_, info)| !self.reference.tables[&info.name].entries.is_empty())
            .collect();
        let Some(&(handle, info)) = tape.one(&tables) else {
            return Ok(());
        };
        let table = self.reference.tables.get_mut(&info.name).expect("a table");
        let at = tape.below(table.entries.len());
        let key = entry_key(&table.entries[at], info.needs_priority);
        let mut write = self.control.write(Duration::ZERO);
        if tape.below(2) == 0 {
            let _ = writeln!(self.log, "  {} deletes {:?}", info.name, table.entries[at]);
            table.entries.remove(at);
            return write.delete(handle, &key);
        }
        let other = tape.below(table.entries.len());
        let source = entry_key(&table.entries[other], info.needs_priority);
        table.entries[at].does = table.entries[other].does.clone();
        let _ = writeln!(self.log, "  {} changes {:?}", info.name, table.entries[at]);
        let action = self.control.entry(handle, &source)?.action;
        write.modify(handle, TableEntry::new(key, action))
    }

    fn rates(tape: &mut Tape<'_>) -> (Meter, MeterConfig) {
        let cir = [0, 1_000, 3_000, 10_000][tape.below(4)];
        let pir = cir + [0, 1, 1_000, 20_000][tape.below(4)];
        let cburst = [1, 0, 3, 40, 100][tape.below(5)];
        let pburst = [2, 1, 50, 100, 1_000][tape.below(5)];
        let meter = Meter::new([cir, pir], [cburst, pburst]);
        let config = MeterConfig {
            cir,
            cburst,
            pir,
            pburst,
        };
        (meter, config)
    }

    fn meter(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let pipeline = self.subject.pipeline.clone();
        let meters: Vec<_> = pipeline.meters().collect();
        let Some(&(handle, info)) = tape.one(&meters) else {
            return Ok(());
        };
        let at = tape.below(info.size.min(8));
        let (meter, config) = Self::rates(tape);
        let _ = writeln!(self.log, "  {}[{at}] is {config:?}", info.name);
        self.reference.meters.insert((info.name.clone(), at), meter);
        self.control.write_meter(handle, at, Some(config))
    }

    fn direct_meter(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let pipeline = self.subject.pipeline.clone();
        let tables: Vec<_> = pipeline
            .tables()
            .filter(|(_, info)| info.direct_meter.is_some())
            .filter(|(_, info)| !self.reference.tables[&info.name].entries.is_empty())
            .collect();
        let Some(&(handle, info)) = tape.one(&tables) else {
            return Ok(());
        };
        let table = self.reference.tables.get_mut(&info.name).expect("a table");
        let at = tape.below(table.entries.len());
        let (meter, config) = Self::rates(tape);
        table.entries[at].meter = Some(meter);
        let key = entry_key(&table.entries[at], info.needs_priority);
        let _ = writeln!(self.log, "  {} meters {key:?} by {config:?}", info.name);
        self.control
            .write_direct_meter(handle, Some(&key), Some(config))
    }

    fn register(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let pipeline = self.subject.pipeline.clone();
        let registers: Vec<_> = pipeline.registers().collect();
        let Some(&(handle, info)) = tape.one(&registers) else {
            return Ok(());
        };
        let cells = self
            .reference
            .registers
            .get_mut(&info.name)
            .expect("a register");
        let at = tape.below(cells.len().min(8));
        let value = tape.number(info.width);
        let _ = writeln!(self.log, "  {}[{at}] is {value}", info.name);
        cells[at] = value.clone().into();
        self.control.write_register(handle, at, &bytes(&value))
    }

    fn default_action(&mut self, tape: &mut Tape<'_>) -> Result<Result<(), ControlError>, String> {
        let program = self.subject.program.clone();
        let pipeline = self.subject.pipeline.clone();
        let tables: Vec<&Value> = program.tables().collect();
        let Some(json) = tape.one(&tables) else {
            return Ok(Ok(()));
        };
        let name = json["name"].as_str().unwrap_or_default();
        let Some(handle) = pipeline.table(name) else {
            return self.fail(&format!("no table {name}"));
        };
        let info = pipeline.table_info(handle);
        if info.const_default_action || info.profile.is_some() {
            return Ok(Ok(()));
        }
        let Some((call, sim_call)) = self.action(json, info, tape) else {
            return Ok(Ok(()));
        };
        let _ = writeln!(self.log, "  {name} default {call:?}");
        let table = self.reference.tables.get_mut(name).expect("a table");
        table.default = Some(call);
        let mut write = self.control.write(Duration::ZERO);
        Ok(write.set_default_action(handle, Some(sim_call)))
    }

    fn copies(tape: &mut Tape<'_>) -> (Vec<Copy>, Vec<Replica>) {
        let mut copies: Vec<Copy> = Vec::new();
        for _ in 0..tape.below(4) {
            let copy = Copy {
                port: 1 + tape.below(4) as u32,
                rid: tape.below(4) as u16,
            };
            if !copies.contains(&copy) {
                copies.push(copy);
            }
        }
        let replicas = copies.iter();
        let replicas = replicas.map(|&Copy { port, rid }| Replica {
            port,
            instance: rid,
        });
        let replicas = replicas.collect();
        (copies, replicas)
    }

    fn multicast(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let id = u64::try_from(tape.number(16)).unwrap_or(0).max(1);
        let (copies, replicas) = Self::copies(tape);
        let group = MulticastGroup {
            replicas,
            metadata: Vec::new(),
        };
        let _ = writeln!(self.log, "  multicast group {id} {copies:?}");
        let mut write = self.control.write(Duration::ZERO);
        match self.reference.multicast.insert(id, copies) {
            None => write.insert_multicast_group(id as u16, group),
            Some(_) => write.modify_multicast_group(id as u16, group),
        }
    }

    fn session(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let id = u64::try_from(tape.number(8)).unwrap_or(0).max(1);
        let (copies, replicas) = Self::copies(tape);
        let session = CloneSession {
            replicas,
            ..CloneSession::default()
        };
        let _ = writeln!(self.log, "  clone session {id} {copies:?}");
        let mut write = self.control.write(Duration::ZERO);
        match self.reference.sessions.insert(id, copies) {
            None => write.insert_clone_session(id as u32, session),
            Some(_) => write.modify_clone_session(id as u32, session),
        }
    }

    fn value_set(&mut self, tape: &mut Tape<'_>) -> Result<(), ControlError> {
        let pipeline = self.subject.pipeline.clone();
        let sets: Vec<_> = pipeline.value_sets().collect();
        let Some(&(handle, info)) = tape.one(&sets) else {
            return Ok(());
        };
        let mut members: Vec<BigUint> = Vec::new();
        for _ in 0..tape.below(info.size.min(4) + 1) {
            let member = tape.number(info.width);
            if !members.contains(&member) {
                members.push(member);
            }
        }
        let _ = writeln!(self.log, "  value set {} {members:?}", info.name);
        let bytes: Vec<Vec<u8>> = members.iter().map(bytes).collect();
        self.reference.value_sets.insert(info.name.clone(), members);
        self.control
            .write(Duration::ZERO)
            .set_value_set(handle, &bytes)
    }
}
