//! Tables and action profiles.

use super::super::json::{At, LoadError};
use super::Lowering;
use super::externs::algorithm;
use crate::control::{
    ActionHandle, DirectMeterInfo, EntryKey, KeyInfo, MatchKind, MatchValue, MeterUnit,
    ProfileHandle, ProfileInfo, TableHandle, TableInfo,
};
use crate::program::{
    ALWAYS, Call, ConstEntry, DirectMeter, Profile, Span, Table, TableKey, TableKind,
};

impl Lowering {
    /// Action profiles and selectors of a pipeline.
    pub(super) fn profiles(&mut self, pipeline: &At<'_>) -> Result<(), LoadError> {
        for node in pipeline.list("action_profiles")? {
            let selector = match node.opt("selector")? {
                None => None,
                Some(selector) => {
                    let algorithm = algorithm(&selector.get("algo")?)?;
                    let calculation = self.calculation(&selector.get("input")?, algorithm)?;
                    self.program.calculations.push(calculation);
                    Some(self.program.calculations.len() as u32 - 1)
                }
            };
            let name = node.text("name")?.to_owned();
            self.profile_index
                .insert(name.clone(), self.program.profiles.len() as u32);
            let size = match node.opt("max_size")? {
                Some(size) => size.number(1 << 30)? as usize,
                None => 1024,
            };
            self.infos.profiles.push(ProfileInfo {
                name,
                size,
                with_selector: selector.is_some(),
                tables: Vec::new(),
            });
            self.program.profiles.push(Profile {
                selector,
                actions: Vec::new(),
            });
        }
        Ok(())
    }

    /// One table: everything but where control goes on after it.
    pub(super) fn table(&mut self, node: &At<'_>) -> Result<u32, LoadError> {
        let name = node.text("name")?.to_owned();
        let index = self.program.tables.len() as u32;
        let mut keys = Vec::new();
        let mut infos = Vec::new();
        for key in node.get("key")?.items()? {
            let (key, info) = self.table_key(&key)?;
            keys.push(key);
            infos.push(info);
        }
        let key_words = keys.iter().map(|key| key.span.words).sum();
        if key_words > 512 {
            return Err(node.error("the table's key is too wide"));
        }
        let prioritised = |kind: MatchKind| {
            matches!(
                kind,
                MatchKind::Ternary | MatchKind::Range | MatchKind::Optional
            )
        };
        let prefixes: Vec<usize> = (0..infos.len())
            .filter(|&i| infos[i].kind == MatchKind::Lpm)
            .collect();
        let kind = if keys.is_empty() {
            TableKind::Keyless
        } else if infos.iter().any(|info| prioritised(info.kind)) {
            TableKind::Ternary
        } else {
            match prefixes.as_slice() {
                [] => TableKind::Exact,
                [prefix] => TableKind::Lpm(*prefix as u32),
                _ => return Err(node.error("a table has at most one lpm key")),
            }
        };

        let mut actions = Vec::new();
        let mut action_infos = Vec::new();
        for id in node.get("action_ids")?.items()? {
            let action = self.action_with_id(&id)?;
            actions.push(action.0);
            action_infos.push((self.infos.actions[action.index()].name.clone(), action));
        }
        let type_at = node.get("type")?;
        let profile = match type_at.str()? {
            "simple" => None,
            "indirect" | "indirect_ws" => {
                let name = node.get("action_profile")?;
                let Some(&profile) = self.profile_index.get(name.str()?) else {
                    return Err(name.error("no action profile of this pipeline has this name"));
                };
                self.infos.profiles[profile as usize]
                    .tables
                    .push(TableHandle(index));
                for &action in &actions {
                    let all = &mut self.program.profiles[profile as usize].actions;
                    if !all.contains(&action) {
                        all.push(action);
                    }
                }
                Some(profile)
            }
            other => return Err(type_at.error(format!("table type `{other}` is not supported"))),
        };
        let mut const_default = false;
        let default = match node.opt("default_entry")? {
            None => None,
            Some(entry) => {
                const_default = entry.flag("action_entry_const", false)?
                    || entry.flag("action_const", false)?;
                Some(self.call(&entry, &actions)?)
            }
        };
        let needs_priority = kind == TableKind::Ternary;
        let entries_at = node.opt("entries")?;
        let entries = match &entries_at {
            None => Vec::new(),
            Some(entries) => self.const_entries(entries, &infos, needs_priority, &actions)?,
        };
        let meter = self.direct_meters.get(&name);
        let counter =
            node.flag("with_counters", false)? || self.direct_counters.contains_key(&name);
        let ageing = node.flag("support_timeout", false)?;
        self.infos.tables.push(TableInfo {
            name: name.clone(),
            keys: infos,
            size: match node.opt("max_size")? {
                Some(size) => size.number(1 << 30)? as usize,
                None => 1024,
            },
            actions: action_infos,
            profile: profile.map(ProfileHandle),
            idle_timeout: ageing,
            direct_counter: counter,
            direct_meter: meter.map(|meter| DirectMeterInfo {
                name: meter.name.clone(),
                unit: if meter.bytes {
                    MeterUnit::Bytes
                } else {
                    MeterUnit::Packets
                },
            }),
            needs_priority,
            const_entries: entries_at.is_some(),
            const_default_action: const_default,
        });
        self.program.tables.push(Table {
            kind,
            keys,
            key_words,
            actions,
            default,
            entries,
            counter,
            meter: meter.map(|meter| DirectMeter {
                bytes: meter.bytes,
                target: meter.target,
                width: meter.width,
            }),
            ageing,
            profile,
            next: Default::default(),
        });
        Ok(index)
    }

