//! The instruction loop.

use super::bits::sign_extend;
use super::{Packet, Phv, Random, Sink, calculate, wide};
use crate::program::{Call, Derived, Inst, Op, Pc, Program, Switch};
use crate::state::{PortsDown, Snapshot, State};
use crate::tables::{EntryAction, Found, LiveTable, hash_words};

/// Backward jumps one packet may take in one control or parser: more is a program that does not
/// end.
const MAX_BACKWARD_JUMPS: u32 = 4096;

/// How a piece of code ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Done,
    Exit,
    ParserError(u64),
    /// An assertion failed.
    Failed,
}

/// One packet in front of the program.
pub(crate) struct Machine<'a> {
    pub(crate) program: &'a Program,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) state: &'a State,
    pub(crate) ports: &'a PortsDown,
    pub(crate) phv: &'a mut Phv,
    pub(crate) packet: &'a mut Packet,
    /// The frame.
    pub(crate) data: &'a [u8],
    /// Nanoseconds since the switch started.
    pub(crate) now: u64,
    /// Scratch for table keys and calculations.
    pub(crate) key: &'a mut [u64],
    pub(crate) buffer: &'a mut Vec<u8>,
    pub(crate) random: &'a mut Random,
    /// Who listens to a program that is loaded for tracing.
    pub(crate) trace: Option<&'a Sink<'a>>,
}

#[inline(always)]
fn get(phv: &Phv, at: u16) -> u64 {
    phv[usize::from(at)]
}

#[inline(always)]
fn set(phv: &mut Phv, at: u16, value: u64) {
    phv[usize::from(at)] = value;
}

#[inline(always)]
fn slice(value: u64, by: u8, bits: u8) -> u64 {
    value >> by & (u64::MAX >> (64 - bits))
}

/// No table waits for an action's end.
const NOWHERE: usize = usize::MAX;

/// Where the parser goes on after a transition on one word.
#[inline(always)]
fn switch(switches: &[Switch], key: u64, index: u32) -> Pc {
    let switch = &switches[index as usize];
    let case = switch
        .cases
        .iter()
        .find(|(mask, value, _)| key & mask == *value);
    case.map_or(switch.default, |(_, _, pc)| *pc)
}

