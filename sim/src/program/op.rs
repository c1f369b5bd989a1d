//! Operations, on words and on values of any width.

use super::{Loc, Pc, Span};

/// One instruction. `d` is the destination, `s`, `a`, `b`, `c` are sources: words of the PHV.
/// Truth is 1, falsehood 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    // One word.
    Mov {
        d: Loc,
        s: Loc,
    },
    And {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Or {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Xor {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Add {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Sub {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Mul {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Div {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Mod {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Not {
        d: Loc,
        a: Loc,
    },
    Shl {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Shr {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Sar {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    ShlBy {
        d: Loc,
        a: Loc,
        n: u32,
    },
    ShrBy {
        d: Loc,
        a: Loc,
        n: u32,
    },
    SarBy {
        d: Loc,
        a: Loc,
        n: u32,
    },
    /// The low `bits` (1 to 64) of `a` shifted right by `by` (0 to 63), zero-extended.
    Slice {
        d: Loc,
        a: Loc,
        by: u8,
        bits: u8,
    },
    /// The low `bits` (1 to 64) of `a`, zero-extended.
    Zext {
        d: Loc,
        a: Loc,
        bits: u32,
    },
    /// The low `bits` (1 to 64) of `a`, sign-extended.
    Sext {
        d: Loc,
        a: Loc,
        bits: u32,
    },
    /// Word `s` and the one above it, shifted right by `n` (1 to 63).
    Funnel {
        d: Loc,
        s: Loc,
        n: u32,
    },
    /// `a` between `lo` and `hi`, signed.
    ClampS {
        d: Loc,
        a: Loc,
        lo: Loc,
        hi: Loc,
    },
    /// `a` up to `hi`, unsigned.
    ClampU {
        d: Loc,
        a: Loc,
        hi: Loc,
    },
    Eq {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    Ne {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LtU {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LeU {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LtS {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    LeS {
        d: Loc,
        a: Loc,
        b: Loc,
    },
    BoolNot {
        d: Loc,
        a: Loc,
    },
    Select {
        d: Loc,
        c: Loc,
        a: Loc,
        b: Loc,
    },

    // Several words.
    Copy {
        d: Loc,
        s: Loc,
        words: u32,
    },
    Wide(u32),

    // Flow within an action, a parser state or a control.
    Jump(Pc),
    JumpIfZero {
        c: Loc,
        to: Pc,
    },
    JumpUnlessZero {
        c: Loc,
        to: Pc,
    },
    JumpIfEqual {
        a: Loc,
        b: Loc,
        to: Pc,
    },
    JumpUnlessEqual {
        a: Loc,
        b: Loc,
        to: Pc,
    },
    /// End of an action.
    Return,
    /// End of a control or the parser.
    Stop,
    Exit,
    Assert {
        c: Loc,
    },
    Apply(u32),

    // Headers.
    AddHeader(u32),
    RemoveHeader(u32),
    AssignHeader {
        d: u32,
        s: u32,
    },
    CopyStackNext {
        d: u32,
        s: u32,
    },
    Push {
        stack: u32,
        n: u32,
    },
    Pop {
        stack: u32,
        n: u32,
    },
    /// Words of element `i` of a stack; zero beyond its end.
    StackLoad {
        d: Loc,
        i: Loc,
        field: u32,
    },
    /// The same, written; nothing beyond its end.
    StackStore {
        s: Loc,
        i: Loc,
        field: u32,
    },
    /// Index of the last element of a stack.
    LastIndex {
        d: Loc,
        stack: u32,
    },
    AssignVarbit {
        d: u32,
        s: u32,
    },
    /// Whether the varbits of two headers are equal: in length and in bits.
    VarbitEqual {
        d: Loc,
        a: u32,
        b: u32,
    },

    // Parser.
    Extract(u32),
    ExtractVarbit {
        header: u32,
        bits: Loc,
    },
    ExtractNext(u32),
    ExtractNextVarbit {
        stack: u32,
        bits: Loc,
    },
    /// `bits` in word `bits`, which must be a multiple of 8.
    Advance {
        bits: Loc,
    },
    Lookahead {
        d: Loc,
        offset: u32,
        bits: u32,
    },
    Verify {
        c: Loc,
        error: Loc,
    },
    Transition(u32),

    // v1model externs.
    MarkToDrop,
    Count {
        array: u32,
        index: Loc,
    },
    ExecuteMeter {
        d: Loc,
        array: u32,
        index: Loc,
    },
    RegisterRead {
        d: Loc,
        array: u32,
        index: Loc,
    },
    RegisterWrite {
        array: u32,
        index: Loc,
        s: Loc,
    },
    Random {
        d: Loc,
        lo: Loc,
        hi: Loc,
    },
    Hash {
        d: Loc,
        base: Loc,
        max: Loc,
        calculation: u32,
    },
    Digest {
        list: u32,
    },
    Clone {
        session: Loc,
        list: u32,
    },
    Resubmit {
        list: u32,
    },
    Recirculate {
        list: u32,
    },
    Truncate {
        length: Loc,
    },

    /// Tells a note; only in programs that are loaded for tracing.
    Trace(u32),
}

impl Op {
    /// Where a jump goes.
    pub(crate) fn target(&mut self) -> Option<&mut Pc> {
        match self {
            Op::Jump(to)
            | Op::JumpIfZero { to, .. }
            | Op::JumpUnlessZero { to, .. }
            | Op::JumpIfEqual { to, .. }
            | Op::JumpUnlessEqual { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// Operations on values of any width, in two's complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WideKind {
    And,
    Or,
    Xor,
    Add,
    Sub,
    Mul,
    /// Towards zero; by zero it gives zero.
    Div,
    /// With the sign of `a`.
    Mod,
    Not,
    /// `b` is one word.
    Shl,
    /// Arithmetic when `a` is signed. `b` is one word.
    Shr,
    /// The destination is one word: 0 or 1.
    Eq,
    Lt,
    Le,
    /// The low `b` bits (an immediate in `b.loc`), zero-extended.
    Zext,
    /// The low `b` bits (an immediate in `b.loc`), sign-extended.
    Sext,
    /// `a` limited to unsigned `b` bits (an immediate in `b.loc`).
    ClampU,
    /// `a` limited to signed `b` bits (an immediate in `b.loc`).
    ClampS,
    /// `a` if word `c` is 1, else `b`.
    Select,
}

/// A source of a wide operation: extended by its sign or by zeros to the width of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WideSource {
    pub(crate) span: Span,
    pub(crate) signed: bool,
}

/// A wide operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WideOp {
    pub(crate) kind: WideKind,
    pub(crate) d: Span,
    pub(crate) a: WideSource,
    pub(crate) b: WideSource,
    pub(crate) c: Loc,
}

/// The most words a wide operation works on.
pub(crate) const MAX_WIDE_WORDS: usize = 66;
