//! From the document to the program.

mod actions;
mod branch;
mod control;
mod emit;
mod expr;
mod externs;
mod header_refs;
mod headers;
mod operators;
mod parser;
mod places;
mod read;
mod tables;
mod trace;
mod unions;
mod value;

use std::collections::HashMap;

use super::LoadOptions;
use super::json::{At, LoadError};
use crate::control::{
    ActionInfo, CounterInfo, DigestInfo, MeterInfo, ProfileInfo, RegisterInfo, TableInfo,
    ValueSetInfo,
};
use crate::program::{Loc, Op, Pc, Program, Span};

/// Words of temporaries that one statement may use.
const MAX_TEMPORARIES: u32 = 4096;
/// The most instructions of a program.
const MAX_CODE: usize = 1 << 20;

/// What the control plane is told of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Infos {
    pub(super) tables: Vec<TableInfo>,
    pub(super) actions: Vec<ActionInfo>,
    pub(super) profiles: Vec<ProfileInfo>,
    pub(super) counters: Vec<CounterInfo>,
    pub(super) meters: Vec<MeterInfo>,
    pub(super) registers: Vec<RegisterInfo>,
    pub(super) digests: Vec<DigestInfo>,
    pub(super) value_sets: Vec<ValueSetInfo>,
}

/// What `local` and `runtime_data` refer to: the arguments of the action being lowered.
#[derive(Debug, Default)]
struct Scope {
    args: Vec<(Span, u32)>,
}

/// A direct meter, until its table is known.
struct DirectMeterNode {
    name: String,
    bytes: bool,
    target: Loc,
    width: u32,
}

/// The work in hand.
#[derive(Default)]
struct Lowering {
    program: Program,
    infos: Infos,
    words: u32,
    constants: HashMap<Vec<u64>, Loc>,
    temporaries_start: Loc,
    temporaries: u32,
    argument_words: u32,
    header_index: HashMap<String, u32>,
    stack_index: HashMap<String, u32>,
    union_index: HashMap<String, Vec<u32>>,
    /// The members of a stack of unions, and the stack that each of them is.
    union_stack_index: HashMap<String, Vec<(String, u32)>>,
    value_set_index: HashMap<String, u32>,
    counter_index: HashMap<String, u32>,
    meter_index: HashMap<String, u32>,
    register_index: HashMap<String, u32>,
    direct_counters: HashMap<String, String>,
    direct_meters: HashMap<String, DirectMeterNode>,
    calculation_index: HashMap<String, u32>,
    action_ids: HashMap<u32, u32>,
    digest_ids: HashMap<u32, u32>,
    field_list_ids: HashMap<u32, u32>,
    profile_index: HashMap<String, u32>,
}

impl Lowering {
    /// The place of a constant.
    fn constant(&mut self, words: &[u64]) -> Span {
        let key = words.to_vec();
        let len = words.len() as u32;
        if let Some(&loc) = self.constants.get(&key) {
            return Span { loc, words: len };
        }
        let loc = self.program.constants_start + self.program.constants.len() as u32;
        self.program.constants.extend_from_slice(words);
        self.constants.insert(key, loc);
        Span { loc, words: len }
    }
}

/// Lowers a document.
pub(super) fn lower(root: &At<'_>, options: LoadOptions) -> Result<(Program, Infos), LoadError> {
    check_version(root)?;
    let mut l = Lowering {
        words: 1,
        ..Lowering::default()
    };
    if options.trace {
        l.program.trace = Some(Default::default());
    }
    l.headers(root)?;
    l.declare_actions(root)?;
    l.program.arguments = l.words;
    l.temporaries_start = l.words + l.argument_words;
    l.program.constants_start = l.temporaries_start + MAX_TEMPORARIES;
    l.arrays(root)?;
    l.lists(root)?;
    l.calculations(root)?;
    l.value_sets(root)?;
    l.intrinsic(root)?;
    l.errors(root)?;
    l.actions(root)?;
    l.parser(root)?;
    l.deparser(root)?;
    l.pipelines(root)?;
    l.checksums(root)?;
    for (i, set) in l.program.value_sets.iter_mut().enumerate() {
        if set.parts.is_empty() {
            set.parts.push(l.infos.value_sets[i].width.max(1));
        }
    }
    if let Some(notes) = &mut l.program.trace {
        notes.actions.clone_from(&l.infos.actions);
    }
    l.thread_jumps();
    if l.program.code.len() > MAX_CODE {
        return Err(root.error("the program is too large"));
    }
    l.program.phv_words = l.program.constants_start + l.program.constants.len() as u32;
    if !l
        .program
        .finish(&(l.temporaries_start..l.temporaries_start + MAX_TEMPORARIES))
    {
        return Err(root.error("headers, metadata and constants take more than 512 KiB"));
    }
    Ok((l.program, l.infos))
}

impl Lowering {
    /// Lets jumps to jumps go where those go.
    fn thread_jumps(&mut self) {
        let program = &mut self.program;
        let code = program.code.clone();
        let end = |mut to: Pc| {
            // Jumps may go in circles.
            for _ in 0..16 {
                match code.get(to as usize) {
                    Some(Op::Jump(next)) => to = *next,
                    _ => break,
                }
            }
            to
        };
        for op in &mut program.code {
            if let Some(to) = op.target() {
                *to = end(*to);
            }
        }
        for table in &mut program.tables {
            let next = &mut table.next;
            next.by_action.iter_mut().for_each(|(_, to)| *to = end(*to));
            next.hit = next.hit.map(end);
            next.miss = next.miss.map(end);
            next.default = end(next.default);
        }
        program.ingress = end(program.ingress);
        program.egress = end(program.egress);
    }
}

fn check_version(root: &At<'_>) -> Result<(), LoadError> {
    let version_at = root.get("__meta__")?.get("version")?;
    let [major, _] = version_at.tuple()?;
    match major.number(u64::from(u32::MAX))? {
        2 => Ok(()),
        other => Err(version_at.error(format!("format version {other} is not 2"))),
    }
}
