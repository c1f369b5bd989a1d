//! Ingress and egress: tables, conditions and calls, one after the other.

use num_bigint::{BigInt, BigUint};
use serde_json::Value;

use super::packet::{Packet, unsigned};
use super::program::{list, named, text};
use super::switch::{Reference, Table};
use super::{Call, Does, Entry, Match, Stop, hash};

fn ones(width: u32) -> BigUint {
    (BigUint::from(1u8) << width) - 1u8
}

/// Whether a key is what an entry asks for.
fn matches(entry: &Match, key: &BigUint, width: u32) -> bool {
    match entry {
        Match::Exact(value) => key == value,
        Match::Lpm(value, length) => {
            let mask = ones(width) ^ ones(width - length);
            key & &mask == value & &mask
        }
        Match::Ternary(value, mask) => key & mask == value & mask,
        Match::Range(low, high) => low <= key && key <= high,
        Match::Valid(valid) => *key == BigUint::from(u8::from(*valid)),
    }
}

/// The greater of these wins: the longest prefix where only prefixes decide, else the priority.
fn rank(table: &Value, entry: &Entry) -> i64 {
    if table["match_type"] != "lpm" {
        return entry.priority;
    }
    let prefix = entry.key.iter().find_map(|key| match key {
        Match::Lpm(_, length) => Some(i64::from(*length)),
        _ => None,
    });
    prefix.unwrap_or(0)
}

impl Reference {
    /// Runs a pipeline to its end.
    pub(super) fn apply(&mut self, pipeline: &str, packet: &mut Packet) -> Result<(), Stop> {
        let program = self.program.clone();
        let Some(pipeline) = named(list(&program.document, "pipelines"), pipeline) else {
            return Ok(());
        };
        let mut node = pipeline["init_table"].clone();
        for _ in 0..10_000 {
            let Some(name) = node.as_str() else {
                return Ok(());
            };
            if packet.exit {
                return Ok(());
            }
            node = if let Some(table) = named(list(pipeline, "tables"), name) {
                self.table(pipeline, table, packet)?
            } else if let Some(condition) = named(list(pipeline, "conditionals"), name) {
                let truth = self.scope(packet, &[]).truth(&condition["expression"])?;
                condition[if truth { "true_next" } else { "false_next" }].clone()
            } else if let Some(call) = named(list(pipeline, "action_calls"), name) {
                let action = call["action_id"].as_u64().expect("an id");
                let none = Vec::new();
                self.run(&Call { action, data: none }, packet)?;
                call["next_node"].clone()
            } else {
                return Err(Stop::Unsupported(format!("the node {name}")));
            };
        }
        Err(Stop::Unpredictable("the pipeline does not end".to_owned()))
    }

    fn table(
        &mut self,
        pipeline: &Value,
        json: &Value,
        packet: &mut Packet,
    ) -> Result<Value, Stop> {
        let name = text(&json["name"]);
        let mut keys = Vec::new();
        for key in list(json, "key") {
            keys.push(self.key(key, packet));
        }
        let table: &mut Table = self.tables.get_mut(&name).expect("a table");
        let mut best: Option<(i64, usize)> = None;
        for (i, entry) in table.entries.iter().enumerate() {
            let mut pairs = entry.key.iter().zip(&keys);
            let rank = rank(json, entry);
            if pairs.all(|(m, (key, width))| matches(m, key, *width))
                && best.is_none_or(|(other, _)| rank > other)
            {
                best = Some((rank, i));
            }
        }
        let hit = best.is_some();
        let does = match best {
            Some((_, i)) => {
                table.entries[i].counted.add(packet.arrived);
                Some(table.entries[i].does.clone())
            }
            None => {
                let keys = keys.iter().map(|(key, _)| key.clone());
                self.missed.push((name.clone(), keys.collect()));
                table.missed.add(packet.arrived);
                table.default.clone().map(Does::Call)
            }
        };
        if let Some((_, i)) = best
            && let Some(meter) = json["direct_meters"].as_str()
        {
            let (now, units) = (self.now_us, self.units(meter, packet));
            let entry = &mut self.tables.get_mut(&name).expect("a table").entries[i];
            let color = entry
                .meter
                .as_mut()
                .map_or(0, |meter| meter.mark(now, units));
            let meters = list(&self.program.document, "meter_arrays");
            let target = &named(meters, meter).expect("a meter")["result_target"];
            let (header, field) = (text(&target[0]), text(&target[1]));
            packet.headers.set(&header, &field, &BigInt::from(color));
        }
        let call = match does {
            None => None,
            Some(Does::Call(call)) => Some(call),
            Some(Does::Member(member)) => {
                let members = &self.members[&text(&json["action_profile"])];
                members.get(&member).cloned()
            }
            Some(Does::Group(group)) => {
                let name = text(&json["action_profile"]);
                let profile = named(list(pipeline, "action_profiles"), &name).expect("a profile");
                let data = hash::input(&profile["selector"], "input", packet)?;
                let chosen = hash::compute(&text(&profile["selector"]["algo"]), &data)?;
                let group = &self.groups[&name][&group];
                let member = group.get((chosen % group.len().max(1) as u64) as usize);
                member.and_then(|member| self.members[&name].get(member).cloned())
            }
        };
        let next = &json["next_tables"];
        let by_hit = if hit { "__HIT__" } else { "__MISS__" };
        let after = match &call {
            _ if next.get(by_hit).is_some() => next[by_hit].clone(),
            Some(call) => {
                let action = text(&self.program.actions[&call.action]["name"]);
                next.get(&action)
                    .unwrap_or(&json["base_default_next"])
                    .clone()
            }
            None => json["base_default_next"].clone(),
        };
        if let Some(call) = call {
            self.run(&call, packet)?;
        }
        Ok(after)
    }

    /// A key and its width. Fields of an invalid header are 0.
    fn key(&self, key: &Value, packet: &Packet) -> (BigUint, u32) {
        let target = &key["target"];
        let width = self.program.key_width(key);
        if key["match_type"] == "valid" {
            let name = if target.is_array() {
                &target[0]
            } else {
                target
            };
            let valid = packet.headers.all[&text(name)].valid;
            return (BigUint::from(u8::from(valid)), width);
        }
        let (header, field) = (text(&target[0]), text(&target[1]));
        if field != "$valid$" && !packet.headers.all[&header].valid {
            return (BigUint::default(), width);
        }
        let value = unsigned(&packet.headers.get(&header, &field), width);
        match &key["mask"] {
            Value::Null => (value, width),
            mask => (value & super::program::hex_unsigned(mask), width),
        }
    }

    /// Whether the condition of a checksum holds.
    pub(super) fn applies(&self, checksum: &Value, packet: &Packet) -> Result<bool, Stop> {
        match &checksum["if_cond"] {
            Value::Null => Ok(true),
            condition => self.scope(packet, &[]).truth(condition),
        }
    }
}
