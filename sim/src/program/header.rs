//! Headers, metadata and header stacks in the PHV.

use super::{Loc, Span};

/// A field of a header or a metadata struct.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) signed: bool,
    pub(crate) varbit: bool,
    pub(crate) span: Span,
    /// Offset in the header, in bits, not counting a varbit before it.
    pub(crate) bit_offset: u32,
}

/// A header, or a metadata struct (always valid).
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) metadata: bool,
    pub(crate) valid: Loc,
    /// The validity word (of headers) and all fields.
    pub(crate) span: Span,
    pub(crate) fields: Vec<Field>,
    /// Bytes on the wire, not counting a varbit.
    pub(crate) bytes: u32,
    pub(crate) varbit: Option<Varbit>,
    /// The header union it is a member of: the other members.
    pub(crate) union_siblings: Vec<u32>,
    /// Position in its stack, for the stride of indexed access.
    pub(crate) stack: Option<(u32, u32)>,
}

/// The varbit of a header. Its first word is its length in bits, the bytes follow, eight a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Varbit {
    pub(crate) field: u32,
    pub(crate) loc: Loc,
    pub(crate) max_bytes: u32,
    /// Bytes of the header before it.
    pub(crate) before: u32,
}

/// A header stack: its elements lie one behind the other in the PHV.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) headers: Vec<u32>,
    pub(crate) next: Loc,
    pub(crate) stride: u32,
}

/// A field of a stack's elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StackField {
    pub(crate) first: Loc,
    pub(crate) stride: u32,
    pub(crate) count: u32,
    pub(crate) words: u32,
}
