//! What the interpreter's inner loop runs: the instruction set.
//!
//! Operands take 16 bits: the PHV is an array of 2¹⁶ words, and the compiler knows that no operand
//! lies outside it. What is not encoded is [`Inst::Other`], and the operation itself is run.

use super::{Loc, Pc};

/// Words that a PHV may have.
pub(crate) const PHV_WORDS: usize = 1 << 16;

/// A word of the PHV.
type At = u16;

/// Locations are below [`PHV_WORDS`].
pub(super) fn at(loc: Loc) -> At {
    loc as At
}

/// One instruction. Names and operands as in [`Op`](super::Op).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inst {
    Mov {
        d: At,
        s: At,
    },
    Mov2 {
        d: At,
        s: At,
        d2: At,
        s2: At,
    },
    Mov3 {
        d: At,
        s: At,
        d2: At,
        s2: At,
        d3: At,
        s3: At,
    },
    And {
        d: At,
        a: At,
        b: At,
    },
    Or {
        d: At,
        a: At,
        b: At,
    },
    Xor {
        d: At,
        a: At,
        b: At,
    },
    Xor2 {
        d: At,
        a: At,
        b: At,
        d2: At,
        a2: At,
        b2: At,
    },
    Add {
        d: At,
        a: At,
        b: At,
    },
    /// `(a + b) & m`
    AddMask {
        d: At,
        a: At,
        b: At,
        m: At,
    },
    Sub {
        d: At,
        a: At,
        b: At,
    },
    Mul {
        d: At,
        a: At,
        b: At,
    },
    Div {
        d: At,
        a: At,
        b: At,
    },
    Mod {
        d: At,
        a: At,
        b: At,
    },
    Not {
        d: At,
        a: At,
    },
    Shl {
        d: At,
        a: At,
        b: At,
    },
    Shr {
        d: At,
        a: At,
        b: At,
    },
    Sar {
        d: At,
        a: At,
        b: At,
    },
    ShlBy {
        d: At,
        a: At,
        n: u8,
    },
    SarBy {
        d: At,
        a: At,
        n: u8,
    },
    /// Also every zero-extension and logical shift by a constant.
    Slice {
        d: At,
        a: At,
        by: u8,
        bits: u8,
    },
    Sext {
        d: At,
        a: At,
        bits: u8,
    },
    Funnel {
        d: At,
        s: At,
        n: u8,
    },
    ClampS {
        d: At,
        a: At,
        lo: At,
        hi: At,
    },
    ClampU {
        d: At,
        a: At,
        hi: At,
    },
    Eq {
        d: At,
        a: At,
        b: At,
    },
    Ne {
        d: At,
        a: At,
        b: At,
    },
    LtU {
        d: At,
        a: At,
        b: At,
    },
    LeU {
        d: At,
        a: At,
        b: At,
    },
    LtS {
        d: At,
        a: At,
        b: At,
    },
    LeS {
        d: At,
        a: At,
        b: At,
    },
    BoolNot {
        d: At,
        a: At,
    },
    Select {
        d: At,
        c: At,
        a: At,
        b: At,
    },
    /// `d = if a == b { x } else { y }`
    SelectIfEqual {
        d: At,
        a: At,
        b: At,
        x: At,
        y: At,
    },
    Jump(Pc),
    MovJump {
        d: At,
        s: At,
        to: Pc,
    },
    /// A move, then a jump.
    MovJumpIfZero {
        d: At,
        s: At,
        c: At,
        to: Pc,
    },
    MovJumpUnlessZero {
        d: At,
        s: At,
        c: At,
        to: Pc,
    },
    /// `d = a == b`, and a jump if it is 0.
    EqJumpIfZero {
        d: At,
        a: At,
        b: At,
        to: Pc,
    },
    /// `d = a != b`, and a jump if it is 0.
    NeJumpIfZero {
        d: At,
        a: At,
        b: At,
        to: Pc,
    },
    JumpIfZero {
        c: At,
        to: Pc,
    },
    JumpIfEitherZero {
        a: At,
        b: At,
        to: Pc,
    },
    JumpUnlessZero {
        c: At,
        to: Pc,
    },
    JumpIfEqual {
        a: At,
        b: At,
        to: Pc,
    },
    JumpUnlessEqual {
        a: At,
        b: At,
        to: Pc,
    },
    JumpIfSlice {
        a: At,
        b: At,
        by: u8,
        bits: u8,
        to: Pc,
    },
    JumpUnlessSlice {
        a: At,
        b: At,
        by: u8,
        bits: u8,
        to: Pc,
    },
    JumpIfLess {
        a: At,
        b: At,
        to: Pc,
    },
    JumpUnlessLess {
        a: At,
        b: At,
        to: Pc,
    },
    /// Unless `(a + b) & m == c`.
    JumpUnlessSum {
        a: At,
        b: At,
        m: At,
        c: At,
        to: Pc,
    },
    /// A transition whose key and cases are one word each: an index into the program's switches.
    Switch {
        key: At,
        index: u32,
    },
    Return,
    Stop,
    Exit,
    Apply(u32),
    Extract(u32),
    /// One word of what follows, stands for so many operations.
    Lookahead {
        d: At,
        ahead: Ahead,
        ops: u8,
    },
    /// A transition on one word of what follows.
    SwitchAhead {
        ahead: Ahead,
        index: u32,
    },
    Transition(u32),
    /// The operation at the same index.
    Other,
}

/// Up to 64 bits of the bytes that follow: eight bytes, shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// First of the eight bytes, and the end of those that must be there; not less.
    pub(crate) from: u16,
    pub(crate) end: u16,
    /// Left, then right.
    pub(crate) left: u8,
    pub(crate) right: u8,
}

impl Ahead {
    pub(super) fn new(offset: u32, bits: u32) -> Option<Ahead> {
        let (left, right) = (offset % 8, 64u32.checked_sub(bits)?);
        Some(Ahead {
            from: u16::try_from(offset / 8).ok()?,
            end: u16::try_from((offset + bits).div_ceil(8)).ok()?,
            left: u8::try_from(left)
                .ok()
                .filter(|_| left <= right && right < 64)?,
            right: right as u8,
        })
    }
}

/// A transition on one word.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    /// Mask, value, target.
    pub(crate) cases: Box<[(u64, u64, Pc)]>,
    pub(crate) default: Pc,
}

// Four of them fit a cache line.
const _: () = assert!(size_of::<Inst>() == 16);
