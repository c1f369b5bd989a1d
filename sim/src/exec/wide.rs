//! Values of more than 64 bits: two's complement, words least significant first.

use crate::program::{MAX_WIDE_WORDS, WideKind, WideOp, WideSource};

type Buffer = [u64; MAX_WIDE_WORDS];

/// A source extended to `n` words.
fn load(phv: &[u64], source: WideSource, n: usize, out: &mut Buffer) {
    let words = &phv[source.span.range()];
    let copied = words.len().min(n);
    out[..copied].copy_from_slice(&words[..copied]);
    let negative = source.signed && words.last().is_some_and(|word| word >> 63 == 1);
    out[copied..n].fill(if negative { u64::MAX } else { 0 });
}

/// `a < b`, signed.
fn less(a: &[u64], b: &[u64]) -> bool {
    let top = |words: &[u64]| words.last().map_or(0, |word| *word as i64);
    match top(a).cmp(&top(b)) {
        std::cmp::Ordering::Equal => a.iter().rev().lt(b.iter().rev()),
        order => order.is_lt(),
    }
}

fn negate(words: &mut [u64]) {
    let mut carry = true;
    for word in words {
        let (value, overflow) = (!*word).overflowing_add(u64::from(carry));
        *word = value;
        carry = overflow;
    }
}

/// Quotient and remainder, towards zero; both are 0 for a divisor of 0. Bit by bit: programs that
/// divide so wide values are rare.
fn divide(a: &mut [u64], b: &mut [u64], quotient: &mut [u64], remainder: &mut [u64]) {
    let negative = |words: &[u64]| words.last().is_some_and(|word| word >> 63 == 1);
    let (a_negative, b_negative) = (negative(a), negative(b));
    if a_negative {
        negate(a);
    }
    if b_negative {
        negate(b);
    }
    if b.iter().all(|word| *word == 0) {
        return;
    }
    for bit in (0..a.len() * 64).rev() {
        let mut carry = a[bit / 64] >> (bit % 64) & 1;
        for word in remainder.iter_mut() {
            let next = *word >> 63;
            *word = *word << 1 | carry;
            carry = next;
        }
        if !remainder.iter().rev().lt(b.iter().rev()) {
            let mut borrow = false;
            for (word, subtrahend) in remainder.iter_mut().zip(b.iter()) {
                let (value, b1) = word.overflowing_sub(*subtrahend);
                let (value, b2) = value.overflowing_sub(u64::from(borrow));
                *word = value;
                borrow = b1 | b2;
            }
            quotient[bit / 64] |= 1 << (bit % 64);
        }
    }
    if a_negative != b_negative {
        negate(quotient);
    }
    if a_negative {
        negate(remainder);
    }
}

/// Keeps the low `bits`, and extends them.
fn extend(words: &mut [u64], bits: usize, signed: bool) {
    let negative = signed
        && words
            .get((bits - 1) / 64)
            .is_some_and(|word| word >> ((bits - 1) % 64) & 1 == 1);
    for (i, word) in words.iter_mut().enumerate() {
        let low = i * 64;
        let fill = if negative { u64::MAX } else { 0 };
        if low >= bits {
            *word = fill;
        } else if bits - low < 64 {
            let mask = u64::MAX >> (64 - (bits - low));
            *word = *word & mask | fill & !mask;
        }
    }
}

