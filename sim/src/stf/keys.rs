//! What keys match, as STF writes it.

use super::value::{self, Digits};
use crate::control::{KeyInfo, MatchKind, MatchValue};

/// Exactly `width` bits' worth of bytes.
pub(super) fn fitted(bytes: &[u8], width: u32, text: &str) -> Result<Vec<u8>, String> {
    value::fit(bytes, width).ok_or_else(|| format!("`{text}` does not fit {width} bits"))
}

/// What a key that the line does not name matches, as in p4c's driver.
pub(super) fn unnamed(key: &KeyInfo) -> MatchValue {
    let zeros = vec![0; key.width.div_ceil(8) as usize];
    match key.kind {
        MatchKind::Exact => MatchValue::Exact(zeros),
        MatchKind::Lpm => MatchValue::Lpm {
            value: zeros,
            prefix_len: 0,
        },
        MatchKind::Ternary => MatchValue::Ternary {
            value: zeros.clone(),
            mask: zeros,
        },
        MatchKind::Range => MatchValue::Range {
            low: zeros,
            high: value::prefix_mask(key.width, key.width),
        },
        MatchKind::Optional => MatchValue::Optional(None),
        MatchKind::Valid => MatchValue::Valid(false),
    }
}

/// What a key matches.
pub(super) fn match_value(key: &KeyInfo, text: &str) -> Result<MatchValue, String> {
    let width = key.width;
    let full = |text: &str| value::parse(text).and_then(|bytes| fitted(&bytes, width, text));
    let all = value::prefix_mask(width, width);
    Ok(match key.kind {
        MatchKind::Exact => MatchValue::Exact(full(text)?),
        MatchKind::Valid => match full(text)?.iter().all(|byte| *byte == 0) {
            true => MatchValue::Valid(false),
            false => MatchValue::Valid(true),
        },
        MatchKind::Optional if text == "*" => MatchValue::Optional(None),
        MatchKind::Optional => MatchValue::Optional(Some(full(text)?)),
        MatchKind::Ternary => {
            let (value, mask) = if let Some((value, mask)) = text.split_once("&&&") {
                (full(value)?, full(mask)?)
            } else if text == "*" {
                return Ok(unnamed(key));
            } else {
                match Digits::parse(text) {
                    Some(digits) => {
                        let value = fitted(&digits.value, width, text)?;
                        // As many bits as there are digits; those beyond the key are none.
                        let mask = match digits.mask {
                            Some(mask) => low_bits(&mask, width),
                            None => all,
                        };
                        (value, mask)
                    }
                    None => (full(text)?, all),
                }
            };
            MatchValue::Ternary {
                value: value::and(&value, &mask),
                mask,
            }
        }
        MatchKind::Lpm => {
            let (value, prefix_len) = match text.rsplit_once('/') {
                Some((value, length)) => {
                    let length: u32 = length
                        .parse()
                        .ok()
                        .filter(|length| *length <= width)
                        .ok_or_else(|| {
                            format!("expected a prefix length of at most {width}, found `{length}`")
                        })?;
                    (full(value)?, length)
                }
                None => match Digits::parse(text) {
                    Some(digits) if digits.mask.is_some() => {
                        let value = fitted(&digits.value, width, text)?;
                        (value, digits.leading_bits.min(width))
                    }
                    _ => (full(text)?, width),
                },
            };
            MatchValue::Lpm {
                value: value::and(&value, &value::prefix_mask(width, prefix_len)),
                prefix_len,
            }
        }
        MatchKind::Range => {
            let (low, high) = match text.split_once("->").or_else(|| text.split_once("..")) {
                Some((low, high)) => (full(low)?, full(high)?),
                None if text == "*" => return Ok(unnamed(key)),
                None => (full(text)?, full(text)?),
            };
            MatchValue::Range { low, high }
        }
    })
}

/// The low `width` bits of a mask, in that many bits' bytes.
fn low_bits(mask: &[u8], width: u32) -> Vec<u8> {
    let len = width.div_ceil(8) as usize;
    let kept = &mask[mask.len().saturating_sub(len)..];
    let mut bytes = vec![0; len - kept.len()];
    bytes.extend_from_slice(kept);
    value::and(&bytes, &value::prefix_mask(width, width))
}
