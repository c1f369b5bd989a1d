//! From operations to instructions.
//!
//! [`encode`] makes one instruction of each operation, at the same index, so that every program
//! counter stays valid. Where operations that often follow each other do, the first of them
//! becomes one instruction for all; the others stay, for jumps that lead to them.

use super::fuse::fuse;
use super::inst::{Ahead, Inst, Switch, at};
use super::{Case, KeyPart, Loc, Op, Program};

/// Encodes the program's code. The PHV must not have more than [`PHV_WORDS`](super::PHV_WORDS).
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
