//! Code for masks, shifts, comparisons and casts.

use super::super::json::{At, LoadError};
use super::Lowering;
use super::emit::immediate;
use super::expr::{Binary, Bounds, Cast, Expr};
use super::value::{BOOLEAN, Demand, Value};
use crate::program::{Op, Span, WideKind, WideSource};

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

impl Lowering {
    /// `x & m` where `m` is constant and its ones are its lowest bits, in one instruction or none:
    /// what p4c writes for every cast, slice and complement.
    pub(super) fn masked(&mut self, e: &Expr, at: &At<'_>) -> Result<Option<Value>, LoadError> {
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

    pub(super) fn shift_amount(&mut self, b: &Expr, at: &At<'_>) -> Result<Value, LoadError> {
        if b.bounds().words() == 1 {
            return self.value(b, Demand::Exact, at);
        }
        // So far away that only zeros or signs are left.
        let most = Expr::Cast(Cast::Unsigned, Box::new(b.clone()), 32);
        self.value(&most, Demand::Exact, at)
    }

    /// The low `n` words of `a >> b`.
    pub(super) fn shift_right(
        &mut self,
        a: &Expr,
        b: &Expr,
        n: u32,
        at: &At<'_>,
    ) -> Result<Span, LoadError> {
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

    pub(super) fn compare(
        &mut self,
        op: Binary,
        a: &Expr,
        b: &Expr,
        at: &At<'_>,
    ) -> Result<Value, LoadError> {
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

    pub(super) fn cast(
        &mut self,
        cast: Cast,
        a: &Expr,
        bits: u32,
        at: &At<'_>,
    ) -> Result<Value, LoadError> {
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
