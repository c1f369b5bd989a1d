//! Internet checksums, ready to be summed where their inputs are.
//!
//! The sum of 16-bit words with end-around carry is a sum modulo 2¹⁶ − 1. That divides 2⁶⁴ − 1, in
//! which a shift to the left is a rotation: a field counts by its value, rotated to where it ends
//! within a word of 16 bits.

use super::{ALWAYS, Algorithm, Calculation, CalculationInput};

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) s: u16,
    pub(crate) rotate: u8,
    pub(crate) mask: u64,
}

/// A checksum while all headers in it are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    /// The sum of the constants.
    pub(crate) start: u64,
    pub(crate) terms: Box<[Term]>,
    /// The validity of the headers.
    pub(crate) valid: Box<[u16]>,
}

/// Adds with end-around carry.
#[inline]
pub(crate) fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

/// The checksum of a sum (RFC 1071).
#[inline]
pub(crate) fn checksum(sum: u64) -> u16 {
    let mut sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    !(sum as u16)
}

impl Sum {
    /// `None` if the calculation is something else: another algorithm, over the payload too, or
    /// with an input of more than 64 bits.
    pub(super) fn new(calculation: &Calculation) -> Option<Sum> {
        if calculation.algorithm != Algorithm::Csum16 || calculation.payload {
            return None;
        }
        let mut start = 0;
        let mut terms = Vec::new();
        let mut length = 0u32;
        let mut valid = Vec::new();
        for input in &calculation.inputs {
            let width = match input {
                CalculationInput::Field { width, .. }
                | CalculationInput::Constant { width, .. } => *width,
                _ => return None,
            };
            if width > 64 {
                return None;
            }
            length += width;
            let rotate = (length.wrapping_neg() % 16) as u8;
            let mask = u64::MAX >> (64 - width);
            match input {
                CalculationInput::Field {
                    span, valid: word, ..
                } => {
                    terms.push(Term {
                        s: span.loc as u16,
                        rotate,
                        mask,
                    });
                    if *word != ALWAYS && !valid.contains(&(*word as u16)) {
                        valid.push(*word as u16);
                    }
                }
                CalculationInput::Constant { words, .. } => {
                    let value = words.first().copied().unwrap_or(0) & mask;
                    start = add(start, value.rotate_left(u32::from(rotate)));
                }
                _ => return None,
            }
        }
        Some(Sum {
            start,
            terms: terms.into(),
            valid: valid.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::Span;
    use super::*;
    use crate::externs::hash::InternetSum;

    proptest! {
        #[test]
        fn it_is_the_sum_of_the_concatenated_fields(
            fields in prop::collection::vec((1u32..=64, any::<u64>(), any::<bool>()), 0..20),
        ) {
            let mut inputs = Vec::new();
            let mut expected = InternetSum::default();
            let mut phv = vec![1];
            for (width, value, constant) in fields {
                let value = value & u64::MAX >> (64 - width);
                expected.bits(width, value);
                if constant {
                    inputs.push(CalculationInput::Constant { words: [value].into(), width });
                } else {
                    let span = Span { loc: phv.len() as u32, words: 1 };
                    inputs.push(CalculationInput::Field { span, width, valid: ALWAYS });
                    phv.push(value);
                }
            }
            let algorithm = Algorithm::Csum16;
            let sum = Sum::new(&Calculation {
                algorithm,
                inputs,
                payload: false,
                calls: Arc::default(),
            });
            let sum = sum.expect("fields of up to 64 bits");
            let total = sum.terms.iter().fold(sum.start, |total, term| {
                let value = phv[usize::from(term.s)] & term.mask;
                add(total, value.rotate_left(u32::from(term.rotate)))
            });
            prop_assert_eq!(checksum(total), expected.checksum());
        }
    }
}
