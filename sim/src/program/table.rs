//! Tables, their actions and their action profiles.

use super::{Loc, Pc, Span};

/// A key of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableKey {
    pub(crate) span: Span,
    /// Read as 0 while this word is 0.
    pub(crate) valid: Loc,
    pub(crate) mask: Option<Box<[u64]>>,
}

/// How a table finds its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// No key: always the default action.
    Keyless,
    Exact,
    /// The key with this index is the prefix.
    Lpm(u32),
    /// Ternary, range or optional: by priority.
    Ternary,
}

/// An action bound to data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) action: u32,
    pub(crate) args: Box<[u64]>,
}

/// A const entry, with its P4Runtime priority.
#[derive(Debug, Clone)]
pub(crate) struct ConstEntry {
    pub(crate) key: crate::control::EntryKey,
    pub(crate) call: Call,
}

/// A direct meter of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectMeter {
    pub(crate) bytes: bool,
    /// Where the colour goes, and its width.
    pub(crate) target: Loc,
    pub(crate) width: u32,
}

/// Where a control goes on after a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Next {
    /// For each action of the program that this table may run.
    pub(crate) by_action: Vec<(u32, Pc)>,
    pub(crate) hit: Option<Pc>,
    pub(crate) miss: Option<Pc>,
    pub(crate) default: Pc,
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) kind: TableKind,
    pub(crate) keys: Vec<TableKey>,
    pub(crate) key_words: u32,
    pub(crate) actions: Vec<u32>,
    pub(crate) default: Option<Call>,
    pub(crate) entries: Vec<ConstEntry>,
    pub(crate) counter: bool,
    pub(crate) meter: Option<DirectMeter>,
    pub(crate) ageing: bool,
    pub(crate) profile: Option<u32>,
    pub(crate) next: Next,
}

/// An action.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) start: Pc,
    pub(crate) args: Vec<Span>,
}

/// An action profile or selector.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// The hash of an action selector.
    pub(crate) selector: Option<u32>,
    /// The actions that its tables have.
    pub(crate) actions: Vec<u32>,
}