/// Runs instructions that compute and jump, up to the first that does something else: where it
/// is. `None` if the program does not end.
#[inline(always)]
fn compute(
    derived: &Derived,
    phv: &mut Phv,
    mut pc: usize,
    after: &mut usize,
    backward: &mut u32,
) -> Option<usize> {
    let code = derived.insts.as_slice();
    loop {
        // A jump if the condition is true; the instruction stands for `$ops` operations.
        macro_rules! jump_if {
            ($condition:expr, $to:expr, $ops:expr) => {
                if !$condition {
                    pc += $ops;
                    continue;
                } else {
                    $to
                }
            };
        }
        // A word that is computed.
        macro_rules! word {
            ($d:expr, $value:expr) => {{
                let value = $value;
                set(phv, $d, value);
                pc += 1;
                continue;
            }};
        }
        let target = match code[pc] {
            Inst::Mov { d, s } => word!(d, get(phv, s)),
            Inst::Mov2 { d, s, d2, s2 } => {
                set(phv, d, get(phv, s));
                set(phv, d2, get(phv, s2));
                pc += 2;
                continue;
            }
            Inst::Mov3 {
                d,
                s,
                d2,
                s2,
                d3,
                s3,
            } => {
                set(phv, d, get(phv, s));
                set(phv, d2, get(phv, s2));
                set(phv, d3, get(phv, s3));
                pc += 3;
                continue;
            }
            Inst::And { d, a, b } => word!(d, get(phv, a) & get(phv, b)),
            Inst::Or { d, a, b } => word!(d, get(phv, a) | get(phv, b)),
            Inst::Xor { d, a, b } => word!(d, get(phv, a) ^ get(phv, b)),
            Inst::Xor2 {
                d,
                a,
                b,
                d2,
                a2,
                b2,
            } => {
                set(phv, d, get(phv, a) ^ get(phv, b));
                set(phv, d2, get(phv, a2) ^ get(phv, b2));
                pc += 2;
                continue;
            }
            Inst::Add { d, a, b } => word!(d, get(phv, a).wrapping_add(get(phv, b))),
            Inst::AddMask { d, a, b, m } => {
                set(phv, d, get(phv, a).wrapping_add(get(phv, b)) & get(phv, m));
                pc += 2;
                continue;
            }
            Inst::Sub { d, a, b } => word!(d, get(phv, a).wrapping_sub(get(phv, b))),
            Inst::Mul { d, a, b } => word!(d, get(phv, a).wrapping_mul(get(phv, b))),
            // The value of a division by zero is undefined: 0 here.
            Inst::Div { d, a, b } => {
                word!(d, get(phv, a).checked_div(get(phv, b)).unwrap_or(0))
            }
            Inst::Mod { d, a, b } => {
                word!(d, get(phv, a).checked_rem(get(phv, b)).unwrap_or(0))
            }
            Inst::Not { d, a } => word!(d, !get(phv, a)),
            Inst::Shl { d, a, b } => {
                let by = get(phv, b);
                word!(d, if by < 64 { get(phv, a) << by } else { 0 })
            }
            Inst::Shr { d, a, b } => {
                let by = get(phv, b);
                word!(d, if by < 64 { get(phv, a) >> by } else { 0 })
            }
            Inst::Sar { d, a, b } => {
                let by = get(phv, b).min(63);
                word!(d, ((get(phv, a) as i64) >> by) as u64)
            }
            Inst::ShlBy { d, a, n } => word!(d, get(phv, a) << n),
            Inst::SarBy { d, a, n } => word!(d, ((get(phv, a) as i64) >> n) as u64),
            Inst::Slice { d, a, by, bits } => word!(d, slice(get(phv, a), by, bits)),
            Inst::Sext { d, a, bits } => word!(d, sign_extend(get(phv, a), u32::from(bits))),
            Inst::Funnel { d, s, n } => {
                let above = get(phv, s.wrapping_add(1));
                word!(d, get(phv, s) >> n | above << (64 - n))
            }
            Inst::ClampS { d, a, lo, hi } => {
                let (lo, hi) = (get(phv, lo) as i64, get(phv, hi) as i64);
                word!(d, (get(phv, a) as i64).max(lo).min(hi) as u64)
            }
            Inst::ClampU { d, a, hi } => word!(d, get(phv, a).min(get(phv, hi))),
            Inst::Eq { d, a, b } => word!(d, u64::from(get(phv, a) == get(phv, b))),
            Inst::Ne { d, a, b } => word!(d, u64::from(get(phv, a) != get(phv, b))),
            Inst::LtU { d, a, b } => word!(d, u64::from(get(phv, a) < get(phv, b))),
            Inst::LeU { d, a, b } => word!(d, u64::from(get(phv, a) <= get(phv, b))),
            Inst::LtS { d, a, b } => {
                word!(d, u64::from((get(phv, a) as i64) < get(phv, b) as i64))
            }
            Inst::LeS { d, a, b } => {
                word!(d, u64::from(get(phv, a) as i64 <= get(phv, b) as i64))
            }
            Inst::BoolNot { d, a } => word!(d, u64::from(get(phv, a) == 0)),
            Inst::Select { d, c, a, b } => {
                word!(d, get(phv, if get(phv, c) != 0 { a } else { b }))
            }
            Inst::SelectIfEqual { d, a, b, x, y } => {
                let from = if get(phv, a) == get(phv, b) { x } else { y };
                set(phv, d, get(phv, from));
                pc += 2;
                continue;
            }
            Inst::Jump(to) => to,
            Inst::MovJump { d, s, to } => {
                set(phv, d, get(phv, s));
                to
            }
            Inst::MovJumpIfZero { d, s, c, to } => {
                set(phv, d, get(phv, s));
                jump_if!(get(phv, c) == 0, to, 2)
            }
            Inst::MovJumpUnlessZero { d, s, c, to } => {
                set(phv, d, get(phv, s));
                jump_if!(get(phv, c) != 0, to, 2)
            }
            Inst::EqJumpIfZero { d, a, b, to } => {
                let equal = get(phv, a) == get(phv, b);
                set(phv, d, u64::from(equal));
                jump_if!(!equal, to, 2)
            }
            Inst::NeJumpIfZero { d, a, b, to } => {
                let equal = get(phv, a) == get(phv, b);
                set(phv, d, u64::from(!equal));
                jump_if!(equal, to, 2)
            }
            Inst::JumpIfZero { c, to } => jump_if!(get(phv, c) == 0, to, 1),
            Inst::JumpUnlessZero { c, to } => jump_if!(get(phv, c) != 0, to, 1),
            Inst::JumpIfEitherZero { a, b, to } => {
                jump_if!(get(phv, a) == 0 || get(phv, b) == 0, to, 2)
            }
            Inst::JumpIfEqual { a, b, to } => jump_if!(get(phv, a) == get(phv, b), to, 1),
            Inst::JumpUnlessEqual { a, b, to } => jump_if!(get(phv, a) != get(phv, b), to, 1),
            Inst::JumpIfSlice { a, b, by, bits, to } => {
                jump_if!(slice(get(phv, a), by, bits) == get(phv, b), to, 2)
            }
            Inst::JumpUnlessSlice { a, b, by, bits, to } => {
                jump_if!(slice(get(phv, a), by, bits) != get(phv, b), to, 2)
            }
            Inst::JumpIfLess { a, b, to } => jump_if!(get(phv, a) < get(phv, b), to, 2),
            Inst::JumpUnlessLess { a, b, to } => jump_if!(get(phv, a) >= get(phv, b), to, 2),
            Inst::JumpUnlessSum { a, b, m, c, to } => {
                let sum = get(phv, a).wrapping_add(get(phv, b)) & get(phv, m);
                jump_if!(sum != get(phv, c), to, 3)
            }
            Inst::Switch { key, index } => switch(&derived.switches, get(phv, key), index),
            Inst::Return if *after != NOWHERE => {
                // No loop: an action has an end, and the table's jump was counted.
                pc = std::mem::replace(after, NOWHERE);
                continue;
            }
            // All are named: the compiler need not check for others.
            Inst::Return
            | Inst::Stop
            | Inst::Exit
            | Inst::Apply(_)
            | Inst::Extract(_)
            | Inst::Lookahead { .. }
            | Inst::SwitchAhead { .. }
            | Inst::Transition(_)
            | Inst::Other => return Some(pc),
        } as usize;
        if target <= pc {
            *backward += 1;
            if *backward > MAX_BACKWARD_JUMPS {
                return None;
            }
        }
        pc = target;
    }
}

