//! What a program loaded for tracing tells of its packets.

use super::{Loc, Span};
use crate::control::ActionInfo;

/// Something that a packet meets, where [`Op::Trace`](super::Op::Trace) stands in the code.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// A parser state begins.
    State(String),
    /// The parser accepts.
    Accept,
    /// A header was extracted.
    Extracted(u32),
    /// The next element of a stack was extracted.
    ExtractedNext(u32),
    /// A `select` on these values.
    Select(Vec<(Span, u32)>),
    /// A table is about to be applied.
    Apply {
        table: u32,
        name: String,
        place: String,
        /// Name, words and width of each key.
        keys: Vec<(String, Span, u32)>,
    },
    /// A condition, and the word that holds its value.
    Condition {
        text: String,
        place: String,
        value: Loc,
    },
    /// A statement, and what it stored.
    Statement {
        text: String,
        place: String,
        result: Option<(Span, u32)>,
    },
    /// `log_msg`
    Log {
        format: String,
        place: String,
        values: Vec<(Span, u32)>,
    },
}

/// The notes, and the names they need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) notes: Vec<Note>,
    pub(crate) actions: Vec<ActionInfo>,
    /// Values and names.
    pub(crate) errors: Vec<(u64, String)>,
}
