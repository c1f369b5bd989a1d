//! Table entries, actions and data: from P4Runtime's messages to the control plane's types and
//! back.
//!
//! Values are checked and brought to ⌈width/8⌉ bytes on the way in (so that one key has one form
//! here), and to the canonical form on the way out.

use std::sync::Arc;

use p4runtime::bytes;
use p4runtime::p4info;
use p4runtime::v1::field_match::{self, FieldMatchType};
use p4runtime::v1::{self, FieldMatch};

use super::errors::{Outcome, Refusal};
use super::pipeline::Loaded;
use crate::control::{
    ActionCall, CounterData, EntryKey, KeyInfo, MatchKind, MatchValue, MeterConfig, TableHandle,
};

/// A value of `bitwidth` bits in its ⌈width/8⌉ bytes.
pub(super) fn fixed(value: &[u8], bitwidth: u32) -> Outcome<Vec<u8>> {
    let mut out = vec![0; bitwidth.div_ceil(8) as usize];
    bytes::write_fixed(value, bitwidth, &mut out)?;
    Ok(out)
}

/// The canonical bytestring of a value.
pub(super) fn canonical(value: &[u8]) -> Vec<u8> {
    bytes::canonical(value).to_vec()
}

/// The key of an entry (P4Runtime specification, "Match Format").
pub(super) fn key_from_wire(
    table: &p4info::Table,
    keys: &[KeyInfo],
    matches: &[FieldMatch],
    priority: i32,
) -> Outcome<EntryKey> {
    let matches = matches_from_wire(table, keys, matches)?;
    let priority = match u32::try_from(priority) {
        Ok(0) if table.needs_priority() => {
            return Err(Refusal::invalid(
                "the table has ternary, range or optional fields: the priority must be greater \
                 than 0",
            ));
        }
        Ok(priority) if priority > 0 && !table.needs_priority() => {
            return Err(Refusal::invalid(format!(
                "the table has only exact and lpm fields: the priority must be 0, not {priority}"
            )));
        }
        Ok(priority) => priority,
        Err(_) => {
            return Err(Refusal::invalid(format!(
                "the priority {priority} is negative"
            )));
        }
    };
    Ok(EntryKey { matches, priority })
}

/// The matches of a key, without its priority.
pub(super) fn matches_from_wire(
    table: &p4info::Table,
    keys: &[KeyInfo],
    matches: &[FieldMatch],
) -> Outcome<Vec<MatchValue>> {
    for (index, given) in matches.iter().enumerate() {
        table.match_fields.by_id(given.field_id)?;
        if matches[..index]
            .iter()
            .any(|earlier| earlier.field_id == given.field_id)
        {
            return Err(Refusal::invalid(format!(
                "field {} is given twice",
                given.field_id
            )));
        }
    }
    let one = |(field, key): (&Arc<p4info::MatchField>, &KeyInfo)| {
        let given = matches.iter().find(|given| given.field_id == field.id);
        let value = match given {
            None => dont_care(key.kind, field.bitwidth),
            Some(given) => match_from_wire(wire_kind(field, key.kind), field.bitwidth, given)
                .map(|value| as_program(value, key.kind, field.bitwidth)),
        };
        value.map_err(|refusal| refusal.at(format_args!("field \"{}\"", field.name)))
    };
    table.match_fields.iter().zip(keys).map(one).collect()
}

/// How a field matches on the wire. p4c turns `optional` keys into ternary ones in the JSON.
fn wire_kind(field: &p4info::MatchField, program: MatchKind) -> MatchKind {
    match (&field.kind, program) {
        (p4info::MatchKind::Optional, MatchKind::Ternary) => MatchKind::Optional,
        (_, program) => program,
    }
}

/// The match in the program's kind.
fn as_program(value: MatchValue, program: MatchKind, bitwidth: u32) -> MatchValue {
    match (value, program) {
        (MatchValue::Optional(Some(value)), MatchKind::Ternary) => MatchValue::Ternary {
            value,
            mask: all_ones(bitwidth),
        },
        (value, _) => value,
    }
}

fn dont_care(kind: MatchKind, bitwidth: u32) -> Outcome<MatchValue> {
    let zeros = || vec![0; bitwidth.div_ceil(8) as usize];
    match kind {
        MatchKind::Exact | MatchKind::Valid => {
            Err(Refusal::invalid("an exact field cannot be left out"))
        }
        MatchKind::Lpm => Ok(MatchValue::Lpm {
            value: zeros(),
            prefix_len: 0,
        }),
        MatchKind::Ternary => Ok(MatchValue::Ternary {
            value: zeros(),
            mask: zeros(),
        }),
        MatchKind::Range => Ok(MatchValue::Range {
            low: zeros(),
            high: all_ones(bitwidth),
        }),
        MatchKind::Optional => Ok(MatchValue::Optional(None)),
    }
}