impl<'a> Machine<'a> {
    fn get(&self, at: u32) -> u64 {
        self.phv[at as usize]
    }

    fn set(&mut self, at: u32, value: u64) {
        self.phv[at as usize] = value;
    }

    /// Runs from `pc` to the end of that control, parser, action or condition.
    pub(crate) fn run(&mut self, pc: Pc) -> Flow {
        let program = self.program;
        let code = program.derived.insts.as_slice();
        let mut pc = pc as usize;
        let mut backward = 0;
        // Where the table goes on whose action runs.
        let mut after = NOWHERE;
        loop {
            let Some(at) = compute(&program.derived, self.phv, pc, &mut after, &mut backward)
            else {
                return Flow::ParserError(program.errors.parser_timeout);
            };
            let to = match code[at] {
                Inst::Return => return Flow::Done,
                Inst::Stop => return Flow::Done,
                Inst::Exit => return Flow::Exit,
                Inst::Apply(table) => {
                    let (action, next) = self.apply(table);
                    match action {
                        Some(start) => {
                            // The way back is counted here.
                            after = next as usize;
                            backward += u32::from(next as usize <= at);
                            if backward > MAX_BACKWARD_JUMPS {
                                return Flow::ParserError(program.errors.parser_timeout);
                            }
                            pc = start as usize;
                            continue;
                        }
                        None => next as usize,
                    }
                }
                Inst::Extract(header) => match self.extract(header) {
                    Ok(()) => at + 1,
                    Err(error) => return Flow::ParserError(error),
                },
                Inst::Lookahead { d, ahead, ops } => match self.word_ahead(ahead) {
                    Ok(word) => {
                        set(self.phv, d, word);
                        at + usize::from(ops)
                    }
                    Err(error) => return Flow::ParserError(error),
                },
                Inst::SwitchAhead { ahead, index } => match self.word_ahead(ahead) {
                    Ok(word) => switch(&program.derived.switches, word, index) as usize,
                    Err(error) => return Flow::ParserError(error),
                },
                Inst::Transition(index) => match self.transition(index) {
                    Ok(to) => to as usize,
                    Err(error) => return Flow::ParserError(error),
                },
                _ => match self.slow(program.code[at]) {
                    Flow::Done => at + 1,
                    flow => return flow,
                },
            };
            if to <= at {
                backward += 1;
                if backward > MAX_BACKWARD_JUMPS {
                    return Flow::ParserError(program.errors.parser_timeout);
                }
            }
            pc = to;
        }
    }

    /// Whether the condition holds that the code at `pc` tests: it returns if so, else it exits.
    pub(super) fn holds(&mut self, pc: Pc) -> bool {
        let derived = &self.program.derived;
        let end = compute(derived, self.phv, pc as usize, &mut { NOWHERE }, &mut 0);
        match end.map(|at| derived.insts[at]) {
            Some(Inst::Return) => true,
            Some(Inst::Exit) | None => false,
            // It does more than compute.
            Some(_) => self.run(pc) == Flow::Done,
        }
    }

