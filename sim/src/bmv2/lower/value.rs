//! Code for expressions.
//!
//! What fits one word runs in one word. The document's arithmetic has no bounds, so each
//! expression is lowered for a demand: its exact value, or only its low words, which is all a
//! mask, a cast or a store wants. Sums, products and bit operations of low words need only low
//! words; comparisons and right shifts need exact operands.

use super::super::json::{At, LoadError};
use super::Lowering;
use super::expr::{Binary, Bounds, Expr, Place};
use crate::program::{Loc, MAX_WIDE_WORDS, Op, Span, WideKind, WideSource};

/// What is wanted of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    Exact,
    /// The value modulo 2^(64 n).
    Words(u32),
}

/// Where an expression's value is after its code has run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) span: Span,
    /// If exact: extends by its sign.
    pub(super) negative: bool,
    pub(super) exact: bool,
    pub(super) bits: u32,
}

impl Value {
    pub(super) fn word(loc: Loc, bounds: Bounds) -> Value {
        let span = Span { loc, words: 1 };
        Value {
            span,
            negative: bounds.negative,
            exact: true,
            bits: bounds.bits,
        }
    }

    pub(super) fn source(self) -> WideSource {
        WideSource {
            span: self.span,
            signed: self.negative && self.exact,
        }
    }

    pub(super) fn fits_signed_word(self) -> bool {
        self.span.words == 1 && (self.negative || self.bits <= 63)
    }

    pub(super) fn fits_unsigned_word(self) -> bool {
        self.span.words == 1 && !self.negative
    }
}

pub(super) const BOOLEAN: Bounds = Bounds {
    negative: false,
    bits: 1,
};

impl Lowering {
    /// An expression in exactly one word: conditions, indices, lengths.
    pub(super) fn word(&mut self, e: &Expr, at: &At<'_>) -> Result<Loc, LoadError> {
        Ok(self.value(e, Demand::Words(1), at)?.span.loc)
    }

