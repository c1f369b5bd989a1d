//! Ingress and egress: tables, conditionals and what follows what.

use std::collections::HashMap;

use super::super::json::{At, LoadError};
use super::{Lowering, Scope};
use crate::program::{Next, Op, Pc, TableKind};

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
        // First the code of every node, then the links, which may go forward.
        let mut nodes: HashMap<&str, Pc> = HashMap::new();
        let mut define = |at: &At<'_>, name, pc| match nodes.insert(name, pc) {
            None => Ok(()),
            Some(_) => Err(at.error(format!("two nodes are named `{name}`"))),
        };
        let mut jumps = Vec::new();
        let mut tables = Vec::new();
        for node in pipeline.list("tables")? {
            define(&node, node.text("name")?, self.pc())?;
            let table = self.table(&node)?;
            // A keyless table whose default action is constant, as p4c makes one of every
            // statement: the action itself.
            let t = &self.program.tables[table as usize];
            let inline = t.kind == TableKind::Keyless
                && t.profile.is_none()
                && !t.counter
                && !t.ageing
                && self.infos.tables[table as usize].const_default_action;
            match (&t.default, inline) {
                (Some(call), true) if call.args.is_empty() => {
                    let action = call.action;
                    self.inline(action);
                    let name = self.infos.actions[action as usize].name.clone();
                    jumps.push((self.program.code.len(), self.only_next(&node, &name)?));
                    self.emit(Op::Jump(0));
                }
                _ => {
                    self.emit(Op::Apply(table));
                    tables.push((node, table));
                }
            }
        }
        for node in pipeline.list("conditionals")? {
            define(&node, node.text("name")?, self.pc())?;
            self.statement();
            let expression = node.get("expression")?;
            let condition = self.expr(&expression, &Scope::default())?;
            for jump in self.branch(&condition, false, &expression)? {
                jumps.push((jump, node.opt("false_next")?));
            }
            jumps.push((self.program.code.len(), node.opt("true_next")?));
            self.emit(Op::Jump(0));
        }
        for node in pipeline.list("action_calls")? {
            define(&node, node.text("name")?, self.pc())?;
            let action = self.action_with_id(&node.get("action_id")?)?;
            if !self.infos.actions[action.index()].params.is_empty() {
                return Err(node.error("the action has parameters"));
            }
            self.inline(action.0);
            jumps.push((self.program.code.len(), node.opt("next_node")?));
            self.emit(Op::Jump(0));
        }
        let resolve = |at: Option<&At<'_>>| match at {
            None => Ok(stop),
            Some(at) => match nodes.get(at.str()?) {
                Some(&pc) => Ok(pc),
                None => Err(at.error("no table or condition of this pipeline has this name")),
            },
        };
        for (at, target) in jumps {
            let pc = resolve(target.as_ref())?;
            self.patch(at, pc);
        }
        for (node, table) in tables {
            let mut next = Next {
                default: resolve(node.opt("base_default_next")?.as_ref())?,
                ..Next::default()
            };
            for (name, target) in node.get("next_tables")?.members()? {
                let pc = resolve(if target.is_null() {
                    None
                } else {
                    Some(&target)
                })?;
                match name {
                    "__HIT__" => next.hit = Some(pc),
                    "__MISS__" => next.miss = Some(pc),
                    _ => {
                        let infos = &self.infos.tables[table as usize];
                        let Some(action) = infos.action(name) else {
                            return Err(target.error("the table has no such action"));
                        };
                        next.by_action.push((action.0, pc));
                    }
                }
            }
            self.program.tables[table as usize].next = next;
        }
        let init = pipeline.opt("init_table")?;
        resolve(init.as_ref())
    }

    /// Where control goes on after an inlined table.
    fn only_next<'a>(&self, node: &At<'a>, action: &str) -> Result<Option<At<'a>>, LoadError> {
        let next = node.get("next_tables")?;
        for key in [action, "__MISS__"] {
            if let Some((_, target)) = next.members()?.into_iter().find(|(name, _)| *name == key) {
                return Ok(Some(target).filter(|target| !target.is_null()));
            }
        }
        node.opt("base_default_next")
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
