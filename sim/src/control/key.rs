//! From the control plane's values to words, and back.

use std::sync::Arc;

use super::error::ControlError;
use super::info::{ActionInfo, KeyInfo, MatchKind, TableInfo};
use super::types::{ActionCall, EntryKey, MatchValue, TableEntry};
use crate::program::{Call, Table, TableKind};
use crate::tables::{Entry, EntryAction, RangeMatch, hash_words, less, prefix_mask};

fn invalid<T>(reason: String) -> Result<T, ControlError> {
    Err(ControlError::InvalidArgument(reason))
}

/// A value of `width` bits in words, least significant first.
pub(crate) fn to_words(bytes: &[u8], width: u32, what: &str) -> Result<Vec<u64>, ControlError> {
    let mut words = vec![0; width.div_ceil(64) as usize];
    for (i, &byte) in bytes.iter().rev().enumerate() {
        match words.get_mut(i / 8) {
            Some(word) => *word |= u64::from(byte) << (i % 8 * 8),
            None if byte == 0 => {}
            None => return too_wide(bytes, width, what),
        }
    }
    let top = width % 64;
    if top != 0 && words.last().is_some_and(|word| word >> top != 0) {
        return too_wide(bytes, width, what);
    }
    Ok(words)
}

fn too_wide<T>(bytes: &[u8], width: u32, what: &str) -> Result<T, ControlError> {
    let hex: String = bytes
        .iter()
        .take(32)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    invalid(format!(
        "{what} has {width} bits; the value 0x{hex} has more"
    ))
}

/// A value of `width` bits in ⌈width/8⌉ bytes.
pub(crate) fn to_bytes(words: &[u64], width: u32) -> Vec<u8> {
    let n = width.div_ceil(8) as usize;
    let all: Vec<u8> = words
        .iter()
        .rev()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    all[all.len().saturating_sub(n)..].to_vec()
}

/// An action with its data, checked against the action's parameters. The values come back in
/// their canonical length.
pub(super) fn compile_call(
    info: &ActionInfo,
    call: &ActionCall,
) -> Result<(Call, ActionCall), ControlError> {
    if call.params.len() != info.params.len() {
        return invalid(format!(
            "action `{}` takes {} parameters, not {}",
            info.name,
            info.params.len(),
            call.params.len()
        ));
    }
    let mut args = Vec::new();
    let mut params = Vec::new();
    for (value, param) in call.params.iter().zip(&info.params) {
        let what = format!("parameter `{}` of action `{}`", param.name, info.name);
        let words = to_words(value, param.width, &what)?;
        params.push(to_bytes(&words, param.width));
        args.extend(words);
    }
    let compiled = Call {
        action: call.action.0,
        args: args.into(),
    };
    Ok((
        compiled,
        ActionCall {
            action: call.action,
            params,
        },
    ))
}

/// One key, as it goes into an entry.
struct Part {
    value: Vec<u64>,
    mask: Vec<u64>,
    range: Option<(Vec<u64>, Vec<u64>)>,
    prefix_len: Option<u32>,
    canonical: MatchValue,
}

/// An entry, checked against its table. Its state is fresh.
pub(crate) fn compile_entry(
    table: &Table,
    info: &TableInfo,
    mut source: TableEntry,
    action: EntryAction,
) -> Result<Entry, ControlError> {
    let mut entry = compile_key(table, info, &source.key)?;
    source.key = std::mem::replace(
        &mut entry.source.key,
        EntryKey {
            matches: Vec::new(),
            priority: 0,
        },
    );
    entry.source = source;
    entry.action = action;
    Ok(entry)
}

