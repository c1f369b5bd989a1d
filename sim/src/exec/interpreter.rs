//! The instruction loop.

use super::bits::sign_extend;
use super::{Packet, Random, calculate, wide};
use crate::program::{Call, Op, Pc, Program};
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
    pub(crate) phv: &'a mut [u64],
    pub(crate) packet: &'a mut Packet,
    /// The frame.
    pub(crate) data: &'a [u8],
    /// Nanoseconds since the switch started.
    pub(crate) now: u64,
    /// Scratch for table keys and calculations.
    pub(crate) key: &'a mut [u64],
    pub(crate) buffer: &'a mut Vec<u8>,
    pub(crate) random: &'a mut Random,
}

#[inline(always)]
fn get(phv: &[u64], at: u32) -> u64 {
    phv[at as usize]
}

#[inline(always)]
fn set(phv: &mut [u64], at: u32, value: u64) {
    phv[at as usize] = value;
}

/// Runs instructions that compute and jump, up to the first that does something else: it and
/// where it stands. `None` if the program does not end.
#[inline]
fn compute(
    program: &Program,
    phv: &mut [u64],
    mut pc: usize,
    backward: &mut u32,
) -> Option<(Op, usize)> {
    let code = program.code.as_slice();
    loop {
        let op = code[pc];
        pc += 1;
        let target = match op {
            Op::Mov { d, s } => {
                set(phv, d, get(phv, s));
                continue;
            }
            Op::And { d, a, b } => {
                set(phv, d, get(phv, a) & get(phv, b));
                continue;
            }
            Op::Or { d, a, b } => {
                set(phv, d, get(phv, a) | get(phv, b));
                continue;
            }
            Op::Xor { d, a, b } => {
                set(phv, d, get(phv, a) ^ get(phv, b));
                continue;
            }
            Op::Add { d, a, b } => {
                set(phv, d, get(phv, a).wrapping_add(get(phv, b)));
                continue;
            }
            Op::Sub { d, a, b } => {
                set(phv, d, get(phv, a).wrapping_sub(get(phv, b)));
                continue;
            }
            Op::Mul { d, a, b } => {
                set(phv, d, get(phv, a).wrapping_mul(get(phv, b)));
                continue;
            }
            // The value of a division by zero is undefined: 0 here.
            Op::Div { d, a, b } => {
                set(phv, d, get(phv, a).checked_div(get(phv, b)).unwrap_or(0));
                continue;
            }
            Op::Mod { d, a, b } => {
                set(phv, d, get(phv, a).checked_rem(get(phv, b)).unwrap_or(0));
                continue;
            }
            Op::Not { d, a } => {
                set(phv, d, !get(phv, a));
                continue;
            }
            Op::Shl { d, a, b } => {
                let by = get(phv, b);
                set(phv, d, if by < 64 { get(phv, a) << by } else { 0 });
                continue;
            }
            Op::Shr { d, a, b } => {
                let by = get(phv, b);
                set(phv, d, if by < 64 { get(phv, a) >> by } else { 0 });
                continue;
            }
            Op::Sar { d, a, b } => {
                let by = get(phv, b).min(63);
                set(phv, d, ((get(phv, a) as i64) >> by) as u64);
                continue;
            }
            Op::ShlBy { d, a, n } => {
                set(phv, d, get(phv, a).checked_shl(n).unwrap_or(0));
                continue;
            }
            Op::ShrBy { d, a, n } => {
                set(phv, d, get(phv, a).checked_shr(n).unwrap_or(0));
                continue;
            }
            Op::SarBy { d, a, n } => {
                set(phv, d, ((get(phv, a) as i64) >> n.min(63)) as u64);
                continue;
            }
            Op::Slice { d, a, by, bits } => {
                set(phv, d, get(phv, a) >> by & (u64::MAX >> (64 - bits)));
                continue;
            }
            Op::Zext { d, a, bits } => {
                set(phv, d, get(phv, a) & (u64::MAX >> (64 - bits)));
                continue;
            }
            Op::Sext { d, a, bits } => {
                set(phv, d, sign_extend(get(phv, a), bits));
                continue;
            }
            Op::Funnel { d, s, n } => {
                set(phv, d, get(phv, s) >> n | get(phv, s + 1) << (64 - n));
                continue;
            }
            Op::ClampS { d, a, lo, hi } => {
                let (lo, hi) = (get(phv, lo) as i64, get(phv, hi) as i64);
                set(phv, d, (get(phv, a) as i64).max(lo).min(hi) as u64);
                continue;
            }
            Op::ClampU { d, a, hi } => {
                set(phv, d, get(phv, a).min(get(phv, hi)));
                continue;
            }
            Op::Eq { d, a, b } => {
                set(phv, d, u64::from(get(phv, a) == get(phv, b)));
                continue;
            }
            Op::Ne { d, a, b } => {
                set(phv, d, u64::from(get(phv, a) != get(phv, b)));
                continue;
            }
            Op::LtU { d, a, b } => {
                set(phv, d, u64::from(get(phv, a) < get(phv, b)));
                continue;
            }
            Op::LeU { d, a, b } => {
                set(phv, d, u64::from(get(phv, a) <= get(phv, b)));
                continue;
            }
            Op::LtS { d, a, b } => {
                set(phv, d, u64::from((get(phv, a) as i64) < get(phv, b) as i64));
                continue;
            }
            Op::LeS { d, a, b } => {
                set(phv, d, u64::from(get(phv, a) as i64 <= get(phv, b) as i64));
                continue;
            }
            Op::BoolNot { d, a } => {
                set(phv, d, u64::from(get(phv, a) == 0));
                continue;
            }
            Op::Select { d, c, a, b } => {
                let value = if get(phv, c) != 0 {
                    get(phv, a)
                } else {
                    get(phv, b)
                };
                set(phv, d, value);
                continue;
            }
            Op::Copy { d, s, words } => {
                phv.copy_within(s as usize..(s + words) as usize, d as usize);
                continue;
            }
            Op::Wide(index) => {
                wide::run(phv, &program.wide[index as usize]);
                continue;
            }
            Op::Jump(to) => to,
            Op::JumpIfZero { c, to } => {
                if get(phv, c) != 0 {
                    continue;
                }
                to
            }
            Op::JumpUnlessZero { c, to } => {
                if get(phv, c) == 0 {
                    continue;
                }
                to
            }
            Op::JumpIfEqual { a, b, to } => {
                if get(phv, a) != get(phv, b) {
                    continue;
                }
                to
            }
            Op::JumpUnlessEqual { a, b, to } => {
                if get(phv, a) == get(phv, b) {
                    continue;
                }
                to
            }
            op => return Some((op, pc - 1)),
        } as usize;
        if target < pc {
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
        get(self.phv, at)
    }

    fn set(&mut self, at: u32, value: u64) {
        set(self.phv, at, value);
    }

    /// Runs from `pc` to the end of that control, parser, action or condition.
    pub(crate) fn run(&mut self, pc: Pc) -> Flow {
        let program = self.program;
        let mut pc = pc as usize;
        let mut backward = 0;
        loop {
            let Some((op, at)) = compute(program, self.phv, pc, &mut backward) else {
                return Flow::ParserError(program.errors.parser_timeout);
            };
            pc = match op {
                Op::Return | Op::Stop => return Flow::Done,
                Op::Exit => return Flow::Exit,
                Op::Assert { c } => match self.get(c) {
                    0 => return Flow::Failed,
                    _ => at + 1,
                },
                Op::Apply(table) => match self.apply(table) {
                    Ok(to) => to as usize,
                    Err(flow) => return flow,
                },
                Op::Transition(index) => match self.transition(index) {
                    Ok(to) => to as usize,
                    Err(error) => return Flow::ParserError(error),
                },
                op => match self.slow(op) {
                    Flow::Done => at + 1,
                    flow => return flow,
                },
            };
            if pc <= at {
                backward += 1;
                if backward > MAX_BACKWARD_JUMPS {
                    return Flow::ParserError(program.errors.parser_timeout);
                }
            }
        }
    }

    /// Instructions that do more than compute.
    #[inline]
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
                let units = match self.program.meters[array as usize].bytes {
                    true => self.packet.ingress_length,
                    false => 1,
                };
                let meters = &self.state.meters[array as usize];
                if let Some(meter) = usize::try_from(self.get(index))
                    .ok()
                    .and_then(|i| meters.get(i))
                {
                    let color = meter.execute(self.now, units);
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
                let calculation = &self.program.calculations[calculation as usize];
                let payload = self.data.get(self.packet.cursor..).unwrap_or_default();
                let value = calculate(self.program, calculation, self.phv, payload, self.buffer);
                let value = (value % self.get(max).max(1)).wrapping_add(self.get(base));
                self.set(d, value);
            }
            Op::Digest { list } => self.packet.digests |= 1 << (list % 64),
            Op::Clone { session, list } => self.packet.clone = Some((self.get(session), list)),
            Op::Resubmit { list } => self.packet.resubmit = Some(list),
            Op::Recirculate { list } => self.packet.recirculate = Some(list),
            Op::Truncate { length } => {
                let length = usize::try_from(self.get(length)).unwrap_or(usize::MAX);
                self.packet.limit = Some(self.packet.limit.map_or(length, |old| old.min(length)));
            }
            // The others are in `run`.
            _ => {}
        }
        Flow::Done
    }

    /// Applies a table: where control goes on.
    fn apply(&mut self, index: u32) -> Result<Pc, Flow> {
        let program = self.program;
        let table = &program.tables[index as usize];
        let live: &'a LiveTable = &self.snapshot.tables[index as usize];
        let words = table.key_words as usize;
        let mut at = 0;
        for key in &table.keys {
            // All ones or all zeros: the fields of an invalid header are 0 in a key.
            let valid = 0u64.wrapping_sub(self.phv[key.valid as usize]);
            for i in 0..key.span.words {
                let mut word = self.phv[(key.span.loc + i) as usize] & valid;
                if let Some(mask) = &key.mask {
                    word &= mask.get(i as usize).copied().unwrap_or(0);
                }
                self.key[at] = word;
                at += 1;
            }
        }
        let Found { entry, hit } = live.lookup(&self.key[..words]);
        let Some(entry) = entry else {
            return Ok(table.next.miss.unwrap_or(table.next.default));
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
                let color = entry.state.meter.execute(self.now, units);
                self.set(meter.target, color & (u64::MAX >> (64 - meter.width)));
            }
        }
        let call = match &entry.action {
            EntryAction::Call(call) => Some(call),
            indirect => self.member(table.profile, indirect),
        };
        let mut action = None;
        if let Some(call) = call {
            action = Some(call.action);
            let def = &program.actions[call.action as usize];
            let start = program.arguments as usize;
            self.phv[start..start + call.args.len()].copy_from_slice(&call.args);
            match self.run(def.start) {
                Flow::Done => {}
                flow => return Err(flow),
            }
        }
        let next = &table.next;
        Ok(match (if hit { next.hit } else { next.miss }, action) {
            (Some(pc), _) => pc,
            (None, Some(action)) => {
                let found = next.by_action.iter().find(|(a, _)| *a == action);
                found.map_or(next.default, |(_, pc)| *pc)
            }
            (None, None) => next.default,
        })
    }

    /// The action of the member, or of a member of the group.
    fn member(&mut self, profile: Option<u32>, action: &EntryAction) -> Option<&'a Call> {
        let profile = profile? as usize;
        let live = &self.snapshot.profiles[profile];
        let member = match *action {
            EntryAction::Member(member) => member,
            EntryAction::Group(group) => {
                let group = live
                    .groups
                    .get(hash_words(&[group.into()]), &[group.into()])?;
                let selector = self.program.profiles[profile].selector? as usize;
                let selector = &self.program.calculations[selector];
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