    /// Operations that are not encoded.
    fn slow(&mut self, op: Op) -> Flow {
        let parsed = |result: Result<(), u64>| match result {
            Ok(()) => Flow::Done,
            Err(error) => Flow::ParserError(error),
        };
        match op {
            Op::Extract(header) => return parsed(self.extract(header)),
            Op::ExtractVarbit { header, bits } => {
                let bits = self.get(bits);
                return parsed(self.extract_varbit(header, bits));
            }
            Op::ExtractNext(stack) => {
                let result = self
                    .next_element(stack)
                    .and_then(|header| self.extract(header));
                if result.is_ok() {
                    self.element_extracted(stack);
                }
                return parsed(result);
            }
            Op::ExtractNextVarbit { stack, bits } => {
                let bits = self.get(bits);
                let result = self
                    .next_element(stack)
                    .and_then(|header| self.extract_varbit(header, bits));
                if result.is_ok() {
                    self.element_extracted(stack);
                }
                return parsed(result);
            }
            Op::Advance { bits } => {
                let bits = self.get(bits);
                return parsed(self.advance(bits));
            }
            Op::Lookahead { d, offset, bits } => return parsed(self.lookahead(d, offset, bits)),
            Op::Verify { c, error } if self.get(c) == 0 => {
                return Flow::ParserError(self.get(error));
            }
            Op::Assert { c } if self.get(c) == 0 => return Flow::Failed,
            Op::Copy { d, s, words } => {
                self.phv
                    .copy_within(s as usize..(s + words) as usize, d as usize);
            }
            Op::Wide(index) => wide::run(self.phv, &self.program.wide[index as usize]),
            // The encoding does not know shifts by more than a word.
            Op::ShlBy { d, .. } | Op::ShrBy { d, .. } => self.set(d, 0),
            Op::AddHeader(header) => self.add_header(header),
            Op::RemoveHeader(header) => self.remove_header(header),
            Op::AssignHeader { d, s } => self.assign_header(d, s),
            Op::CopyStackNext { d, s } => {
                let stacks = &self.program.stacks;
                let next = self.get(stacks[s as usize].next);
                self.set(stacks[d as usize].next, next);
            }
            Op::Push { stack, n } => self.push(stack, n),
            Op::Pop { stack, n } => self.pop(stack, n),
            Op::StackLoad { d, i, field } => {
                let i = self.get(i);
                self.stack_load(d, i, field);
            }
            Op::StackStore { s, i, field } => {
                let i = self.get(i);
                self.stack_store(s, i, field);
            }
            Op::LastIndex { d, stack } => {
                let next = self.get(self.program.stacks[stack as usize].next);
                self.set(d, next.wrapping_sub(1) & u64::from(u32::MAX));
            }
            Op::AssignVarbit { d, s } => self.assign_varbit(d, s),
            Op::VarbitEqual { d, a, b } => {
                let equal = self.varbits_equal(a, b);
                self.set(d, u64::from(equal));
            }
            Op::MarkToDrop => {
                let intrinsic = &self.program.intrinsic;
                if let Some((at, width)) = intrinsic.egress_spec {
                    self.set(at, u64::MAX >> (64 - width));
                }
                if let Some((at, _)) = intrinsic.mcast_grp {
                    self.set(at, 0);
                }
            }
            Op::Count { array, index } => {
                let bytes = self.packet.ingress_length;
                self.state.counters[array as usize].count(self.get(index), bytes);
            }
            Op::ExecuteMeter { d, array, index } => {
                let bytes = self.packet.ingress_length;
                let units = match self.program.meters[array as usize].bytes {
                    true => bytes,
                    false => 1,
                };
                let meters = &self.state.meters[array as usize];
                if let Some(meter) = usize::try_from(self.get(index))
                    .ok()
                    .and_then(|i| meters.get(i))
                {
                    let color = meter.execute(self.now, units, bytes);
                    self.set(d, color);
                }
            }
            Op::RegisterRead { d, array, index } => {
                let register = &self.state.registers[array as usize];
                let index = self.get(index);
                register.read(index, &mut self.phv[d as usize..]);
            }
            Op::RegisterWrite { array, index, s } => {
                let register = &self.state.registers[array as usize];
                register.write(self.get(index), &self.phv[s as usize..]);
            }
            Op::Random { d, lo, hi } => {
                let (lo, hi) = (self.get(lo), self.get(hi));
                if lo <= hi {
                    let value = self.random.next();
                    let value = match (hi - lo).checked_add(1) {
                        Some(count) => lo + value % count,
                        None => value,
                    };
                    self.set(d, value);
                }
            }
            Op::Hash {
                d,
                base,
                max,
                calculation,
            } => {
                let payload = self.data.get(self.packet.cursor..).unwrap_or_default();
                let value = calculate(self.program, calculation, self.phv, payload, self.buffer);
                let value = (value % self.get(max).max(1)).wrapping_add(self.get(base));
                self.set(d, value);
            }
            Op::Digest { list } if list < 64 => self.packet.digests |= 1 << list,
            Op::Digest { list } if !self.packet.more_digests.contains(&list) => {
                self.packet.more_digests.push(list);
            }
            Op::Clone { session, list } => self.packet.clone = Some((self.get(session), list)),
            Op::Resubmit { list } => self.packet.resubmit = Some(list),
            Op::Recirculate { list } => self.packet.recirculate = Some(list),
            Op::Trace(note) => self.trace(note),
            Op::Truncate { length } => {
                let length = usize::try_from(self.get(length)).unwrap_or(usize::MAX);
                self.packet.limit = Some(self.packet.limit.map_or(length, |old| old.min(length)));
            }
            // The others are in `run`.
            _ => {}
        }
        Flow::Done
    }

