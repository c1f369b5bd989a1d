//! Ingress and egress: tables, conditionals and what follows what.

use std::collections::HashMap;

use super::super::json::{At, LoadError};
use super::{Lowering, Scope};
use crate::program::{Next, Op, Pc, TableKind};

/// A node of a control's graph.
enum Node {
    Apply(u32),
    Action(u32),
    Conditional,
}

/// A control while it gets its code.
struct Placement<'a> {
    nodes: HashMap<&'a str, (Node, At<'a>)>,
    placed: HashMap<&'a str, Pc>,
    /// Nodes that are jumped to and may not have their place yet.
    pending: Vec<At<'a>>,
    /// Jumps to nodes: their targets are known in the end.
    jumps: Vec<(usize, At<'a>)>,
    stop: Pc,
}

impl Lowering {
    /// Both pipelines.
    pub(super) fn pipelines(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        let pipelines_at = root.get("pipelines")?;
        let mut starts = HashMap::new();
        for pipeline in pipelines_at.items()? {
            let name = pipeline.text("name")?;
            let start = self.pipeline(&pipeline)?;
            starts.insert(name, start);
        }
        let (Some(&ingress), Some(&egress)) = (starts.get("ingress"), starts.get("egress")) else {
            return Err(pipelines_at.error("v1model has the pipelines `ingress` and `egress`"));
        };
        self.program.ingress = ingress;
        self.program.egress = egress;
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &At<'_>) -> Result<Pc, LoadError> {
        self.profile_index.clear();
        self.profiles(pipeline)?;
        let stop = self.pc();
        self.emit(Op::Stop);
        let mut placement = Placement {
            nodes: HashMap::new(),
            placed: HashMap::new(),
            pending: Vec::new(),
            jumps: Vec::new(),
            stop,
        };
        let mut tables = Vec::new();
        for node in pipeline.list("tables")? {
            let table = self.table(&node)?;
            // A keyless table whose default action is constant, as p4c makes one of every
            // statement: the action itself.
            let t = &self.program.tables[table as usize];
            let inline = t.kind == TableKind::Keyless
                && t.profile.is_none()
                && !t.counter
                && !t.ageing
                && self.infos.tables[table as usize].const_default_action;
            let kind = match &t.default {
                Some(call) if inline && call.args.is_empty() => Node::Action(call.action),
                _ => {
                    tables.push((node.clone(), table));
                    Node::Apply(table)
                }
            };
            placement.define(kind, node)?;
        }
        for node in pipeline.list("conditionals")? {
            placement.define(Node::Conditional, node)?;
        }
        for node in pipeline.list("action_calls")? {
            let action = self.action_with_id(&node.get("action_id")?)?;
            if !self.infos.actions[action.index()].params.is_empty() {
                return Err(node.error("the action has parameters"));
            }
            placement.define(Node::Action(action.0), node)?;
        }
        let init = pipeline.opt("init_table")?;
        placement.pending.extend(init.clone());
        while let Some(next) = placement.pending.pop() {
            self.lay_out(&mut placement, next)?;
        }
        for (jump, target) in std::mem::take(&mut placement.jumps) {
            let to = placement.resolve(Some(&target))?;
            self.patch(jump, to);
        }
        for (node, table) in tables {
            // A table that control never reaches has no place, and nothing follows it.
            if placement.placed.contains_key(node.text("name")?) {
                self.program.tables[table as usize].next = self.next(&placement, &node, table)?;
            }
        }
        placement.resolve(init.as_ref())
    }