    fn table_key(&mut self, node: &At<'_>) -> Result<(TableKey, KeyInfo), LoadError> {
        let kind_at = node.get("match_type")?;
        let kind = match kind_at.str()? {
            "exact" => MatchKind::Exact,
            "lpm" => MatchKind::Lpm,
            "ternary" => MatchKind::Ternary,
            "range" => MatchKind::Range,
            "optional" => MatchKind::Optional,
            "valid" => MatchKind::Valid,
            other => return Err(kind_at.error(format!("match kind `{other}` is not supported"))),
        };
        let target = node.get("target")?;
        let (span, width, valid) = if kind == MatchKind::Valid {
            (self.valid_span(&target)?, 1, ALWAYS)
        } else {
            let (span, width): (Span, u32) = self.field_span(&target)?;
            (span, width, self.validity_of(&target)?)
        };
        let mask = match node.opt("mask")? {
            None => None,
            Some(mask) => Some(mask.hex_words(width.div_ceil(8) * 8)?.into()),
        };
        let name = match node.opt("name")? {
            Some(name) => name.str()?.to_owned(),
            None => match target.tuple() {
                Ok([header, field]) => format!("{}.{}", header.str()?, field.str()?),
                Err(_) => target.str()?.to_owned(),
            },
        };
        Ok((
            TableKey { span, valid, mask },
            KeyInfo { name, kind, width },
        ))
    }

    /// `action_id` and `action_data`.
    fn call(&mut self, node: &At<'_>, actions: &[u32]) -> Result<Call, LoadError> {
        let id = node.get("action_id")?;
        let ActionHandle(action) = self.action_with_id(&id)?;
        if !actions.contains(&action) {
            return Err(id.error("the table does not have this action"));
        }
        let data = node.list("action_data")?;
        let params = &self.infos.actions[action as usize].params;
        if data.len() != params.len() {
            let (want, found) = (params.len(), data.len());
            return Err(node.error(format!("the action takes {want} values, found {found}")));
        }
        let mut args = Vec::new();
        for (value, param) in data.iter().zip(params) {
            args.extend(value.hex_words(param.width)?);
        }
        Ok(Call {
            action,
            args: args.into(),
        })
    }

    fn const_entries(
        &mut self,
        entries: &At<'_>,
        keys: &[KeyInfo],
        needs_priority: bool,
        actions: &[u32],
    ) -> Result<Vec<ConstEntry>, LoadError> {
        let nodes = entries.items()?;
        let mut priorities = Vec::new();
        for node in &nodes {
            priorities.push(match node.opt("priority")? {
                Some(priority) => priority.number(i32::MAX as u64)? as u32,
                None => 0,
            });
        }
        // The least number wins here, the greatest in P4Runtime.
        let most = priorities.iter().copied().max().unwrap_or(0);
        let mut result = Vec::new();
        for (node, priority) in nodes.iter().zip(priorities) {
            let matches_at = node.get("match_key")?;
            let parts = matches_at.items()?;
            if parts.len() != keys.len() {
                let (want, found) = (keys.len(), parts.len());
                return Err(matches_at.error(format!("expected {want} keys, found {found}")));
            }
            let mut matches = Vec::new();
            for (part, key) in parts.iter().zip(keys) {
                matches.push(match_value(part, key)?);
            }
            let priority = if needs_priority {
                most - priority + 1
            } else {
                0
            };
            let call = self.call(&node.get("action_entry")?, actions)?;
            result.push(ConstEntry {
                key: EntryKey { matches, priority },
                call,
            });
        }
        Ok(result)
    }
}

fn match_value(node: &At<'_>, key: &KeyInfo) -> Result<MatchValue, LoadError> {
    let bytes = |at: &At<'_>| -> Result<Vec<u8>, LoadError> {
        let words = at.hex_words(key.width)?;
        Ok(words
            .iter()
            .rev()
            .flat_map(|word| word.to_be_bytes())
            .collect())
    };
    let masked = |value: Vec<u8>, mask: &[u8]| -> Vec<u8> {
        value.iter().zip(mask).map(|(v, m)| v & m).collect()
    };
    Ok(match key.kind {
        MatchKind::Exact => MatchValue::Exact(bytes(&node.get("key")?)?),
        MatchKind::Lpm => {
            let length = node.get("prefix_length")?;
            let prefix_len = length.number(u64::from(key.width))? as u32;
            let value = bytes(&node.get("key")?)?;
            let mut mask = vec![0; value.len()];
            let total = value.len() as u32 * 8;
            for bit in total - key.width..total - key.width + prefix_len {
                mask[(bit / 8) as usize] |= 0x80 >> (bit % 8);
            }
            MatchValue::Lpm {
                value: masked(value, &mask),
                prefix_len,
            }
        }
        MatchKind::Ternary => {
            let mask = bytes(&node.get("mask")?)?;
            MatchValue::Ternary {
                value: masked(bytes(&node.get("key")?)?, &mask),
                mask,
            }
        }
        MatchKind::Range => MatchValue::Range {
            low: bytes(&node.get("start")?)?,
            high: bytes(&node.get("end")?)?,
        },
        MatchKind::Optional => {
            // p4c writes an optional key as a ternary one: all ones or all zeros in the mask.
            let any = match node.opt("mask")? {
                Some(mask) => bytes(&mask)?.iter().all(|byte| *byte == 0),
                None => node.opt("key")?.is_none(),
            };
            MatchValue::Optional(if any {
                None
            } else {
                Some(bytes(&node.get("key")?)?)
            })
        }
        MatchKind::Valid => MatchValue::Valid(node.get("key")?.bool()?),
    })
}
