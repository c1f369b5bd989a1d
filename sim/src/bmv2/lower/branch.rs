//! Code for conditions.

use super::super::json::{At, LoadError};
use super::Lowering;
use super::expr::{Binary, Expr, Place};
use super::value::Demand;
use crate::program::{Loc, Op, Span};

impl Lowering {
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
}