fn match_from_wire(kind: MatchKind, bitwidth: u32, given: &FieldMatch) -> Outcome<MatchValue> {
    let omit = || Refusal::invalid("leave the field out to match anything");
    match (kind, &given.field_match_type) {
        (MatchKind::Exact, Some(FieldMatchType::Exact(exact))) => {
            Ok(MatchValue::Exact(fixed(&exact.value, bitwidth)?))
        }
        (MatchKind::Valid, Some(FieldMatchType::Exact(exact))) => {
            Ok(MatchValue::Valid(fixed(&exact.value, 1)? != [0]))
        }
        (MatchKind::Lpm, Some(FieldMatchType::Lpm(lpm))) => {
            let value = fixed(&lpm.value, bitwidth)?;
            let prefix_len = u32::try_from(lpm.prefix_len)
                .ok()
                .filter(|&len| len <= bitwidth)
                .ok_or_else(|| {
                    Refusal::invalid(format!(
                        "prefix length {} is not within 1 and {bitwidth}",
                        lpm.prefix_len
                    ))
                })?;
            if prefix_len == 0 {
                return Err(omit());
            }
            if trailing_zeros(&value) < bitwidth - prefix_len {
                return Err(Refusal::invalid(format!(
                    "bits behind the prefix of {prefix_len} bits must be 0"
                )));
            }
            Ok(MatchValue::Lpm { value, prefix_len })
        }
        (MatchKind::Ternary, Some(FieldMatchType::Ternary(ternary))) => {
            let value = fixed(&ternary.value, bitwidth)?;
            let mask = fixed(&ternary.mask, bitwidth)?;
            if mask.iter().all(|&byte| byte == 0) {
                return Err(omit());
            }
            if value
                .iter()
                .zip(&mask)
                .any(|(value, mask)| value & !mask != 0)
            {
                return Err(Refusal::invalid(
                    "bits outside the mask must be 0 in the value",
                ));
            }
            Ok(MatchValue::Ternary { value, mask })
        }
        (MatchKind::Range, Some(FieldMatchType::Range(range))) => {
            let low = fixed(&range.low, bitwidth)?;
            let high = fixed(&range.high, bitwidth)?;
            if low > high {
                return Err(Refusal::invalid("the low bound is above the high bound"));
            }
            if low.iter().all(|&byte| byte == 0) && high == all_ones(bitwidth) {
                return Err(omit());
            }
            Ok(MatchValue::Range { low, high })
        }
        (MatchKind::Optional, Some(FieldMatchType::Optional(optional))) => Ok(
            MatchValue::Optional(Some(fixed(&optional.value, bitwidth)?)),
        ),
        (_, None) => Err(Refusal::invalid("the match has no type and no value")),
        (kind, Some(_)) => Err(Refusal::invalid(format!(
            "the match is not of the field's kind, {kind:?}"
        ))),
    }
}

/// The matches of a key in P4Runtime's form: what matches anything is left out.
pub(super) fn matches_to_wire(table: &p4info::Table, key: &EntryKey) -> Vec<FieldMatch> {
    let one = |(field, value): (&Arc<p4info::MatchField>, &MatchValue)| {
        let matched = match value {
            MatchValue::Exact(value) => FieldMatchType::Exact(field_match::Exact {
                value: canonical(value),
            }),
            MatchValue::Valid(valid) => FieldMatchType::Exact(field_match::Exact {
                value: vec![u8::from(*valid)],
            }),
            MatchValue::Lpm { prefix_len: 0, .. } => return None,
            MatchValue::Lpm { value, prefix_len } => FieldMatchType::Lpm(field_match::Lpm {
                value: canonical(value),
                // At most the field's width.
                prefix_len: *prefix_len as i32,
            }),
            MatchValue::Ternary { mask, .. } if mask.iter().all(|&byte| byte == 0) => return None,
            MatchValue::Ternary { value, .. } if field.kind == p4info::MatchKind::Optional => {
                FieldMatchType::Optional(field_match::Optional {
                    value: canonical(value),
                })
            }
            MatchValue::Ternary { value, mask } => FieldMatchType::Ternary(field_match::Ternary {
                value: canonical(value),
                mask: canonical(mask),
            }),
            MatchValue::Range { low, high }
                if low.iter().all(|&byte| byte == 0) && *high == all_ones(field.bitwidth) =>
            {
                return None;
            }
            MatchValue::Range { low, high } => FieldMatchType::Range(field_match::Range {
                low: canonical(low),
                high: canonical(high),
            }),
            MatchValue::Optional(None) => return None,
            MatchValue::Optional(Some(value)) => FieldMatchType::Optional(field_match::Optional {
                value: canonical(value),
            }),
        };
        Some(FieldMatch {
            field_id: field.id,
            field_match_type: Some(matched),
        })
    };
    table
        .match_fields
        .iter()
        .zip(&key.matches)
        .filter_map(one)
        .collect()
}