    /// Emits the code of a node and of those that follow it without a choice, as far as they have
    /// no place yet.
    fn lay_out<'a>(
        &mut self,
        placement: &mut Placement<'a>,
        first: At<'a>,
    ) -> Result<(), LoadError> {
        if placement.placed.contains_key(first.str()?) {
            return Ok(());
        }
        let mut next = Some(first);
        while let Some(name) = next {
            let text = name.str()?;
            if placement.placed.contains_key(text) {
                placement.jumps.push((self.program.code.len(), name));
                self.emit(Op::Jump(0));
                return Ok(());
            }
            placement.placed.insert(text, self.pc());
            let Some((kind, node)) = placement.nodes.get(text) else {
                return Err(name.error("no table or condition of this pipeline has this name"));
            };
            let node = node.clone();
            match *kind {
                Node::Apply(table) => {
                    self.note_apply(&node, table);
                    self.emit(Op::Apply(table));
                    placement.pending.extend(node.opt("base_default_next")?);
                    for (_, target) in node.get("next_tables")?.members()? {
                        if !target.is_null() {
                            placement.pending.push(target);
                        }
                    }
                    return Ok(());
                }
                Node::Action(action) => {
                    self.inline(action);
                    let name = &self.infos.actions[action as usize].name;
                    next = match node.opt("next_node")? {
                        Some(next) => Some(next),
                        None => only_next(&node, name)?,
                    };
                }
                Node::Conditional => {
                    self.statement();
                    let expression = node.get("expression")?;
                    let condition = self.expr(&expression, &Scope::default())?;
                    self.note_condition(&node, &condition)?;
                    let otherwise = node.opt("false_next")?;
                    for jump in self.branch(&condition, false, &expression)? {
                        match &otherwise {
                            Some(target) => placement.jumps.push((jump, target.clone())),
                            None => self.patch(jump, placement.stop),
                        }
                    }
                    placement.pending.extend(otherwise);
                    next = node.opt("true_next")?;
                }
            }
        }
        self.emit(Op::Stop);
        Ok(())
    }

    /// Where control goes on after a table.
    fn next(
        &self,
        placement: &Placement<'_>,
        node: &At<'_>,
        table: u32,
    ) -> Result<Next, LoadError> {
        let default = placement.resolve(node.opt("base_default_next")?.as_ref())?;
        let mut next = Next {
            default,
            ..Next::default()
        };
        for (name, target) in node.get("next_tables")?.members()? {
            let pc = placement.resolve(Some(&target).filter(|target| !target.is_null()))?;
            match name {
                "__HIT__" => next.hit = Some(pc),
                "__MISS__" => next.miss = Some(pc),
                _ => match self.infos.tables[table as usize].action(name) {
                    Some(action) => next.by_action.push((action.0, pc)),
                    None => return Err(target.error("the table has no such action")),
                },
            }
        }
        Ok(next)
    }

    /// Copies an action's code, which is complete, to this place.
    fn inline(&mut self, action: u32) {
        let start = self.program.actions[action as usize].start as usize;
        let here = self.program.code.len();
        // Every action ends with the only `Return` in it.
        let body: Vec<Op> = self.program.code[start..]
            .iter()
            .copied()
            .take_while(|op| *op != Op::Return)
            .collect();
        for mut op in body {
            if let Some(to) = op.target() {
                *to = *to - start as Pc + here as Pc;
            }
            self.emit(op);
        }
    }
}

impl<'a> Placement<'a> {
    fn define(&mut self, kind: Node, node: At<'a>) -> Result<(), LoadError> {
        let name = node.text("name")?;
        if self.nodes.contains_key(name) {
            return Err(node.error(format!("two nodes are named `{name}`")));
        }
        self.nodes.insert(name, (kind, node));
        Ok(())
    }

    fn resolve(&self, at: Option<&At<'_>>) -> Result<Pc, LoadError> {
        match at {
            None => Ok(self.stop),
            Some(at) => match self.placed.get(at.str()?) {
                Some(&pc) => Ok(pc),
                None => Err(at.error("no table or condition of this pipeline has this name")),
            },
        }
    }
}

/// Where control goes on after an inlined table.
fn only_next<'a>(node: &At<'a>, action: &str) -> Result<Option<At<'a>>, LoadError> {
    let Some(next) = node.opt("next_tables")? else {
        return Ok(None);
    };
    for key in [action, "__MISS__"] {
        if let Some((_, target)) = next.members()?.into_iter().find(|(name, _)| *name == key) {
            return Ok(Some(target).filter(|target| !target.is_null()));
        }
    }
    node.opt("base_default_next")
}