pub(super) fn run(phv: &mut [u64], op: &WideOp) {
    let (mut a, mut b, mut r): (Buffer, Buffer, Buffer) = (
        [0; MAX_WIDE_WORDS],
        [0; MAX_WIDE_WORDS],
        [0; MAX_WIDE_WORDS],
    );
    let sources = op.a.span.words.max(op.b.span.words) as usize;
    // Comparisons and limits look at the whole of both, with a word for the sign.
    let n = match op.kind {
        WideKind::Eq
        | WideKind::Lt
        | WideKind::Le
        | WideKind::ClampU
        | WideKind::ClampS
        | WideKind::Div
        | WideKind::Mod
        | WideKind::Shr => (sources.max(op.d.words as usize) + 1).min(MAX_WIDE_WORDS),
        _ => op.d.words as usize,
    };
    load(phv, op.a, n, &mut a);
    let by = op.b.span.loc as usize;
    match op.kind {
        WideKind::And | WideKind::Or | WideKind::Xor | WideKind::Add | WideKind::Sub => {
            load(phv, op.b, n, &mut b);
            let mut carry = false;
            for i in 0..n {
                r[i] = match op.kind {
                    WideKind::And => a[i] & b[i],
                    WideKind::Or => a[i] | b[i],
                    WideKind::Xor => a[i] ^ b[i],
                    WideKind::Add => {
                        let (sum, c1) = a[i].overflowing_add(b[i]);
                        let (sum, c2) = sum.overflowing_add(u64::from(carry));
                        carry = c1 | c2;
                        sum
                    }
                    _ => {
                        let (sum, c1) = a[i].overflowing_sub(b[i]);
                        let (sum, c2) = sum.overflowing_sub(u64::from(carry));
                        carry = c1 | c2;
                        sum
                    }
                };
            }
        }
        WideKind::Mul => {
            load(phv, op.b, n, &mut b);
            for i in 0..n {
                let mut carry = 0u128;
                for j in 0..n - i {
                    let sum = u128::from(a[i]) * u128::from(b[j]) + u128::from(r[i + j]) + carry;
                    r[i + j] = sum as u64;
                    carry = sum >> 64;
                }
            }
        }
        WideKind::Div | WideKind::Mod => {
            load(phv, op.b, n, &mut b);
            let mut remainder = [0; MAX_WIDE_WORDS];
            divide(&mut a[..n], &mut b[..n], &mut r[..n], &mut remainder[..n]);
            if op.kind == WideKind::Mod {
                r = remainder;
            }
        }
        WideKind::Not => {
            for (to, from) in r.iter_mut().zip(&a[..n]) {
                *to = !from;
            }
        }
        WideKind::Shl | WideKind::Shr => {
            let by = phv[by];
            let (skip, by) = (
                usize::try_from(by / 64).unwrap_or(usize::MAX),
                (by % 64) as u32,
            );
            let fill = if a[n - 1] >> 63 == 1 { u64::MAX } else { 0 };
            let word = |i: Option<usize>, outside: u64| match i {
                Some(i) if i < n => a[i],
                _ => outside,
            };
            for (i, to) in r.iter_mut().enumerate().take(n) {
                let (low, high) = if op.kind == WideKind::Shl {
                    let i = i.checked_sub(skip);
                    (word(i.and_then(|i| i.checked_sub(1)), 0), word(i, 0))
                } else {
                    let i = i.checked_add(skip);
                    (word(i, fill), word(i.and_then(|i| i.checked_add(1)), fill))
                };
                let both = u128::from(high) << 64 | u128::from(low);
                *to = match op.kind {
                    WideKind::Shl => (both << by >> 64) as u64,
                    _ => (both >> by) as u64,
                };
            }
        }
        WideKind::Eq | WideKind::Lt | WideKind::Le => {
            load(phv, op.b, n, &mut b);
            r[0] = u64::from(match op.kind {
                WideKind::Eq => a[..n] == b[..n],
                WideKind::Lt => less(&a[..n], &b[..n]),
                _ => !less(&b[..n], &a[..n]),
            });
        }
        WideKind::Zext | WideKind::Sext => {
            r = a;
            extend(&mut r[..n], by.max(1), op.kind == WideKind::Sext);
        }
        WideKind::ClampU | WideKind::ClampS => {
            let signed = op.kind == WideKind::ClampS;
            let mut high = [u64::MAX; MAX_WIDE_WORDS];
            extend(
                &mut high[..n],
                if signed { by.max(2) - 1 } else { by.max(1) },
                false,
            );
            let mut low = [0; MAX_WIDE_WORDS];
            if signed {
                for i in 0..n {
                    low[i] = !high[i];
                }
            }
            r = if less(&a[..n], &low[..n]) {
                low
            } else if less(&high[..n], &a[..n]) {
                high
            } else {
                a
            };
        }
        WideKind::Select => {
            load(phv, op.b, n, &mut b);
            r = if phv[op.c as usize] != 0 { a } else { b };
        }
    }
    let d = op.d.range();
    let words = d.len();
    phv[d].copy_from_slice(&r[..words]);
}