/// Which part of a table an action is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionUse {
    Entry,
    Default,
}

/// An action with its arguments (P4Runtime specification, "Action Specification").
pub(super) fn action_from_wire(
    loaded: &Loaded,
    table: &p4info::Table,
    handle: TableHandle,
    action: &v1::Action,
    used: ActionUse,
) -> Outcome<ActionCall> {
    let action_ref = table.actions.by_id(action.action_id)?;
    let info = &action_ref.action;
    match (action_ref.scope, used) {
        (p4info::Scope::TableOnly, ActionUse::Default) => {
            return Err(Refusal::denied(format!(
                "action \"{}\" is @tableonly: it cannot be the default action",
                info.name
            )));
        }
        (p4info::Scope::DefaultOnly, ActionUse::Entry) => {
            return Err(Refusal::denied(format!(
                "action \"{}\" is @defaultonly: entries cannot have it",
                info.name
            )));
        }
        _ => {}
    }
    for (index, param) in action.params.iter().enumerate() {
        info.params.by_id(param.param_id)?;
        if action.params[..index]
            .iter()
            .any(|earlier| earlier.param_id == param.param_id)
        {
            return Err(Refusal::invalid(format!(
                "action \"{}\": parameter {} is given twice",
                info.name, param.param_id
            )));
        }
    }
    let one = |param: &Arc<p4info::Param>| {
        let given = action
            .params
            .iter()
            .find(|given| given.param_id == param.id);
        let value = match given {
            Some(given) => fixed(&given.value, param.bitwidth),
            None => Err(Refusal::invalid("has no value")),
        };
        value.map_err(|refusal| {
            refusal.at(format_args!(
                "action \"{}\", parameter \"{}\"",
                info.name, param.name
            ))
        })
    };
    let params = info.params.iter().map(one).collect::<Outcome<_>>()?;
    Ok(ActionCall {
        action: loaded.action_handle(handle, &info.name)?,
        params,
    })
}

/// An action in P4Runtime's form; `None` for one that P4Info does not know.
pub(super) fn action_to_wire(loaded: &Loaded, call: &ActionCall) -> Option<v1::Action> {
    let info = loaded.actions.get(&call.action)?;
    let param = |(param, value): (&Arc<p4info::Param>, &Vec<u8>)| v1::action::Param {
        param_id: param.id,
        value: canonical(value),
    };
    let params = info.params.iter().zip(&call.params).map(param).collect();
    Some(v1::Action {
        action_id: info.id,
        params,
    })
}

/// A counter's value.
pub(super) fn counter_from_wire(data: &v1::CounterData) -> Outcome<CounterData> {
    let number = |what, value: i64| {
        u64::try_from(value)
            .map_err(|_| Refusal::invalid(format!("counter data: {what} {value} is negative")))
    };
    Ok(CounterData {
        packets: number("packet_count", data.packet_count)?,
        bytes: number("byte_count", data.byte_count)?,
    })
}

/// A counter's value in P4Runtime's form.
pub(super) fn counter_to_wire(data: CounterData) -> v1::CounterData {
    v1::CounterData {
        byte_count: i64::try_from(data.bytes).unwrap_or(i64::MAX),
        packet_count: i64::try_from(data.packets).unwrap_or(i64::MAX),
    }
}

/// A meter's configuration (P4Runtime specification, "MeterEntry & DirectMeterEntry").
pub(super) fn meter_from_wire(
    meter_type: p4info::MeterType,
    config: &v1::MeterConfig,
) -> Outcome<MeterConfig> {
    let number = |what, value: i64| {
        u64::try_from(value)
            .map_err(|_| Refusal::invalid(format!("meter config: {what} {value} is negative")))
    };
    if config.eburst != 0 {
        return match meter_type {
            p4info::MeterType::SingleRateThreeColor => Err(Refusal::unimplemented(
                "meter config: single rate three color meters are not supported",
            )),
            _ => Err(Refusal::invalid(
                "meter config: eburst is for srTCM meters only",
            )),
        };
    }
    let single_rate = meter_type != p4info::MeterType::TwoRateThreeColor;
    if single_rate && (config.pir != config.cir || config.pburst != config.cburst) {
        return Err(Refusal::invalid(
            "meter config: a single rate meter has pir = cir and pburst = cburst",
        ));
    }
    if config.pir < config.cir {
        return Err(Refusal::invalid(format!(
            "meter config: the peak rate {} is below the committed rate {}",
            config.pir, config.cir
        )));
    }
    Ok(MeterConfig {
        cir: number("cir", config.cir)?,
        cburst: number("cburst", config.cburst)?,
        pir: number("pir", config.pir)?,
        pburst: number("pburst", config.pburst)?,
    })
}

