//! What the standard allows in a table entry, for those who build entries and those who read them.

use super::schema::{ActionRef, MatchField, Scope, Table};
use super::{EntityError, Named};
use crate::bytes::{Bitstring, significant_bits};

pub(super) fn fit(field: &str, value: Bitstring, bitwidth: u32) -> Result<Bitstring, EntityError> {
    value.fit(bitwidth).map_err(|source| EntityError::Value {
        field: field.to_owned(),
        source,
    })
}

pub(super) fn missing_match(table: &Table, field: &MatchField) -> EntityError {
    EntityError::MissingMatch {
        table: table.name.clone(),
        field: field.name.clone(),
    }
}

/// Whether every bit behind the prefix is zero.
pub(super) fn prefix_holds(value: &[u8], bitwidth: u32, prefix_len: u32) -> bool {
    let free = (bitwidth - prefix_len) as usize;
    let trailing_zeros = match value.iter().rposition(|&octet| octet != 0) {
        None => return true,
        Some(last) => (value.len() - 1 - last) * 8 + value[last].trailing_zeros() as usize,
    };
    trailing_zeros >= free
}

/// Whether `value & mask == value`; both are right-aligned and may differ in length.
pub(super) fn mask_holds(value: &[u8], mask: &[u8]) -> bool {
    let mut masks = mask.iter().rev();
    value
        .iter()
        .rev()
        .all(|octet| octet & !masks.next().unwrap_or(&0) == 0)
}

pub(super) fn is_all_ones(value: &[u8], bitwidth: u32) -> bool {
    significant_bits(value) == bitwidth as usize
        && value.iter().map(|octet| octet.count_ones()).sum::<u32>() == bitwidth
}

pub(super) fn check_implementation(
    table: &Table,
    is_default: bool,
    used: &'static str,
) -> Result<(), EntityError> {
    let (expected, allowed): (&'static str, &[&str]) = match &table.implementation {
        // The default entry of an indirect table may hold an action of its own.
        None => ("an action", &["an action"]),
        Some(_) if is_default => (
            "an action, member or group",
            &["an action", "a member", "a group"],
        ),
        Some(profile) if profile.with_selector => (
            "a member, a group or weighted actions",
            &["a member", "a group", "weighted actions"],
        ),
        Some(_) => ("a member", &["a member"]),
    };
    if allowed.contains(&used) {
        return Ok(());
    }
    Err(EntityError::Implementation {
        table: table.name.clone(),
        expected,
        used,
    })
}

pub(super) fn check_scope(
    table: &Table,
    reference: &ActionRef,
    is_default: bool,
) -> Result<(), EntityError> {
    let allowed = match (reference.scope, is_default) {
        (Scope::TableOnly, true) => "only in entries, not as the default action",
        (Scope::DefaultOnly, false) => "only as the default action",
        _ => return Ok(()),
    };
    let (table, action) = (table.name.clone(), reference.name().to_owned());
    Err(EntityError::Scope {
        table,
        action,
        allowed,
    })
}

pub(super) fn check_priority(
    table: &Table,
    is_default: bool,
    priority: i32,
) -> Result<(), EntityError> {
    let rule = match (priority, is_default, table.needs_priority()) {
        (0, true, _) | (0, _, false) | (1.., false, true) => return Ok(()),
        (_, true, _) => {
            let table = table.name.clone();
            return Err(EntityError::DefaultEntry {
                table,
                what: "priority",
            });
        }
        (_, _, true) => "a table with a ternary, range or optional field takes 1 and above",
        (_, _, false) => "a table without ternary, range and optional fields takes 0 only",
    };
    Err(EntityError::Priority {
        table: table.name.clone(),
        priority,
        rule,
    })
}

pub(super) fn check_idle_timeout(
    table: &Table,
    is_default: bool,
    timeout_ns: i64,
) -> Result<(), EntityError> {
    let rule = match (timeout_ns, is_default, table.idle_timeout) {
        (0, _, _) | (1.., false, true) => return Ok(()),
        (_, true, _) => {
            let table = table.name.clone();
            return Err(EntityError::DefaultEntry {
                table,
                what: "idle timeout",
            });
        }
        (_, _, false) => "the table does not support idle timeouts",
        (_, _, true) => "it must not be negative",
    };
    Err(EntityError::IdleTimeout {
        table: table.name.clone(),
        timeout_ns,
        rule,
    })
}
