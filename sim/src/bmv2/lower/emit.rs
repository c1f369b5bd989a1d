//! Emitting: operations, jumps, temporaries and stores.

use super::super::json::{At, LoadError};
use super::expr::{Expr, Place};
use super::value::Demand;
use super::{Lowering, MAX_TEMPORARIES};
use crate::program::{Loc, Op, Span, WideKind, WideOp, WideSource};

pub(super) fn immediate(bits: u32) -> WideSource {
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

    pub(super) fn wide(&mut self, kind: WideKind, d: Span, a: WideSource, b: WideSource, c: Loc) {
        self.program.wide.push(WideOp { kind, d, a, b, c });
        let index = self.program.wide.len() as u32 - 1;
        self.emit(Op::Wide(index));
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
}
