//! Operations that often follow each other, as one instruction.

use super::inst::{Inst, at};
use super::{Loc, Op};

/// How far [`spent`] looks, so that a hostile program does not take long to load.
const HORIZON: usize = 1024;

/// Whether nothing reads a temporary any more before it is written anew. Within a statement, whose
/// code is in one piece, what reads a temporary stands behind what writes it, and none outlives
/// its statement. In doubt it is read.
fn spent(rest: &[Op], temporary: Loc) -> bool {
    for op in rest.iter().take(HORIZON) {
        let (written, read) = match *op {
            Op::Mov { d, s } => (Some(d), [s; 3]),
            Op::And { d, a, b }
            | Op::Or { d, a, b }
            | Op::Xor { d, a, b }
            | Op::Add { d, a, b }
            | Op::Sub { d, a, b }
            | Op::Mul { d, a, b }
            | Op::Div { d, a, b }
            | Op::Mod { d, a, b }
            | Op::Shl { d, a, b }
            | Op::Shr { d, a, b }
            | Op::Sar { d, a, b }
            | Op::Eq { d, a, b }
            | Op::Ne { d, a, b }
            | Op::LtU { d, a, b }
            | Op::LeU { d, a, b }
            | Op::LtS { d, a, b }
            | Op::LeS { d, a, b }
            | Op::ClampU { d, a, hi: b } => (Some(d), [a, b, b]),
            Op::Not { d, a }
            | Op::BoolNot { d, a }
            | Op::ShlBy { d, a, .. }
            | Op::ShrBy { d, a, .. }
            | Op::SarBy { d, a, .. }
            | Op::Slice { d, a, .. }
            | Op::Zext { d, a, .. }
            | Op::Sext { d, a, .. } => (Some(d), [a; 3]),
            Op::Funnel { d, s, .. } => (Some(d), [s, s + 1, s]),
            Op::Select { d, c, a, b }
            | Op::ClampS {
                d,
                a: c,
                lo: a,
                hi: b,
            } => (Some(d), [c, a, b]),
            Op::JumpIfZero { c, .. } | Op::JumpUnlessZero { c, .. } => (None, [c; 3]),
            Op::JumpIfEqual { a, b, .. } | Op::JumpUnlessEqual { a, b, .. } => (None, [a, b, b]),
            Op::Count { index, .. } => (None, [index; 3]),
            Op::Jump(_) | Op::AddHeader(_) | Op::RemoveHeader(_) | Op::MarkToDrop => continue,
            // These end a statement, or are one.
            Op::Return | Op::Stop | Op::Exit | Op::Apply(_) | Op::Extract(_) => return true,
            _ => return false,
        };
        if read.contains(&temporary) {
            return false;
        }
        if written == Some(temporary) {
            return true;
        }
    }
    rest.len() < HORIZON
}

