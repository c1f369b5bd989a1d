//! Whether P4Info and the program tell the same of each object: numbers, widths, kinds. They do
//! unless they come from two compilations.

use std::collections::HashMap;
use std::sync::Arc;

use p4runtime::p4info;

use super::errors::{Outcome, Refusal};
use super::pipeline::Loaded;
use crate::bmv2::Pipeline;
use crate::control::{ActionHandle, MatchKind, TableHandle};

/// Checks everything that is no table.
pub(super) fn check_arrays(loaded: &Loaded) -> Outcome {
    let pipeline = &loaded.pipeline;
    for (counter, handle) in loaded.counters.iter() {
        let at = format!("counter \"{}\"", counter.name);
        same(
            &at,
            "size",
            counter.size,
            pipeline.counter_info(handle).size as u64,
        )?;
    }
    for (meter, handle) in loaded.meters.iter() {
        let at = format!("meter \"{}\"", meter.name);
        same(
            &at,
            "size",
            meter.size,
            pipeline.meter_info(handle).size as u64,
        )?;
    }
    for (register, handle) in loaded.registers.iter() {
        let at = format!("register \"{}\"", register.name);
        let info = pipeline.register_info(handle);
        same(&at, "size", register.size, info.size as u64)?;
        // Other cells than one plain value are refused when they are read or written.
        if let [leaf] = &register.data_type.leaves()[..] {
            same(&at, "bit width", leaf.bitwidth, info.width)?;
        }
    }
    for (value_set, handle) in loaded.value_sets.iter() {
        let at = format!("value set \"{}\"", value_set.name);
        let info = pipeline.value_set_info(handle);
        let width: u64 = value_set
            .match_fields
            .iter()
            .map(|f| u64::from(f.bitwidth))
            .sum();
        same(&at, "bit width", width, info.width.into())?;
    }
    for (digest, handle) in loaded.digests.iter() {
        let at = format!("digest \"{}\"", digest.name);
        let (leaves, info) = (digest.data_type.leaves(), pipeline.digest_info(handle));
        same(&at, "number of fields", leaves.len(), info.fields.len())?;
        for (leaf, field) in leaves.iter().zip(&info.fields) {
            let at = format!("{at}, field \"{}\"", leaf.name);
            same(&at, "bit width", leaf.bitwidth, field.width)?;
        }
    }
    Ok(())
}

/// Checks one table and notes its actions.
pub(super) fn check_table(
    pipeline: &Pipeline,
    table: &p4info::Table,
    handle: TableHandle,
    actions: &mut HashMap<ActionHandle, Arc<p4info::Action>>,
) -> Outcome {
    let info = pipeline.table_info(handle);
    let name = &table.name;
    let at = format!("table \"{name}\"");
    same(
        &at,
        "number of match fields",
        table.match_fields.len(),
        info.keys.len(),
    )?;
    for (field, key) in table.match_fields.iter().zip(&info.keys) {
        let place = format!("{at}, field \"{}\"", field.name);
        same(&place, "bit width", field.bitwidth, key.width)?;
        let kind = match key.kind {
            MatchKind::Exact | MatchKind::Valid => p4info::MatchKind::Exact,
            MatchKind::Lpm => p4info::MatchKind::Lpm,
            MatchKind::Ternary => p4info::MatchKind::Ternary,
            MatchKind::Range => p4info::MatchKind::Range,
            MatchKind::Optional => p4info::MatchKind::Optional,
        };
        // p4c turns `optional` keys into ternary ones in the JSON.
        let optional = field.kind == p4info::MatchKind::Optional && key.kind == MatchKind::Ternary;
        if !optional {
            same(&place, "match kind", field.kind.as_str(), kind.as_str())?;
        }
    }
    for action_ref in &table.actions {
        let action = &action_ref.action;
        let action_handle = info.action(&action.name).ok_or_else(|| {
            Refusal::invalid(format!(
                "table \"{name}\" has the action \"{}\" in P4Info, but not in the device config",
                action.name
            ))
        })?;
        let program = pipeline.action_info(action_handle);
        let place = format!("{at}, action \"{}\"", action.name);
        same(
            &place,
            "number of parameters",
            action.params.len(),
            program.params.len(),
        )?;
        for (param, of_program) in action.params.iter().zip(&program.params) {
            let place = format!("{place}, parameter \"{}\"", param.name);
            same(&place, "bit width", param.bitwidth, of_program.width)?;
        }
        actions.insert(action_handle, Arc::clone(action));
    }
    same(
        &at,
        "direct counter",
        table.direct_counter.is_some(),
        info.direct_counter,
    )?;
    same(
        &at,
        "direct meter",
        table.direct_meter.is_some(),
        info.direct_meter.is_some(),
    )?;
    same(
        &at,
        "action profile",
        table.implementation.is_some(),
        info.profile.is_some(),
    )
}

fn same<T: PartialEq + std::fmt::Display>(
    place: &str,
    what: &str,
    p4info: T,
    program: T,
) -> Outcome {
    if p4info == program {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "{place}: {what} is {p4info} in P4Info and {program} in the device config"
    )))
}
