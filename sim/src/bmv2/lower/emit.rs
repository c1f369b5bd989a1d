//! Code for expressions.
//!
//! What fits one word runs in one word. The document's arithmetic has no bounds, so each
//! expression is lowered for a demand: its exact value, or only its low words, which is all a
//! mask, a cast or a store wants. Sums, products and bit operations of low words need only low
//! words; comparisons and right shifts need exact operands.

use super::super::json::{At, LoadError};
use super::expr::{Binary, Bounds, Cast, Expr, Place};
use super::{Lowering, MAX_TEMPORARIES};
use crate::program::{Loc, MAX_WIDE_WORDS, Op, Span, WideKind, WideOp, WideSource};

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
    negative: bool,
    exact: bool,
    bits: u32,
}

impl Value {
    fn word(loc: Loc, bounds: Bounds) -> Value {
        let span = Span { loc, words: 1 };
        Value {
            span,
            negative: bounds.negative,
            exact: true,
            bits: bounds.bits,
        }
    }

    fn source(self) -> WideSource {
        WideSource {
            span: self.span,
            signed: self.negative && self.exact,
        }
    }

    fn fits_signed_word(self) -> bool {
        self.span.words == 1 && (self.negative || self.bits <= 63)
    }

    fn fits_unsigned_word(self) -> bool {
        self.span.words == 1 && !self.negative
    }
}

/// `x & m` where `m` has its lowest `bits` ones and no others, or several such masks.
fn low_bits(e: &Expr) -> Option<(&Expr, u32)> {
    let Expr::Binary(Binary::And, a, b) = e else {
        return None;
    };
    let ones = |e: &Expr| match e {
        Expr::Const {
            negative: false,
            words,
        } => match words.as_slice() {
            [word] if (*word).wrapping_add(1) & word == 0 => Some(word.count_ones()),
            _ => None,
        },
        _ => None,
    };
    let (inner, bits) = match (ones(a), ones(b)) {
        (_, Some(bits)) => (&**a, bits),
        (Some(bits), None) => (&**b, bits),
        (None, None) => return None,
    };
    match low_bits(inner) {
        Some((innermost, fewer)) => Some((innermost, bits.min(fewer))),
        None => Some((inner, bits)),
    }
}

const BOOLEAN: Bounds = Bounds {
    negative: false,
    bits: 1,
};

fn immediate(bits: u32) -> WideSource {
    WideSource {
        span: Span {
            loc: bits,
            words: 0,
        },
        signed: false,
    }
}

impl Lowering {
    pub(super) fn emit(&mut self, op: Op) {
        self.program.code.push(op);
    }

    pub(super) fn pc(&self) -> u32 {
        self.program.code.len() as u32
    }

    /// Sets where the jump at `at` goes.
    pub(super) fn patch(&mut self, at: usize, to: u32) {
        if let Some(target) = self.program.code[at].target() {
            *target = to;
        }
    }

    /// Emits code that jumps if the condition is `when` and goes on behind the code otherwise.
    /// Returns the jumps, whose targets are to be patched. Conditions have no side effects, so
    /// what decides nothing any more is not computed.
    pub(super) fn branch(
        &mut self,
        e: &Expr,
        when: bool,
        at: &At<'_>,
    ) -> Result<Vec<usize>, LoadError> {
        match e {
            Expr::BoolNot(a) => return self.branch(a, !when, at),
            Expr::Binary(op @ (Binary::BoolAnd | Binary::BoolOr), a, b) => {
                // The value of the first operand that decides.
                let decisive = *op == Binary::BoolOr;
                if when == decisive {
                    let mut jumps = self.branch(a, when, at)?;
                    jumps.extend(self.branch(b, when, at)?);
                    return Ok(jumps);
                }
                let over = self.branch(a, decisive, at)?;
                let jumps = self.branch(b, when, at)?;
                let here = self.pc();
                over.into_iter().for_each(|jump| self.patch(jump, here));
                return Ok(jumps);
            }
            Expr::Binary(op @ (Binary::Eq | Binary::Ne), a, b) => {
                let (x, y) = (a.bounds(), b.bounds());
                let unsigned = !x.negative && !y.negative && x.bits <= 64 && y.bits <= 64;
                if unsigned {
                    let equal = (*op == Binary::Eq) == when;
                    let c = self.value(a, Demand::Exact, at)?.span.loc;
                    let jump = if b.as_small() == Some(0) {
                        match equal {
                            true => Op::JumpIfZero { c, to: 0 },
                            false => Op::JumpUnlessZero { c, to: 0 },
                        }
                    } else {
                        let b = self.value(b, Demand::Exact, at)?.span.loc;
                        match equal {
                            true => Op::JumpIfEqual { a: c, b, to: 0 },
                            false => Op::JumpUnlessEqual { a: c, b, to: 0 },
                        }
                    };
                    self.emit(jump);
                    return Ok(vec![self.program.code.len() - 1]);
                }
            }
            _ => {}
        }
        let c = self.word(e, at)?;
        self.emit(match when {
            true => Op::JumpUnlessZero { c, to: 0 },
            false => Op::JumpIfZero { c, to: 0 },
        });
        Ok(vec![self.program.code.len() - 1])
    }

