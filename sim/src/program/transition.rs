//! How a parser chooses its next state.

use super::{Pc, Span};

/// A part of a transition key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyPart {
    Words(Span),
    Lookahead { offset: u32, bits: u32 },
}

impl KeyPart {
    pub(crate) fn words(self) -> u32 {
        match self {
            KeyPart::Words(span) => span.words,
            KeyPart::Lookahead { bits, .. } => bits.div_ceil(64),
        }
    }
}

/// What a transition compares its key with.
#[derive(Debug, Clone)]
pub(crate) enum Case {
    /// One word: `key & mask == value`.
    Word { value: u64, mask: u64 },
    /// Several words.
    Words { value: Box<[u64]>, mask: Box<[u64]> },
    /// A member of a value set.
    ValueSet { set: u32, mask: Option<Box<[u64]>> },
}

/// A `transition select`.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) key: Vec<KeyPart>,
    pub(crate) words: u32,
    pub(crate) cases: Vec<(Case, Pc)>,
    pub(crate) default: Pc,
}

/// A parser value set.
#[derive(Debug, Clone)]
pub(crate) struct ValueSet {
    /// Widths of the parts of the key, from the state that uses it.
    pub(crate) parts: Vec<u32>,
}
