//! Actions: their primitives, core and v1model.

use super::super::json::{At, LoadError};
use super::expr::{Expr, HeaderRef, Place};
use super::{Lowering, Scope};
use crate::control::{ActionHandle, ActionInfo, ParamInfo};
use crate::program::{Action, Op, Span};

/// The widest action parameter, in bits.
const MAX_PARAM_BITS: u64 = 2048;

impl Lowering {
    /// First pass: names and parameters, so that tables can refer to actions and the arguments'
    /// zone has its size.
    pub(super) fn declare_actions(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for node in root.get("actions")?.items()? {
            let id = node.get("id")?.id()?;
            let index = self.program.actions.len() as u32;
            if self.action_ids.insert(id, index).is_some() {
                return Err(node.error("two actions have this id"));
            }
            let mut params = Vec::new();
            let mut args = Vec::new();
            let mut words = 0;
            for param in node.list("runtime_data")? {
                let name = param.text("name")?.to_owned();
                let width = match param.get("bitwidth")?.number(MAX_PARAM_BITS)? as u32 {
                    0 => return Err(param.error("a parameter of no bits")),
                    width => width,
                };
                args.push(Span {
                    loc: words,
                    words: width.div_ceil(64),
                });
                words += width.div_ceil(64);
                params.push(ParamInfo { name, width });
            }
            if words > 4096 {
                return Err(node.error("the action has too many parameters"));
            }
            self.argument_words = self.argument_words.max(words);
            self.program.actions.push(Action { start: 0, args });
            self.infos.actions.push(ActionInfo {
                name: node.text("name")?.to_owned(),
                params,
            });
        }
        Ok(())
    }

    /// Second pass: code.
    pub(super) fn actions(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for (i, node) in root.get("actions")?.items()?.iter().enumerate() {
            let start = self.pc();
            for span in &mut self.program.actions[i].args {
                span.loc += self.program.arguments;
            }
            let widths = self.infos.actions[i].params.iter().map(|p| p.width);
            let args = self.program.actions[i]
                .args
                .iter()
                .copied()
                .zip(widths)
                .collect();
            let scope = Scope { args };
            self.primitives(&node.list("primitives")?, &scope)?;
            self.emit(Op::Return);
            self.program.actions[i].start = start;
        }
        Ok(())
    }

