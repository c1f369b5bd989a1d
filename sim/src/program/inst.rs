//! What the interpreter's inner loop runs.
//!
//! [`encode`] makes one instruction of each operation, at the same index, so that every [`Pc`]
//! stays valid. Operands take 16 bits: the PHV is an array of 2¹⁶ words, and the compiler knows
//! that no operand lies outside it. Where operations that often follow each other do, the first of
//! them becomes one instruction for all; the others stay, for jumps that lead to them. What is
//! not encoded is [`Inst::Other`], and the operation itself is run.

use super::{Case, KeyPart, Loc, Op, Pc, Program};

/// Words that a PHV may have.
pub(crate) const PHV_WORDS: usize = 1 << 16;

/// A word of the PHV.
type At = u16;

/// One instruction. Names and operands as in [`Op`].
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
    fn new(offset: u32, bits: u32) -> Option<Ahead> {
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

/// Encodes the program's code. The PHV must not have more than [`PHV_WORDS`].
pub(super) fn encode(
    program: &Program,
    temporaries: &std::ops::Range<Loc>,
) -> (Vec<Inst>, Vec<Switch>) {
    let mut switches = Vec::new();
    let insts = (0..program.code.len())
        .map(|pc| {
            fuse(&program.code[pc..], temporaries)
                .unwrap_or_else(|| one(program, program.code[pc], &mut switches))
        })
        .collect();
    (insts, switches)
}

/// Locations are below [`PHV_WORDS`].
fn at(loc: Loc) -> At {
    loc as At
}

/// One operation.
fn one(program: &Program, op: Op, switches: &mut Vec<Switch>) -> Inst {
    macro_rules! same {
        ($($name:ident { $($operand:ident),* }),* ; $($jump:ident { $($word:ident),* }),*) => {
            match op {
                $(Op::$name { $($operand),* } => Inst::$name { $($operand: at($operand)),* },)*
                $(Op::$jump { $($word,)* to } => Inst::$jump { $($word: at($word),)* to },)*
                Op::ShlBy { d, a, n } if n < 64 => Inst::ShlBy {
                    d: at(d),
                    a: at(a),
                    n: n as u8,
                },
                Op::ShrBy { d, a, n } if n < 64 => Inst::Slice {
                    d: at(d),
                    a: at(a),
                    by: n as u8,
                    bits: 64 - n as u8,
                },
                Op::SarBy { d, a, n } => Inst::SarBy {
                    d: at(d),
                    a: at(a),
                    n: n.min(63) as u8,
                },
                Op::Slice { d, a, by, bits } => Inst::Slice {
                    d: at(d),
                    a: at(a),
                    by,
                    bits,
                },
                Op::Zext { d, a, bits } => Inst::Slice {
                    d: at(d),
                    a: at(a),
                    by: 0,
                    bits: bits as u8,
                },
                Op::Sext { d, a, bits } => Inst::Sext {
                    d: at(d),
                    a: at(a),
                    bits: bits as u8,
                },
                Op::Funnel { d, s, n } => Inst::Funnel {
                    d: at(d),
                    s: at(s),
                    n: n as u8,
                },
                Op::Jump(to) => match program.code.get(to as usize) {
                    Some(Op::Return) => Inst::Return,
                    Some(Op::Stop) => Inst::Stop,
                    Some(Op::Exit) => Inst::Exit,
                    _ => Inst::Jump(to),
                },
                Op::Return => Inst::Return,
                Op::Stop => Inst::Stop,
                Op::Exit => Inst::Exit,
                Op::Apply(table) => Inst::Apply(table),
                Op::Extract(header) if program.headers[header as usize].varbit.is_none() => {
                    Inst::Extract(header)
                }
                Op::Lookahead { d, offset, bits } => match Ahead::new(offset, bits) {
                    Some(ahead) => Inst::Lookahead {
                        d: at(d),
                        ahead,
                        ops: 1,
                    },
                    None => Inst::Other,
                },
                Op::Transition(index) => transition(program, index, switches),
                _ => Inst::Other,
            }
        };
    }
    same!(
        Mov { d, s }, And { d, a, b }, Or { d, a, b }, Xor { d, a, b }, Add { d, a, b },
        Sub { d, a, b }, Mul { d, a, b }, Div { d, a, b }, Mod { d, a, b }, Not { d, a },
        Shl { d, a, b }, Shr { d, a, b }, Sar { d, a, b }, ClampS { d, a, lo, hi },
        ClampU { d, a, hi }, Eq { d, a, b }, Ne { d, a, b }, LtU { d, a, b }, LeU { d, a, b },
        LtS { d, a, b }, LeS { d, a, b }, BoolNot { d, a }, Select { d, c, a, b };
        JumpIfZero { c }, JumpUnlessZero { c }, JumpIfEqual { a, b }, JumpUnlessEqual { a, b }
    )
}

/// A transition: a jump or a switch, if nothing of it is longer than a word.
fn transition(program: &Program, index: u32, switches: &mut Vec<Switch>) -> Inst {
    let transition = &program.transitions[index as usize];
    if transition.cases.is_empty() {
        return one(program, Op::Jump(transition.default), switches);
    }
    let (key, ahead) = match *transition.key.as_slice() {
        [KeyPart::Words(span)] if span.words == 1 => (at(span.loc), None),
        [KeyPart::Lookahead { offset, bits }] => match Ahead::new(offset, bits) {
            Some(ahead) => (0, Some(ahead)),
            None => return Inst::Transition(index),
        },
        _ => return Inst::Transition(index),
    };
    let cases = transition.cases.iter().map(|(case, to)| match case {
        Case::Word { value, mask } => Some((*mask, *value, *to)),
        _ => None,
    });
    match cases.collect::<Option<Box<[_]>>>() {
        Some(cases) => {
            let default = transition.default;
            switches.push(Switch { cases, default });
            let index = switches.len() as u32 - 1;
            match ahead {
                None => Inst::Switch { key, index },
                Some(ahead) => Inst::SwitchAhead { ahead, index },
            }
        }
        None => Inst::Transition(index),
    }
}

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
fn fuse(code: &[Op], temporaries: &std::ops::Range<Loc>) -> Option<Inst> {
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
        [Op::LtU { d, a, b }, Op::JumpUnlessZero { c, to }, ..] if c == d && dead(d, 2) => {
            Inst::JumpIfLess {
                a: at(a),
                b: at(b),
                to,
            }
        }
        [Op::LtU { d, a, b }, Op::JumpIfZero { c, to }, ..] if c == d && dead(d, 2) => {
            Inst::JumpUnlessLess {
                a: at(a),
                b: at(b),
                to,
            }
        }
        // `a <= b` is not `b < a`.
        [Op::LeU { d, a, b }, Op::JumpUnlessZero { c, to }, ..] if c == d && dead(d, 2) => {
            Inst::JumpUnlessLess {
                a: at(b),
                b: at(a),
                to,
            }
        }
        [Op::LeU { d, a, b }, Op::JumpIfZero { c, to }, ..] if c == d && dead(d, 2) => {
            Inst::JumpIfLess {
                a: at(b),
                b: at(a),
                to,
            }
        }
        [
            Op::Eq { d: c, a, b },
            Op::Select {
                d,
                c: x,
                a: yes,
                b: no,
            },
            ..,
        ] if x == c && yes != c && no != c && dead(c, 2) => Inst::SelectIfEqual {
            d: at(d),
            a: at(a),
            b: at(b),
            x: at(yes),
            y: at(no),
        },
        [
            Op::Ne { d: c, a, b },
            Op::Select {
                d,
                c: x,
                a: yes,
                b: no,
            },
            ..,
        ] if x == c && yes != c && no != c && dead(c, 2) => Inst::SelectIfEqual {
            d: at(d),
            a: at(a),
            b: at(b),
            x: at(no),
            y: at(yes),
        },
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

// Four of them fit a cache line.
const _: () = assert!(size_of::<Inst>() == 16);
