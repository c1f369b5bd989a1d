//! Expressions as the document has them: typed, with every name resolved.

use super::super::json::bit_length;
use crate::program::{Loc, Span};

/// Where a value can be stored and read.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A field of a known header, an action's argument.
    Slot {
        span: Span,
        width: u32,
        signed: bool,
    },
    /// A field of a stack's element.
    Element {
        field: u32,
        index: Box<Expr>,
        width: u32,
        signed: bool,
    },
    /// A varbit field: the header.
    Varbit { header: u32 },
}

/// A header.
#[derive(Debug, Clone)]
pub(super) enum HeaderRef {
    Fixed(u32),
    Element {
        stack: u32,
        index: Box<Expr>,
    },
    /// The first if the condition holds, else the second.
    Choice(Box<Expr>, Box<HeaderRef>, Box<HeaderRef>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    BoolAnd,
    BoolOr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    /// `two_comp_mod`
    Wrap,
    /// `usat_cast`
    Unsigned,
    /// `sat_cast`
    Signed,
}

/// An expression. Arithmetic is on integers without bounds, as in BMv2; p4c writes the masks.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    Const {
        negative: bool,
        words: Vec<u64>,
    },
    Place(Place),
    /// A word that is 0 or 1, or small.
    Word {
        loc: Loc,
        bits: u32,
    },
    Not(Box<Expr>),
    BoolNot(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Cast(Cast, Box<Expr>, u32),
    Ternary(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A stack's last index.
    LastIndex(u32),
    /// Whether two headers' varbits are equal.
    VarbitEqual(u32, u32),
    /// A cell of a register array (P4-14).
    Register {
        array: u32,
        index: Box<Expr>,
        width: u32,
    },
    /// Bits of the packet ahead.
    Lookahead {
        offset: u32,
        bits: u32,
    },
}

/// The values an expression may have: from −2^bits (or 0) to 2^bits − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) negative: bool,
    pub(super) bits: u32,
}

/// Beyond this many bits an expression is "too wide" anyway.
const BITS_CAP: u32 = 1 << 20;

impl Bounds {
    /// Words in which any of these values fits in two's complement, or unsigned.
    pub(super) fn words(self) -> u32 {
        (self.bits + u32::from(self.negative)).div_ceil(64).max(1)
    }

    fn union(self, other: Bounds) -> Bounds {
        Bounds {
            negative: self.negative || other.negative,
            bits: self.bits.max(other.bits),
        }
    }
}

impl Expr {
    pub(super) fn constant(value: u64) -> Expr {
        Expr::Const {
            negative: false,
            words: if value == 0 { vec![] } else { vec![value] },
        }
    }

    /// The value of a small constant.
    pub(super) fn as_small(&self) -> Option<u32> {
        match self {
            Expr::Const {
                negative: false,
                words,
            } => match words.as_slice() {
                [] => Some(0),
                [word] => u32::try_from(*word).ok(),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let boolean = Bounds {
            negative: false,
            bits: 1,
        };
        let mut bounds = match self {
            Expr::Const { negative, words } => Bounds {
                negative: *negative,
                bits: bit_length(words) as u32,
            },
            Expr::Place(
                Place::Slot { width, signed, .. } | Place::Element { width, signed, .. },
            ) => {
                if *signed {
                    Bounds {
                        negative: true,
                        bits: width.saturating_sub(1),
                    }
                } else {
                    Bounds {
                        negative: false,
                        bits: *width,
                    }
                }
            }
            Expr::Place(Place::Varbit { .. }) => boolean,
            Expr::Word { bits, .. } | Expr::Lookahead { bits, .. } => Bounds {
                negative: false,
                bits: *bits,
            },
            Expr::LastIndex(_) => Bounds {
                negative: false,
                bits: 32,
            },
            Expr::Not(a) => Bounds {
                negative: true,
                bits: a.bounds().bits,
            },
            Expr::BoolNot(_) | Expr::VarbitEqual(..) => boolean,
            Expr::Register { width, .. } => Bounds {
                negative: false,
                bits: *width,
            },
            Expr::Cast(Cast::Unsigned, _, bits) => Bounds {
                negative: false,
                bits: *bits,
            },
            Expr::Cast(_, _, bits) => Bounds {
                negative: true,
                bits: bits.saturating_sub(1),
            },
            Expr::Ternary(_, a, b) => a.bounds().union(b.bounds()),
            Expr::Binary(op, a, b) => match op {
                Binary::Eq
                | Binary::Ne
                | Binary::Lt
                | Binary::Le
                | Binary::BoolAnd
                | Binary::BoolOr => boolean,
                _ => arithmetic_bounds(*op, a.bounds(), b.bounds(), b.as_small()),
            },
        };
        bounds.bits = bounds.bits.min(BITS_CAP);
        bounds
    }
}

fn arithmetic_bounds(op: Binary, a: Bounds, b: Bounds, constant: Option<u32>) -> Bounds {
    let either = a.negative || b.negative;
    match op {
        Binary::Add => Bounds {
            negative: either,
            bits: a.bits.max(b.bits) + 1,
        },
        Binary::Sub => Bounds {
            negative: true,
            bits: a.bits.max(b.bits) + 1,
        },
        Binary::Mul => Bounds {
            negative: either,
            bits: a.bits + b.bits + 1,
        },
        Binary::And => match (a.negative, b.negative) {
            (false, false) => Bounds {
                negative: false,
                bits: a.bits.min(b.bits),
            },
            (false, true) => a,
            (true, false) => b,
            (true, true) => a.union(b),
        },
        Binary::Shl => {
            let most = constant.unwrap_or(1u32.checked_shl(b.bits).unwrap_or(BITS_CAP));
            Bounds {
                negative: a.negative,
                bits: a.bits.saturating_add(most).min(BITS_CAP),
            }
        }
        Binary::Shr => Bounds {
            negative: a.negative,
            bits: a.bits.saturating_sub(constant.unwrap_or(0)),
        },
        // The least value by −1 is one bit more.
        Binary::Div => Bounds {
            negative: either,
            bits: a.bits + u32::from(either),
        },
        Binary::Mod => Bounds {
            negative: a.negative,
            bits: if either { a.bits.max(b.bits) } else { b.bits },
        },
        _ => a.union(b),
    }
}