/// The first operations as one instruction. It does not write temporaries that are spent.
pub(super) fn fuse(code: &[Op], temporaries: &std::ops::Range<Loc>) -> Option<Inst> {
    // A temporary that only the first `ops` operations read.
    let dead = |loc: Loc, ops: usize| temporaries.contains(&loc) && spent(&code[ops..], loc);
    Some(match *code {
        [
            Op::Mov { d, s },
            Op::Mov { d: d2, s: s2 },
            Op::Mov { d: d3, s: s3 },
            ..,
        ] => Inst::Mov3 {
            d: at(d),
            s: at(s),
            d2: at(d2),
            s2: at(s2),
            d3: at(d3),
            s3: at(s3),
        },
        [Op::Mov { d, s }, Op::Jump(to), ..] => Inst::MovJump {
            d: at(d),
            s: at(s),
            to,
        },
        [Op::Mov { d, s }, Op::JumpIfZero { c, to }, ..] => Inst::MovJumpIfZero {
            d: at(d),
            s: at(s),
            c: at(c),
            to,
        },
        [Op::Mov { d, s }, Op::JumpUnlessZero { c, to }, ..] => Inst::MovJumpUnlessZero {
            d: at(d),
            s: at(s),
            c: at(c),
            to,
        },
        [Op::Eq { d, a, b }, Op::JumpIfZero { c, to }, ..] if c == d => Inst::EqJumpIfZero {
            d: at(d),
            a: at(a),
            b: at(b),
            to,
        },
        [Op::Ne { d, a, b }, Op::JumpIfZero { c, to }, ..] if c == d => Inst::NeJumpIfZero {
            d: at(d),
            a: at(a),
            b: at(b),
            to,
        },
        [Op::Mov { d, s }, Op::Mov { d: d2, s: s2 }, ..] => Inst::Mov2 {
            d: at(d),
            s: at(s),
            d2: at(d2),
            s2: at(s2),
        },
        [
            Op::Xor { d, a, b },
            Op::Xor {
                d: d2,
                a: a2,
                b: b2,
            },
            ..,
        ] => Inst::Xor2 {
            d: at(d),
            a: at(a),
            b: at(b),
            d2: at(d2),
            a2: at(a2),
            b2: at(b2),
        },
        [
            Op::Add { d: sum, a, b },
            Op::And { d, a: x, b: m },
            Op::JumpUnlessEqual { a: y, b: c, to },
            ..,
        ] if x == sum && y == d && m != sum && c != d && dead(sum, 3) && dead(d, 3) => {
            Inst::JumpUnlessSum {
                a: at(a),
                b: at(b),
                m: at(m),
                c: at(c),
                to,
            }
        }
        [Op::Add { d: sum, a, b }, Op::And { d, a: x, b: m }, ..]
            if x == sum && m != sum && dead(sum, 2) =>
        {
            Inst::AddMask {
                d: at(d),
                a: at(a),
                b: at(b),
                m: at(m),
            }
        }
        [
            Op::Slice { d, a, by, bits },
            Op::JumpIfEqual { a: x, b, to },
            ..,
        ] if x == d && b != d && dead(d, 2) => Inst::JumpIfSlice {
            a: at(a),
            b: at(b),
            by,
            bits,
            to,
        },
        [
            Op::Slice { d, a, by, bits },
            Op::JumpUnlessEqual { a: x, b, to },
            ..,
        ] if x == d && b != d && dead(d, 2) => Inst::JumpUnlessSlice {
            a: at(a),
            b: at(b),
            by,
            bits,
            to,
        },
        [
            Op::ShrBy {
                d,
                a,
                n: n @ 0..=63,
            },
            Op::JumpUnlessEqual { a: x, b, to },
            ..,
        ] if x == d && b != d && dead(d, 2) => Inst::JumpUnlessSlice {
            a: at(a),
            b: at(b),
            by: n as u8,
            bits: 64 - n as u8,
            to,
        },
        // `a <= b` is not `b < a`: the operands the other way round, and the other jump.
        [
            compare @ (Op::LtU { d, a, b } | Op::LeU { d, a: b, b: a }),
            jump @ (Op::JumpUnlessZero { c, to } | Op::JumpIfZero { c, to }),
            ..,
        ] if c == d && dead(d, 2) => {
            let less = matches!(compare, Op::LtU { .. });
            let when = matches!(jump, Op::JumpUnlessZero { .. });
            let (a, b) = (at(a), at(b));
            match less == when {
                true => Inst::JumpIfLess { a, b, to },
                false => Inst::JumpUnlessLess { a, b, to },
            }
        }
        [
            compare @ (Op::Eq { d: c, a, b } | Op::Ne { d: c, a, b }),
            Op::Select {
                d,
                c: x,
                a: yes,
                b: no,
            },
            ..,
        ] if x == c && yes != c && no != c && dead(c, 2) => {
            let (yes, no) = match compare {
                Op::Eq { .. } => (yes, no),
                _ => (no, yes),
            };
            Inst::SelectIfEqual {
                d: at(d),
                a: at(a),
                b: at(b),
                x: at(yes),
                y: at(no),
            }
        }
        [
            Op::JumpIfZero { c, to },
            Op::JumpIfZero { c: c2, to: to2 },
            ..,
        ] if to == to2 => Inst::JumpIfEitherZero {
            a: at(c),
            b: at(c2),
            to,
        },
        _ => return None,
    })
}