/// A meter's configuration in P4Runtime's form.
pub(super) fn meter_to_wire(config: MeterConfig) -> v1::MeterConfig {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    v1::MeterConfig {
        cir: number(config.cir),
        cburst: number(config.cburst),
        pir: number(config.pir),
        pburst: number(config.pburst),
        eburst: 0,
    }
}

/// A port number (a 32-bit number at most) from its bytestring.
pub(super) fn port_from_wire(port: &[u8]) -> Outcome<u32> {
    let number = bytes::decode(port, 32).map_err(|error| Refusal::from(error).at("port"))?;
    // At most 32 bits, as just checked.
    Ok(number as u32)
}

/// A port number's bytestring.
pub(super) fn port_to_wire(port: u32) -> Vec<u8> {
    bytes::encode(port.into())
}

/// An index into an array of `size` cells; `None` for all.
pub(super) fn index_from_wire(index: Option<&v1::Index>, size: usize) -> Outcome<Option<usize>> {
    let Some(v1::Index { index }) = index else {
        return Ok(None);
    };
    match usize::try_from(*index) {
        Err(_) => Err(Refusal::invalid(format!("the index {index} is negative"))),
        Ok(index) if index >= size => Err(Refusal::out_of_range(format!(
            "the index {index} is beyond the {size} cells of the array"
        ))),
        Ok(index) => Ok(Some(index)),
    }
}

fn all_ones(bitwidth: u32) -> Vec<u8> {
    let mut ones = vec![0xff; bitwidth.div_ceil(8) as usize];
    if let Some(first) = ones.first_mut()
        && !bitwidth.is_multiple_of(8)
    {
        *first = 0xff >> (8 - bitwidth % 8);
    }
    ones
}

fn trailing_zeros(value: &[u8]) -> u32 {
    let mut zeros = 0;
    for &byte in value.iter().rev() {
        if byte != 0 {
            return zeros + byte.trailing_zeros();
        }
        zeros += 8;
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ones_are_as_many_as_the_width() {
        assert_eq!(all_ones(9), [0x01, 0xff]);
        assert_eq!(all_ones(16), [0xff, 0xff]);
    }

    #[test]
    fn an_index_is_within_the_array() {
        let at = |index| index_from_wire(Some(&v1::Index { index }), 4).map_err(|r| r.code);
        assert_eq!(index_from_wire(None, 4), Ok(None));
        assert_eq!(at(3), Ok(Some(3)));
        assert_eq!(at(4), Err(tonic::Code::OutOfRange));
        assert_eq!(at(-1), Err(tonic::Code::InvalidArgument));
    }

    #[test]
    fn a_match_of_the_wrong_kind_or_shape_is_refused() {
        let lpm = |value: &[u8], prefix_len| FieldMatch {
            field_id: 1,
            field_match_type: Some(FieldMatchType::Lpm(field_match::Lpm {
                value: value.to_vec(),
                prefix_len,
            })),
        };
        let refused =
            |kind, given: &FieldMatch| match_from_wire(kind, 32, given).expect_err("wrong").code;
        use tonic::Code::{InvalidArgument, OutOfRange};
        assert_eq!(refused(MatchKind::Exact, &lpm(&[1], 8)), InvalidArgument);
        assert_eq!(refused(MatchKind::Lpm, &lpm(&[1], 8)), InvalidArgument);
        assert_eq!(refused(MatchKind::Lpm, &lpm(&[0], 0)), InvalidArgument);
        assert_eq!(refused(MatchKind::Lpm, &lpm(&[0], 33)), InvalidArgument);
        assert_eq!(refused(MatchKind::Lpm, &lpm(&[], 8)), OutOfRange);
        assert_eq!(
            refused(MatchKind::Lpm, &lpm(&[1, 0, 0, 0, 0], 8)),
            OutOfRange
        );
        let ok = match_from_wire(MatchKind::Lpm, 32, &lpm(&[0, 10, 0, 0, 0], 8)).expect("valid");
        assert_eq!(
            ok,
            MatchValue::Lpm {
                value: vec![10, 0, 0, 0],
                prefix_len: 8
            }
        );
    }
}
