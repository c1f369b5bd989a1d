//! Choices from bytes, and numbers that meet each other.

use std::collections::BTreeMap;

use num_bigint::BigUint;
use serde_json::Value;

/// The constants of a program: what its packets and entries had better hold.
pub struct Pool {
    /// With the bytes they are written with.
    constants: Vec<(usize, BigUint)>,
}

impl Pool {
    pub fn new(document: &Value) -> Pool {
        let mut constants = Vec::new();
        collect(document, &mut constants);
        constants.sort();
        constants.dedup();
        Pool { constants }
    }
}

fn collect(value: &Value, constants: &mut Vec<(usize, BigUint)>) {
    match value {
        Value::String(text) => {
            if let Some(digits) = text.strip_prefix("0x")
                && let Some(number) = BigUint::parse_bytes(digits.as_bytes(), 16)
            {
                constants.push((digits.len().div_ceil(2), number));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, constants)),
        Value::Object(map) => {
            let members = map.iter().filter(|(key, _)| *key != "source_info");
            members.for_each(|(_, item)| collect(item, constants));
        }
        _ => {}
    }
}

/// Values by width.
pub type Seen = BTreeMap<u32, Vec<BigUint>>;

/// Bytes that decide; zeros when they end.
pub struct Tape<'a> {
    bytes: &'a [u8],
    pool: &'a Pool,
    /// What the keys of entries are.
    seen: &'a Seen,
}

impl<'a> Tape<'a> {
    pub fn new(bytes: &'a [u8], pool: &'a Pool, seen: &'a Seen) -> Tape<'a> {
        Tape { bytes, pool, seen }
    }

    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                *byte
            }
            None => 0,
        }
    }

    /// 0, …, `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        if n > 256 {
            let high = usize::from(self.byte());
            return (high << 8 | usize::from(self.byte())) % n;
        }
        usize::from(self.byte()) % n.max(1)
    }

    pub fn one<'b, T>(&mut self, of: &'b [T]) -> Option<&'b T> {
        if of.is_empty() {
            return None;
        }
        of.get(self.below(of.len()))
    }

    /// A number of so many bits: small, or one of the program's or of an entry's, or all ones, or
    /// anything.
    pub fn number(&mut self, width: u32) -> BigUint {
        let most = (BigUint::from(1u8) << width) - 1u8;
        match self.below(8) {
            0 => BigUint::default(),
            4 | 5 if self.seen.contains_key(&width) => {
                let seen = self.seen;
                self.one(&seen[&width]).cloned().unwrap_or_default()
            }
            1 | 2 => BigUint::from(1 + self.below(4)) & most,
            6 => most,
            7 => {
                let bytes: Vec<u8> = (0..width.div_ceil(8)).map(|_| self.byte()).collect();
                BigUint::from_bytes_be(&bytes) & most
            }
            _ => {
                let size = width.div_ceil(8) as usize;
                let constants = &self.pool.constants;
                let fitting: Vec<_> = constants
                    .iter()
                    .filter(|(bytes, number)| *bytes == size && *number <= most)
                    .collect();
                match self.one(&fitting) {
                    Some((_, number)) => number.clone(),
                    None => BigUint::from(self.below(4)) & most,
                }
            }
        }
    }
}