/// An entry with this key and no action, to look the real one up.
pub(super) fn compile_key(
    table: &Table,
    info: &TableInfo,
    key: &EntryKey,
) -> Result<Entry, ControlError> {
    let name = &info.name;
    if table.kind == TableKind::Keyless {
        return invalid(format!("table `{name}` has no key, so it has no entries"));
    }
    if key.matches.len() != info.keys.len() {
        let (want, found) = (info.keys.len(), key.matches.len());
        return invalid(format!("table `{name}` has {want} keys, the entry {found}"));
    }
    if info.needs_priority && key.priority == 0 {
        return invalid(format!(
            "entries of table `{name}` need a priority greater than 0"
        ));
    }
    if !info.needs_priority && key.priority != 0 {
        return invalid(format!(
            "entries of table `{name}` have no priority: it must be 0, not {}",
            key.priority
        ));
    }
    let mut words = Vec::new();
    let mut mask = Vec::new();
    let mut ranges = Vec::new();
    let mut canonical = Vec::new();
    let mut prefix = None;
    for (value, key) in key.matches.iter().zip(&info.keys) {
        let part = part(value, key, name)?;
        if let Some((low, high)) = part.range {
            let (low, high) = (low.into(), high.into());
            ranges.push(RangeMatch {
                at: words.len(),
                low,
                high,
            });
        }
        prefix = part.prefix_len.or(prefix);
        words.extend(part.value);
        mask.extend(part.mask);
        canonical.push(part.canonical);
    }
    if matches!(table.kind, TableKind::Lpm(_)) {
        words.push(u64::from(prefix.unwrap_or(0)));
    }
    let key = EntryKey {
        matches: canonical,
        priority: key.priority,
    };
    Ok(Entry {
        hash: hash_words(&words),
        key: words.into(),
        mask: mask.into(),
        ranges: ranges.into(),
        priority: key.priority,
        action: EntryAction::Member(0),
        source: TableEntry::new(key, super::types::TableAction::Member(0)),
        state: Arc::default(),
    })
}

fn part(value: &MatchValue, key: &KeyInfo, table: &str) -> Result<Part, ControlError> {
    let width = key.width;
    let what = format!("key `{}` of table `{table}`", key.name);
    let words = |bytes: &[u8]| to_words(bytes, width, &what);
    let n = width.div_ceil(64) as usize;
    let ones: Vec<u64> = (0..n as u32)
        .map(|i| u64::MAX >> (64 - (width - i * 64).min(64)))
        .collect();
    let part = |value: Vec<u64>, mask: Vec<u64>, canonical| Part {
        value,
        mask,
        range: None,
        prefix_len: None,
        canonical,
    };
    let outside = || {
        Err(ControlError::InvalidArgument(format!(
            "{what}: the value has bits outside its mask"
        )))
    };
    match (key.kind, value) {
        (MatchKind::Exact, MatchValue::Exact(bytes)) => {
            let value = words(bytes)?;
            let canonical = MatchValue::Exact(to_bytes(&value, width));
            Ok(part(value, ones, canonical))
        }
        (MatchKind::Valid, MatchValue::Valid(valid)) => Ok(part(
            vec![u64::from(*valid)],
            vec![1],
            MatchValue::Valid(*valid),
        )),
        (MatchKind::Lpm, MatchValue::Lpm { value, prefix_len }) => {
            if *prefix_len > width {
                return invalid(format!(
                    "{what}: prefix length {prefix_len} exceeds {width} bits"
                ));
            }
            let value = words(value)?;
            let mask: Vec<u64> = (0..n)
                .map(|i| prefix_mask(width, *prefix_len, i) & ones[i])
                .collect();
            if value.iter().zip(&mask).any(|(v, m)| v & !m != 0) {
                return outside();
            }
            let canonical = MatchValue::Lpm {
                value: to_bytes(&value, width),
                prefix_len: *prefix_len,
            };
            Ok(Part {
                prefix_len: Some(*prefix_len),
                ..part(value, mask, canonical)
            })
        }
        (MatchKind::Ternary, MatchValue::Ternary { value, mask }) => {
            let (value, mask) = (words(value)?, words(mask)?);
            if value.iter().zip(&mask).any(|(v, m)| v & !m != 0) {
                return outside();
            }
            let canonical = MatchValue::Ternary {
                value: to_bytes(&value, width),
                mask: to_bytes(&mask, width),
            };
            Ok(part(value, mask, canonical))
        }
        (MatchKind::Range, MatchValue::Range { low, high }) => {
            let (low, high) = (words(low)?, words(high)?);
            if less(&high, &low) {
                return invalid(format!("{what}: the range ends before it begins"));
            }
            let canonical = MatchValue::Range {
                low: to_bytes(&low, width),
                high: to_bytes(&high, width),
            };
            let zero = vec![0; n];
            Ok(Part {
                range: Some((low, high)),
                ..part(zero.clone(), zero, canonical)
            })
        }
        // p4c writes optional keys down as ternary ones: the document cannot tell them apart.
        (MatchKind::Optional | MatchKind::Ternary, MatchValue::Optional(value)) => match value {
            Some(bytes) => {
                let value = words(bytes)?;
                let canonical = MatchValue::Optional(Some(to_bytes(&value, width)));
                Ok(part(value, ones, canonical))
            }
            None => Ok(part(vec![0; n], vec![0; n], MatchValue::Optional(None))),
        },
        (kind, _) => invalid(format!(
            "{what} is a {kind:?} key; the entry has another kind"
        )),
    }
}