    /// A list of primitives, with jumps between them.
    pub(super) fn primitives(&mut self, nodes: &[At<'_>], scope: &Scope) -> Result<(), LoadError> {
        let mut starts = Vec::with_capacity(nodes.len() + 1);
        let mut jumps = Vec::new();
        for node in nodes {
            starts.push(self.pc());
            self.statement();
            let op = node.text("op")?;
            if op == "_jump" || op == "_jump_if_zero" {
                let params = node.get("parameters")?.items()?;
                let target = params
                    .last()
                    .ok_or_else(|| node.error("a jump without a target"))?;
                let to = self.expr(target, &Scope::default())?.as_small();
                let Some(to) = to.filter(|&to| to as usize <= nodes.len()) else {
                    return Err(target.error("expected the index of a primitive"));
                };
                if op == "_jump_if_zero" {
                    let condition = self.expr(&params[0], scope)?;
                    for jump in self.branch(&condition, false, node)? {
                        jumps.push((jump, to as usize));
                    }
                } else {
                    jumps.push((self.program.code.len(), to as usize));
                    self.emit(Op::Jump(0));
                }
            } else {
                self.note_before(node, scope)?;
                self.primitive(node, scope)?;
                self.note_after(node, scope)?;
            }
        }
        starts.push(self.pc());
        for (at, target) in jumps {
            self.patch(at, starts[target]);
        }
        Ok(())
    }

    /// One primitive: of an action, or a method call in a parser state.
    pub(super) fn primitive(&mut self, node: &At<'_>, scope: &Scope) -> Result<(), LoadError> {
        let op_at = node.get("op")?;
        let op = op_at.str()?;
        let params = node.get("parameters")?.items()?;
        let want = |n: usize| {
            if params.len() == n {
                Ok(())
            } else {
                Err(node.error(format!(
                    "`{op}` takes {n} parameters, found {}",
                    params.len()
                )))
            }
        };
        match op {
            "no_op" | "log_msg" => Ok(()),
            "assign" | "modify_field" | "assign_VL" => {
                want(2)?;
                let place = self.place(&params[0], scope)?;
                let value = self.expr(&params[1], scope)?;
                self.store(&place, &value, node)
            }
            "assign_header" | "copy_header" => {
                want(2)?;
                self.assign_header(&params[0], &params[1], scope)
            }
            "assign_header_stack" => {
                want(2)?;
                let d = self.stack_named(&params[0].get("value")?)?;
                let s = self.stack_named(&params[1].get("value")?)?;
                self.assign_stack(d, s, node)
            }
            "assign_union_stack" => {
                want(2)?;
                self.assign_union_stack(&params[0], &params[1])
            }
            "assign_union" => {
                want(2)?;
                let d = self.union_ref(&params[0], scope)?;
                let s = self.union_ref(&params[1], scope)?;
                for (d, s) in d.into_iter().zip(s) {
                    self.copy_header(d, s, node)?;
                }
                Ok(())
            }
            "add_header" | "add_header_fast" | "remove_header" => {
                want(1)?;
                match self.header_ref(&params[0], scope)? {
                    HeaderRef::Fixed(header) => {
                        self.emit(match op {
                            "remove_header" => Op::RemoveHeader(header),
                            _ => Op::AddHeader(header),
                        });
                        Ok(())
                    }
                    // A chain of comparisons: stacks are short.
                    HeaderRef::Element { stack, index } => {
                        let i = self.word(&index, node)?;
                        for (position, header) in self.elements(stack) {
                            self.when_index(i, position, node)?;
                            self.emit(match op {
                                "remove_header" => Op::RemoveHeader(header),
                                _ => Op::AddHeader(header),
                            });
                        }
                        Ok(())
                    }
                    HeaderRef::Choice(..) => {
                        Err(params[0].error("expected one header, not one of two"))
                    }
                }
            }
            "push" | "pop" => {
                want(2)?;
                let stack = self.stack_named(&params[0].get("value")?)?;
                let Some(n) = self.expr(&params[1], scope)?.as_small() else {
                    return Err(params[1].error("expected a constant"));
                };
                self.emit(if op == "push" {
                    Op::Push { stack, n }
                } else {
                    Op::Pop { stack, n }
                });
                Ok(())
            }
            "exit" => {
                self.emit(Op::Exit);
                Ok(())
            }
            "assert" | "assume" => {
                want(1)?;
                let condition = self.expr(&params[0], scope)?;
                let c = self.word(&condition, node)?;
                self.emit(Op::Assert { c });
                Ok(())
            }
            _ => self.extern_call(node, op, &params, scope),
        }
    }

    fn extern_call(
        &mut self,
        node: &At<'_>,
        op: &str,
        params: &[At<'_>],
        scope: &Scope,
    ) -> Result<(), LoadError> {
        let arity = match op {
            "drop" => 0,
            "mark_to_drop" | "resubmit" | "recirculate" | "truncate" => 1,
            "count" | "generate_digest" => 2,
            "clone_ingress_pkt_to_egress" | "clone_egress_pkt_to_egress" => 2,
            "execute_meter" | "register_read" | "register_write" => 3,
            "modify_field_rng_uniform" => 3,
            "modify_field_with_hash_based_offset" => 4,
            _ => return Err(node.error(format!("primitive `{op}` is not supported"))),
        };
        if params.len() != arity {
            let found = params.len();
            return Err(node.error(format!("`{op}` takes {arity} parameters, found {found}")));
        }
        match op {
            "drop" | "mark_to_drop" => self.emit(Op::MarkToDrop),
            "resubmit" | "recirculate" => {
                let list = self.field_list(&params[0], scope)?;
                self.emit(match op {
                    "resubmit" => Op::Resubmit { list },
                    _ => Op::Recirculate { list },
                });
            }
            "truncate" => {
                let length = self.expr(&params[0], scope)?;
                let length = self.word(&length, node)?;
                self.emit(Op::Truncate { length });
            }
            "count" => {
                let array = self.array(&params[0], "counter_array")?;
                let index = self.expr(&params[1], scope)?;
                let index = self.word(&index, node)?;
                self.emit(Op::Count { array, index });
            }
            "generate_digest" => {
                let id = self.expr(&params[1], scope)?.as_small();
                let Some(&list) = id.and_then(|id| self.digest_ids.get(&id)) else {
                    return Err(params[1].error("no learn list has this id"));
                };
                self.emit(Op::Digest { list });
            }
            "clone_ingress_pkt_to_egress" | "clone_egress_pkt_to_egress" => {
                let session = self.expr(&params[0], scope)?;
                let session = self.word(&session, node)?;
                let list = self.field_list(&params[1], scope)?;
                self.emit(Op::Clone { session, list });
            }
            "execute_meter" => {
                let array = self.array(&params[0], "meter_array")?;
                let index = self.expr(&params[1], scope)?;
                let index = self.word(&index, node)?;
                let place = self.place(&params[2], scope)?;
                // Beyond the end of the array the destination keeps its value.
                let d = self.temporary(1, node)?;
                let slot = Place::Slot {
                    span: d,
                    width: 64,
                    signed: false,
                };
                self.store(&slot, &Expr::Place(place.clone()), node)?;
                self.emit(Op::ExecuteMeter {
                    d: d.loc,
                    array,
                    index,
                });
                self.store(&place, &Expr::Place(slot), node)?;
            }
            "register_read" => {
                let place = self.place(&params[0], scope)?;
                let array = self.array(&params[1], "register_array")?;
                let index = self.expr(&params[2], scope)?;
                let index = self.word(&index, node)?;
                let width = self.program.registers[array as usize].width;
                if let Place::Slot {
                    span,
                    width: w,
                    signed: false,
                } = place
                    && w == width
                {
                    self.emit(Op::RegisterRead {
                        d: span.loc,
                        array,
                        index,
                    });
                    return Ok(());
                }
                let span = self.temporary(width.div_ceil(64), node)?;
                let slot = Place::Slot {
                    span,
                    width,
                    signed: false,
                };
                self.store(&slot, &Expr::Place(place.clone()), node)?;
                self.emit(Op::RegisterRead {
                    d: span.loc,
                    array,
                    index,
                });
                self.store(&place, &Expr::Place(slot), node)?;
            }
            "register_write" => {
                let array = self.array(&params[0], "register_array")?;
                let index = self.expr(&params[1], scope)?;
                let index = self.word(&index, node)?;
                let value = self.expr(&params[2], scope)?;
                let width = self.program.registers[array as usize].width;
                let span = self.temporary(width.div_ceil(64), node)?;
                self.store(
                    &Place::Slot {
                        span,
                        width,
                        signed: false,
                    },
                    &value,
                    node,
                )?;
                self.emit(Op::RegisterWrite {
                    array,
                    index,
                    s: span.loc,
                });
            }
            "modify_field_rng_uniform" => {
                let place = self.place(&params[0], scope)?;
                let (lo, hi) = (self.expr(&params[1], scope)?, self.expr(&params[2], scope)?);
                let (lo, hi) = (self.word(&lo, node)?, self.word(&hi, node)?);
                let d = self.temporary(1, node)?;
                let slot = Place::Slot {
                    span: d,
                    width: 64,
                    signed: false,
                };
                self.store(&slot, &Expr::Place(place.clone()), node)?;
                self.emit(Op::Random { d: d.loc, lo, hi });
                self.store(&place, &Expr::Place(slot), node)?;
            }
            _ => {
                let place = self.place(&params[0], scope)?;
                let (base, max) = (self.expr(&params[1], scope)?, self.expr(&params[3], scope)?);
                let (base, max) = (self.word(&base, node)?, self.word(&max, node)?);
                let name = params[2].get("value")?;
                let Some(&calculation) = self.calculation_index.get(name.str()?) else {
                    return Err(name.error("no calculation has this name"));
                };
                let span = self.temporary(1, node)?;
                self.emit(Op::Hash {
                    d: span.loc,
                    base,
                    max,
                    calculation,
                });
                let slot = Place::Slot {
                    span,
                    width: 64,
                    signed: false,
                };
                self.store(&place, &Expr::Place(slot), node)?;
            }
        }
        Ok(())
    }

    /// The counter, meter or register array that a parameter names.
    fn array(&self, at: &At<'_>, kind: &str) -> Result<u32, LoadError> {
        let type_at = at.get("type")?;
        if type_at.str()? != kind {
            return Err(type_at.error(format!("expected `{kind}`")));
        }
        let index = match kind {
            "counter_array" => &self.counter_index,
            "meter_array" => &self.meter_index,
            _ => &self.register_index,
        };
        let name = at.get("value")?;
        match index.get(name.str()?) {
            Some(&array) => Ok(array),
            None => Err(name.error(format!("no `{kind}` has this name"))),
        }
    }

    /// The field list that a parameter names by its id; 0 is the empty list.
    fn field_list(&mut self, at: &At<'_>, scope: &Scope) -> Result<u32, LoadError> {
        let id = self.expr(at, scope)?.as_small();
        match id.and_then(|id| self.field_list_ids.get(&id)) {
            Some(&list) => Ok(list),
            None => Err(at.error("no field list has this id")),
        }
    }

    fn pair(&self, d: u32, s: u32, at: &At<'_>) -> Result<Vec<(u32, u32)>, LoadError> {
        let (d, s) = (
            &self.program.stacks[d as usize],
            &self.program.stacks[s as usize],
        );
        if d.headers.len() != s.headers.len() {
            return Err(at.error(format!(
                "stacks `{}` and `{}` differ in size",
                d.name, s.name
            )));
        }
        Ok(d.headers
            .iter()
            .copied()
            .zip(s.headers.iter().copied())
            .collect())
    }

    fn assign(&mut self, d: u32, s: u32, at: &At<'_>) -> Result<(), LoadError> {
        let (to, from) = (
            &self.program.headers[d as usize],
            &self.program.headers[s as usize],
        );
        if to.span.words != from.span.words || to.metadata != from.metadata {
            return Err(at.error("headers of different types are assigned"));
        }
        self.emit(Op::AssignHeader { d, s });
        Ok(())
    }

    fn assign_header(&mut self, d: &At<'_>, s: &At<'_>, scope: &Scope) -> Result<(), LoadError> {
        let (to, from) = (self.header_ref(d, scope)?, self.header_ref(s, scope)?);
        self.copy_header(to, from, d)
    }

    /// Assigns one header to another. What is indexed at run time is a chain of comparisons, which
    /// is short as stacks are.
    fn copy_header(
        &mut self,
        to: HeaderRef,
        from: HeaderRef,
        at: &At<'_>,
    ) -> Result<(), LoadError> {
        match (to, from) {
            (HeaderRef::Fixed(to), HeaderRef::Fixed(from)) => self.assign(to, from, at),
            (to, HeaderRef::Choice(condition, a, b)) => {
                let otherwise = self.branch(&condition, false, at)?;
                self.copy_header(to.clone(), *a, at)?;
                let end = self.program.code.len();
                self.emit(Op::Jump(0));
                let here = self.pc();
                otherwise
                    .into_iter()
                    .for_each(|jump| self.patch(jump, here));
                self.copy_header(to, *b, at)?;
                let here = self.pc();
                self.patch(end, here);
                Ok(())
            }
            (HeaderRef::Element { stack, index }, from) => {
                let i = self.word(&index, at)?;
                self.for_each_element(stack, i, at, |l, to| {
                    l.copy_header(HeaderRef::Fixed(to), from.clone(), at)
                })
            }
            (to, HeaderRef::Element { stack, index }) => {
                let i = self.word(&index, at)?;
                self.for_each_element(stack, i, at, |l, from| {
                    l.copy_header(to.clone(), HeaderRef::Fixed(from), at)
                })
            }
            (HeaderRef::Choice(..), _) => Err(at.error("expected one header, not one of two")),
        }
    }

    /// Code that runs for the element whose index is in the word `i`.
    fn for_each_element(
        &mut self,
        stack: u32,
        i: u32,
        at: &At<'_>,
        mut code: impl FnMut(&mut Self, u32) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        for (position, header) in self.elements(stack) {
            let b = self.constant(&[position]).loc;
            let c = self.temporary(1, at)?.loc;
            self.emit(Op::Eq { d: c, a: i, b });
            let skip = self.program.code.len();
            self.emit(Op::JumpIfZero { c, to: 0 });
            code(self, header)?;
            let here = self.pc();
            self.patch(skip, here);
        }
        Ok(())
    }

    /// Assigns all elements of a stack, and its `nextIndex`.
    pub(super) fn assign_stack(&mut self, d: u32, s: u32, at: &At<'_>) -> Result<(), LoadError> {
        for (d, s) in self.pair(d, s, at)? {
            self.assign(d, s, at)?;
        }
        self.emit(Op::CopyStackNext { d, s });
        Ok(())
    }

    fn elements(&self, stack: u32) -> Vec<(u64, u32)> {
        let headers = &self.program.stacks[stack as usize].headers;
        headers
            .iter()
            .enumerate()
            .map(|(i, &header)| (i as u64, header))
            .collect()
    }

    /// Skips the next instruction unless the index is `position`.
    fn when_index(&mut self, i: u32, position: u64, at: &At<'_>) -> Result<(), LoadError> {
        let b = self.constant(&[position]).loc;
        let c = self.temporary(1, at)?.loc;
        self.emit(Op::Eq { d: c, a: i, b });
        let to = self.pc() + 2;
        self.emit(Op::JumpIfZero { c, to });
        Ok(())
    }

    /// The action with this id in the document.
    pub(super) fn action_with_id(&self, at: &At<'_>) -> Result<ActionHandle, LoadError> {
        match self.action_ids.get(&at.id()?) {
            Some(&action) => Ok(ActionHandle(action)),
            None => Err(at.error("no action has this id")),
        }
    }
}