    /// The words that an expression compares first: it is false unless they are equal.
    pub(super) fn guard(&mut self, e: &Expr) -> Option<(Loc, Loc)> {
        match e {
            Expr::Binary(Binary::BoolAnd, a, _) => self.guard(a),
            Expr::Binary(Binary::Eq, a, b) => match (&**a, &**b) {
                (
                    Expr::Place(Place::Slot {
                        span: Span { loc, words: 1 },
                        signed: false,
                        ..
                    }),
                    Expr::Const {
                        negative: false,
                        words,
                    },
                ) if words.len() <= 1 => {
                    let word = words.first().copied().unwrap_or(0);
                    Some((*loc, self.constant(&[word]).loc))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A temporary of so many words, free again at the next [`Lowering::statement`].
    pub(super) fn temporary(&mut self, words: u32, at: &At<'_>) -> Result<Span, LoadError> {
        if self.temporaries + words > MAX_TEMPORARIES {
            return Err(at.error("the expression is too large"));
        }
        let loc = self.temporaries_start + self.temporaries;
        self.temporaries += words;
        Ok(Span { loc, words })
    }

    /// Begins a statement: temporaries of the one before are free.
    pub(super) fn statement(&mut self) {
        self.temporaries = 0;
    }

    fn wide(&mut self, kind: WideKind, d: Span, a: WideSource, b: WideSource, c: Loc) {
        self.program.wide.push(WideOp { kind, d, a, b, c });
        let index = self.program.wide.len() as u32 - 1;
        self.emit(Op::Wide(index));
    }

    /// An expression in exactly one word: conditions, indices, lengths.
    pub(super) fn word(&mut self, e: &Expr, at: &At<'_>) -> Result<Loc, LoadError> {
        Ok(self.value(e, Demand::Words(1), at)?.span.loc)
    }

    /// Stores an expression into a place, cut to its width.
    pub(super) fn store(&mut self, place: &Place, e: &Expr, at: &At<'_>) -> Result<(), LoadError> {
        let (span, width, signed) = match place {
            Place::Slot {
                span,
                width,
                signed,
            } => (*span, *width, *signed),
            Place::Varbit { header } => {
                return match e {
                    Expr::Place(Place::Varbit { header: from }) => {
                        self.emit(Op::AssignVarbit {
                            d: *header,
                            s: *from,
                        });
                        Ok(())
                    }
                    _ => Err(at.error("a varbit can be assigned from a varbit only")),
                };
            }
            Place::Element {
                field,
                index,
                width,
                signed,
            } => {
                let span = self.temporary(width.div_ceil(64), at)?;
                let slot = Place::Slot {
                    span,
                    width: *width,
                    signed: *signed,
                };
                self.store(&slot, e, at)?;
                let i = self.word(index, at)?;
                self.emit(Op::StackStore {
                    s: span.loc,
                    i,
                    field: *field,
                });
                return Ok(());
            }
        };
        let before = self.program.code.len();
        let value = self.value(e, Demand::Words(span.words), at)?;
        let fits = value.exact
            && if signed {
                value.bits + u32::from(!value.negative) <= width - u32::from(value.negative)
            } else {
                !value.negative && value.bits <= width
            };
        if span.words == 1 {
            let (d, a, bits) = (span.loc, value.span.loc, width);
            if fits || (width == 64 && !signed) {
                if !self.retarget(before, a, d) {
                    self.emit(Op::Mov { d, s: a });
                }
            } else if signed {
                self.emit(Op::Sext { d, a, bits });
            } else {
                self.emit(Op::Zext { d, a, bits });
            }
        } else if fits && value.span.words == span.words {
            self.emit(Op::Copy {
                d: span.loc,
                s: value.span.loc,
                words: span.words,
            });
        } else {
            let kind = if signed {
                WideKind::Sext
            } else {
                WideKind::Zext
            };
            self.wide(kind, span, value.source(), immediate(width), 0);
        }
        Ok(())
    }

    /// Lets the last instruction, if it is one of this statement that computes `from`, write to
    /// `to` instead. Nobody else reads a temporary that was just computed.
    fn retarget(&mut self, since: usize, from: Loc, to: Loc) -> bool {
        let temporaries = self.temporaries_start..self.temporaries_start + MAX_TEMPORARIES;
        if self.program.code.len() <= since || !temporaries.contains(&from) {
            return false;
        }
        let Some(op) = self.program.code.last_mut() else {
            return false;
        };
        match op {
            Op::And { d, .. }
            | Op::Or { d, .. }
            | Op::Xor { d, .. }
            | Op::Add { d, .. }
            | Op::Sub { d, .. }
            | Op::Not { d, .. }
            | Op::ShlBy { d, .. }
            | Op::ShrBy { d, .. }
            | Op::Slice { d, .. }
            | Op::Zext { d, .. }
            | Op::Sext { d, .. }
            | Op::Funnel { d, .. }
            | Op::Eq { d, .. }
            | Op::Ne { d, .. }
            | Op::LtU { d, .. }
            | Op::LeU { d, .. }
            | Op::BoolNot { d, .. }
            | Op::Select { d, .. }
                if *d == from =>
            {
                *d = to;
                true
            }
            _ => false,
        }
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

    /// `x & m` where `m` is constant and its ones are its lowest bits, in one instruction or none:
    /// what p4c writes for every cast, slice and complement.
    fn masked(&mut self, e: &Expr, at: &At<'_>) -> Result<Option<Value>, LoadError> {
        let Some((inner, bits)) = low_bits(e) else {
            return Ok(None);
        };
        let bounds = Bounds {
            negative: false,
            bits,
        };
        let within = inner.bounds();
        if !within.negative && within.bits <= bits {
            return self.value(inner, Demand::Words(1), at).map(Some);
        }
        match inner {
            // The complement of what has no other bits.
            Expr::Not(x) if !x.bounds().negative && x.bounds().bits <= bits => {
                let x = self.value(x, Demand::Words(1), at)?.span.loc;
                let mask = self.constant(&[u64::MAX >> (64 - bits)]).loc;
                let d = self.temporary(1, at)?.loc;
                self.emit(Op::Xor { d, a: x, b: mask });
                Ok(Some(Value::word(d, bounds)))
            }
            Expr::Binary(Binary::Shr, x, by) => {
                let (Some(by @ 1..=63), source) = (by.as_small(), x.bounds()) else {
                    return Ok(None);
                };
                if source.negative || source.bits > 64 {
                    return Ok(None);
                }
                let x = self.value(x, Demand::Words(1), at)?.span.loc;
                let d = self.temporary(1, at)?.loc;
                self.emit(Op::Slice {
                    d,
                    a: x,
                    by: by as u8,
                    bits: bits as u8,
                });
                Ok(Some(Value::word(d, bounds)))
            }
            _ => Ok(None),
        }
    }

    fn shift_amount(&mut self, b: &Expr, at: &At<'_>) -> Result<Value, LoadError> {
        if b.bounds().words() == 1 {
            return self.value(b, Demand::Exact, at);
        }
        // So far away that only zeros or signs are left.
        let most = Expr::Cast(Cast::Unsigned, Box::new(b.clone()), 32);
        self.value(&most, Demand::Exact, at)
    }

    /// The low `n` words of `a >> b`.
    fn shift_right(&mut self, a: &Expr, b: &Expr, n: u32, at: &At<'_>) -> Result<Span, LoadError> {
        let Some(by) = b.as_small() else {
            let a = self.value(a, Demand::Exact, at)?;
            let b = self.shift_amount(b, at)?;
            let d = self.temporary(n, at)?;
            if n == 1 && a.span.words == 1 {
                let (d, a_loc, b) = (d.loc, a.span.loc, b.span.loc);
                self.emit(match a.negative {
                    true => Op::Sar { d, a: a_loc, b },
                    false => Op::Shr { d, a: a_loc, b },
                });
            } else {
                self.wide(WideKind::Shr, d, a.source(), b.source(), 0);
            }
            return Ok(d);
        };
        let wanted = (u64::from(n) * 64 + u64::from(by)).div_ceil(64);
        let a = self.value(
            a,
            Demand::Words(u32::try_from(wanted).unwrap_or(u32::MAX)),
            at,
        )?;
        let (skip, by) = (by / 64, by % 64);
        if n == 1 && skip < a.span.words {
            let s = a.span.loc + skip;
            let last = skip + 1 == a.span.words;
            if by == 0 {
                return Ok(Span { loc: s, words: 1 });
            }
            let d = self.temporary(1, at)?;
            self.emit(match (last, a.negative && a.exact) {
                (false, _) => Op::Funnel { d: d.loc, s, n: by },
                (true, true) => Op::SarBy {
                    d: d.loc,
                    a: s,
                    n: by,
                },
                (true, false) => Op::ShrBy {
                    d: d.loc,
                    a: s,
                    n: by,
                },
            });
            return Ok(d);
        }
        let d = self.temporary(n, at)?;
        let by = self.constant(&[u64::from(skip) * 64 + u64::from(by)]);
        let amount = WideSource {
            span: by,
            signed: false,
        };
        self.wide(WideKind::Shr, d, a.source(), amount, 0);
        Ok(d)
    }

    fn compare(&mut self, op: Binary, a: &Expr, b: &Expr, at: &At<'_>) -> Result<Value, LoadError> {
        let a = self.value(a, Demand::Exact, at)?;
        let b = self.value(b, Demand::Exact, at)?;
        let d = self.temporary(1, at)?.loc;
        let unsigned = a.fits_unsigned_word() && b.fits_unsigned_word();
        let signed = a.fits_signed_word() && b.fits_signed_word();
        if unsigned || signed {
            let (a, b) = (a.span.loc, b.span.loc);
            self.emit(match op {
                Binary::Eq => Op::Eq { d, a, b },
                Binary::Ne => Op::Ne { d, a, b },
                Binary::Lt if unsigned => Op::LtU { d, a, b },
                Binary::Lt => Op::LtS { d, a, b },
                _ if unsigned => Op::LeU { d, a, b },
                _ => Op::LeS { d, a, b },
            });
        } else {
            let kind = match op {
                Binary::Eq | Binary::Ne => WideKind::Eq,
                Binary::Lt => WideKind::Lt,
                _ => WideKind::Le,
            };
            self.wide(kind, Span { loc: d, words: 1 }, a.source(), b.source(), 0);
            if op == Binary::Ne {
                self.emit(Op::BoolNot { d, a: d });
            }
        }
        Ok(Value::word(d, BOOLEAN))
    }

    fn cast(&mut self, cast: Cast, a: &Expr, bits: u32, at: &At<'_>) -> Result<Value, LoadError> {
        let bounds = Expr::Cast(cast, Box::new(a.clone()), bits).bounds();
        let words = bits.div_ceil(64);
        let demand = match cast {
            Cast::Wrap => Demand::Words(words),
            _ => Demand::Exact,
        };
        let a = self.value(a, demand, at)?;
        let d = self.temporary(words, at)?;
        let narrow = bits <= 64 && a.span.words == 1;
        let (dest, loc) = (d.loc, a.span.loc);
        match cast {
            Cast::Wrap if narrow => self.emit(Op::Sext {
                d: dest,
                a: loc,
                bits,
            }),
            Cast::Wrap => self.wide(WideKind::Sext, d, a.source(), immediate(bits), 0),
            Cast::Unsigned if narrow && a.negative => {
                let hi = if bits >= 63 {
                    i64::MAX as u64
                } else {
                    (1 << bits) - 1
                };
                let (lo, hi) = (self.constant(&[0]).loc, self.constant(&[hi]).loc);
                self.emit(Op::ClampS {
                    d: dest,
                    a: loc,
                    lo,
                    hi,
                });
            }
            Cast::Unsigned if narrow => {
                let hi = self.constant(&[u64::MAX >> (64 - bits)]).loc;
                self.emit(Op::ClampU {
                    d: dest,
                    a: loc,
                    hi,
                });
            }
            Cast::Unsigned => self.wide(WideKind::ClampU, d, a.source(), immediate(bits), 0),
            Cast::Signed if narrow && a.negative => {
                let lo = self.constant(&[(i64::MIN >> (64 - bits)) as u64]).loc;
                let hi = self.constant(&[(i64::MAX >> (64 - bits)) as u64]).loc;
                self.emit(Op::ClampS {
                    d: dest,
                    a: loc,
                    lo,
                    hi,
                });
            }
            Cast::Signed if narrow => {
                let hi = self.constant(&[(i64::MAX >> (64 - bits)) as u64]).loc;
                self.emit(Op::ClampU {
                    d: dest,
                    a: loc,
                    hi,
                });
            }
            Cast::Signed => self.wide(WideKind::ClampS, d, a.source(), immediate(bits), 0),
        }
        Ok(Value {
            span: d,
            negative: bounds.negative,
            exact: true,
            bits: bounds.bits,
        })
    }
}
