//! The key of an entry: its matches and its priority.

use std::sync::Arc;

use p4runtime::p4info;
use p4runtime::v1::FieldMatch;
use p4runtime::v1::field_match::{self, FieldMatchType};

use super::{canonical, fixed};
use crate::control::{EntryKey, KeyInfo, MatchKind, MatchValue};
use crate::server::errors::{Outcome, Refusal};

/// The key of an entry (P4Runtime specification, "Match Format").
pub(in crate::server) fn key_from_wire(
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
pub(in crate::server) fn matches_from_wire(
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
pub(in crate::server) fn matches_to_wire(table: &p4info::Table, key: &EntryKey) -> Vec<FieldMatch> {
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