    /// Emits the code of an expression.
    pub(super) fn value(
        &mut self,
        e: &Expr,
        demand: Demand,
        at: &At<'_>,
    ) -> Result<Value, LoadError> {
        let bounds = e.bounds();
        let full = bounds.words();
        let n = match demand {
            Demand::Exact => full,
            Demand::Words(words) => words.min(full),
        };
        if n as usize > MAX_WIDE_WORDS {
            return Err(at.error(format!("a value of {} bits is too wide", bounds.bits)));
        }
        let result = |span: Span| Value {
            span,
            negative: bounds.negative,
            exact: n == full,
            bits: bounds.bits,
        };
        if n == 1
            && let Some(value) = self.masked(e, at)?
        {
            return Ok(value);
        }
        match e {
            Expr::Const { negative, words } => {
                let mut limbs = words.clone();
                limbs.resize(full as usize, 0);
                if *negative {
                    let mut carry = true;
                    for limb in &mut limbs {
                        let (value, overflow) = (!*limb).overflowing_add(u64::from(carry));
                        *limb = value;
                        carry = overflow;
                    }
                }
                let span = self.constant(&limbs);
                Ok(Value {
                    span,
                    negative: *negative,
                    exact: true,
                    bits: bounds.bits,
                })
            }
            Expr::Word { loc, .. } => Ok(Value::word(*loc, bounds)),
            Expr::Place(Place::Slot { span, .. }) => Ok(Value {
                span: *span,
                negative: bounds.negative,
                exact: true,
                bits: bounds.bits,
            }),
            Expr::Place(Place::Element {
                field,
                index,
                width,
                ..
            }) => {
                let i = self.word(index, at)?;
                let d = self.temporary(width.div_ceil(64), at)?;
                self.emit(Op::StackLoad {
                    d: d.loc,
                    i,
                    field: *field,
                });
                Ok(Value {
                    span: d,
                    negative: bounds.negative,
                    exact: true,
                    bits: bounds.bits,
                })
            }
            Expr::Place(Place::Varbit { .. }) => {
                Err(at.error("a varbit cannot be used in an expression"))
            }
            Expr::VarbitEqual(a, b) => {
                let d = self.temporary(1, at)?.loc;
                self.emit(Op::VarbitEqual { d, a: *a, b: *b });
                Ok(Value::word(d, BOOLEAN))
            }
            Expr::Register {
                array,
                index,
                width,
            } => {
                let index = self.word(index, at)?;
                let d = self.temporary(width.div_ceil(64), at)?;
                // Beyond the array's end it reads as 0.
                let zeros = self.constant(&vec![0; d.words as usize]);
                self.emit(Op::Copy {
                    d: d.loc,
                    s: zeros.loc,
                    words: d.words,
                });
                self.emit(Op::RegisterRead {
                    d: d.loc,
                    array: *array,
                    index,
                });
                Ok(Value {
                    span: d,
                    negative: false,
                    exact: true,
                    bits: *width,
                })
            }
            Expr::LastIndex(stack) => {
                let d = self.temporary(1, at)?;
                self.emit(Op::LastIndex {
                    d: d.loc,
                    stack: *stack,
                });
                Ok(Value::word(d.loc, bounds))
            }
            Expr::Lookahead { offset, bits } => {
                let d = self.temporary(bits.div_ceil(64), at)?;
                self.emit(Op::Lookahead {
                    d: d.loc,
                    offset: *offset,
                    bits: *bits,
                });
                Ok(Value {
                    span: d,
                    negative: false,
                    exact: true,
                    bits: *bits,
                })
            }
            Expr::BoolNot(a) => {
                let a = self.word(a, at)?;
                let d = self.temporary(1, at)?.loc;
                self.emit(Op::BoolNot { d, a });
                Ok(Value::word(d, BOOLEAN))
            }
            Expr::Not(a) => {
                let a = self.value(a, Demand::Words(n), at)?;
                let d = self.temporary(n, at)?;
                if n == 1 {
                    self.emit(Op::Not {
                        d: d.loc,
                        a: a.span.loc,
                    });
                } else {
                    self.wide(WideKind::Not, d, a.source(), a.source(), 0);
                }
                Ok(result(d))
            }
            Expr::Cast(cast, a, bits) => self.cast(*cast, a, *bits, at),
            Expr::Ternary(c, a, b) => {
                let c = self.word(c, at)?;
                let a = self.value(a, Demand::Words(n), at)?;
                let b = self.value(b, Demand::Words(n), at)?;
                let d = self.temporary(n, at)?;
                if n == 1 {
                    self.emit(Op::Select {
                        d: d.loc,
                        c,
                        a: a.span.loc,
                        b: b.span.loc,
                    });
                } else {
                    self.wide(WideKind::Select, d, a.source(), b.source(), c);
                }
                Ok(result(d))
            }
            Expr::Binary(op, a, b) => match op {
                Binary::BoolAnd | Binary::BoolOr => {
                    let (a, b) = (self.word(a, at)?, self.word(b, at)?);
                    let d = self.temporary(1, at)?.loc;
                    self.emit(match op {
                        Binary::BoolAnd => Op::And { d, a, b },
                        _ => Op::Or { d, a, b },
                    });
                    Ok(Value::word(d, BOOLEAN))
                }
                Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => self.compare(*op, a, b, at),
                Binary::Shl => {
                    let a = self.value(a, Demand::Words(n), at)?;
                    let d = self.temporary(n, at)?;
                    match b.as_small() {
                        Some(by) if n == 1 => {
                            self.emit(Op::ShlBy {
                                d: d.loc,
                                a: a.span.loc,
                                n: by,
                            });
                        }
                        _ => {
                            let b = self.shift_amount(b, at)?;
                            if n == 1 {
                                self.emit(Op::Shl {
                                    d: d.loc,
                                    a: a.span.loc,
                                    b: b.span.loc,
                                });
                            } else {
                                self.wide(WideKind::Shl, d, a.source(), b.source(), 0);
                            }
                        }
                    }
                    Ok(result(d))
                }
                Binary::Shr => {
                    let span = self.shift_right(a, b, n, at)?;
                    Ok(result(span))
                }
                Binary::Div | Binary::Mod => {
                    let a = self.value(a, Demand::Exact, at)?;
                    let b = self.value(b, Demand::Exact, at)?;
                    if !a.fits_unsigned_word() || !b.fits_unsigned_word() {
                        let d = self.temporary(n, at)?;
                        let kind = match op {
                            Binary::Div => WideKind::Div,
                            _ => WideKind::Mod,
                        };
                        self.wide(kind, d, a.source(), b.source(), 0);
                        return Ok(result(d));
                    }
                    let d = self.temporary(1, at)?;
                    let (dest, a, b) = (d.loc, a.span.loc, b.span.loc);
                    self.emit(match op {
                        Binary::Div => Op::Div { d: dest, a, b },
                        _ => Op::Mod { d: dest, a, b },
                    });
                    Ok(result(d))
                }
                _ => {
                    let a = self.value(a, Demand::Words(n), at)?;
                    let b = self.value(b, Demand::Words(n), at)?;
                    let d = self.temporary(n, at)?;
                    if n == 1 {
                        let (d, a, b) = (d.loc, a.span.loc, b.span.loc);
                        self.emit(match op {
                            Binary::Add => Op::Add { d, a, b },
                            Binary::Sub => Op::Sub { d, a, b },
                            Binary::Mul => Op::Mul { d, a, b },
                            Binary::And => Op::And { d, a, b },
                            Binary::Or => Op::Or { d, a, b },
                            _ => Op::Xor { d, a, b },
                        });
                    } else {
                        let kind = match op {
                            Binary::Add => WideKind::Add,
                            Binary::Sub => WideKind::Sub,
                            Binary::Mul => WideKind::Mul,
                            Binary::And => WideKind::And,
                            Binary::Or => WideKind::Or,
                            _ => WideKind::Xor,
                        };
                        self.wide(kind, d, a.source(), b.source(), 0);
                    }
                    Ok(result(d))
                }
            },
        }
    }
}