    /// Looks up a table: the action to run, if it does anything, and where control goes on then.
    #[inline]
    fn apply(&mut self, index: u32) -> (Option<Pc>, Pc) {
        let program = self.program;
        let table = &program.tables[index as usize];
        let live: &'a LiveTable = &self.snapshot.tables[index as usize];
        let words = &program.derived.keys[index as usize];
        for (to, word) in self.key.iter_mut().zip(words) {
            // All ones or all zeros: the fields of an invalid header are 0 in a key.
            let valid = 0u64.wrapping_sub(get(self.phv, word.valid));
            *to = get(self.phv, word.s) & valid & word.mask;
        }
        let Found { entry, hit } = live.lookup(&self.key[..words.len()]);
        let Some(entry) = entry else {
            return (None, table.next.miss.unwrap_or(table.next.default));
        };
        let bytes = self.packet.ingress_length;
        if table.counter {
            entry.state.counter.count(bytes);
        }
        if hit {
            if table.ageing {
                entry.state.hit(self.now);
            }
            if let Some(meter) = table.meter {
                let units = if meter.bytes { bytes } else { 1 };
                let color = entry.state.meter.execute(self.now, units, bytes);
                self.set(meter.target, color & (u64::MAX >> (64 - meter.width)));
            }
        }
        let call = match &entry.action {
            EntryAction::Call(call) => Some(call),
            indirect => self.member(table.profile, indirect),
        };
        let mut start = None;
        let mut action = None;
        if let Some(call) = call {
            action = Some(call.action);
            if !program.derived.empty[call.action as usize] {
                start = Some(program.actions[call.action as usize].start);
                let arguments = &mut self.phv[program.arguments as usize..];
                for (to, word) in arguments.iter_mut().zip(&call.args) {
                    *to = *word;
                }
            }
        }
        let next = &table.next;
        let to = match program.derived.after[index as usize] {
            Some(pc) => pc,
            None => match (if hit { next.hit } else { next.miss }, action) {
                (Some(pc), _) => pc,
                (None, Some(action)) => {
                    let found = next.by_action.iter().find(|(a, _)| *a == action);
                    found.map_or(next.default, |(_, pc)| *pc)
                }
                (None, None) => next.default,
            },
        };
        (start, to)
    }

    /// The action of the member, or of a member of the group.
    pub(super) fn member(
        &mut self,
        profile: Option<u32>,
        action: &EntryAction,
    ) -> Option<&'a Call> {
        let profile = profile? as usize;
        let live = &self.snapshot.profiles[profile];
        let member = match *action {
            EntryAction::Member(member) => member,
            EntryAction::Group(group) => {
                let group = live
                    .groups
                    .get(hash_words(&[group.into()]), &[group.into()])?;
                let selector = self.program.profiles[profile].selector?;
                let hash = calculate(self.program, selector, self.phv, &[], self.buffer);
                group.choose(hash, |port| self.ports.is_down(port))?
            }
            EntryAction::Call(_) => return None,
        };
        let member = live
            .members
            .get(hash_words(&[member.into()]), &[member.into()])?;
        Some(&member.call)
    }
}
