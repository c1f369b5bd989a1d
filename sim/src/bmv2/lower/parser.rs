//! The parser: states, their operations and transitions; the deparser's order.

use std::collections::HashMap;

use super::super::json::{At, LoadError, bit_length};
use super::expr::{Expr, Place};
use super::{Lowering, Scope};
use crate::program::{Case, KeyPart, Note, Op, Pc, Transition, ValueSet};

impl Lowering {
    /// Parser value sets are declared before the states that use them.
    pub(super) fn value_sets(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        for node in root.list("parse_vsets")? {
            let name = node.text("name")?.to_owned();
            let width = node.get("compressed_bitwidth")?.number(2048)? as u32;
            let size = match node.opt("max_size")? {
                Some(size) => size.number(1 << 30)? as usize,
                None => 1 << 20,
            };
            self.value_set_index
                .insert(name.clone(), self.program.value_sets.len() as u32);
            self.program.value_sets.push(ValueSet { parts: Vec::new() });
            self.infos
                .value_sets
                .push(crate::control::ValueSetInfo { name, width, size });
        }
        Ok(())
    }

    /// The parser named `parser`, which is the only one of a v1model program.
    pub(super) fn parser(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        let parsers_at = root.get("parsers")?;
        let parsers = parsers_at.items()?;
        let [parser] = parsers.as_slice() else {
            return Err(parsers_at.error("v1model has exactly one parser"));
        };
        let states = parser.get("parse_states")?.items()?;
        // Accepting is state 0 of the code; the others follow in order, patched when all are known.
        let accept = self.pc();
        self.note(|| Note::Accept);
        self.emit(Op::Stop);
        let mut starts: HashMap<&str, Pc> = HashMap::new();
        let first_transition = self.program.transitions.len();
        let mut targets = Vec::new();
        for state in &states {
            let start = self.pc();
            if starts.insert(state.text("name")?, start).is_some() {
                return Err(state.error("two states have this name"));
            }
            let name = state.text("name")?.to_owned();
            self.note(|| Note::State(name));
            for op in state.list("parser_ops")? {
                self.statement();
                self.parser_op(&op)?;
                self.note_extracted();
            }
            targets.push(self.transition(state)?);
        }
        let resolve = |at: &Option<At<'_>>| match at {
            None => Ok(accept),
            Some(at) => match starts.get(at.str()?) {
                Some(&pc) => Ok(pc),
                None => Err(at.error("no parser state has this name")),
            },
        };
        for (i, (cases, default)) in targets.iter().enumerate() {
            let transition = &mut self.program.transitions[first_transition + i];
            for ((_, pc), target) in transition.cases.iter_mut().zip(cases) {
                *pc = resolve(target)?;
            }
            transition.default = resolve(default)?;
        }
        let init = parser.get("init_state")?;
        self.program.parser = match init.is_null() {
            true => accept,
            false => resolve(&Some(init))?,
        };
        Ok(())
    }

    fn parser_op(&mut self, node: &At<'_>) -> Result<(), LoadError> {
        let scope = Scope::default();
        let op_at = node.get("op")?;
        let params = node.get("parameters")?.items()?;
        let first = params
            .first()
            .ok_or_else(|| node.error("an operation without parameters"))?;
        match (op_at.str()?, params.as_slice()) {
            ("extract", [what]) => {
                let value = what.get("value")?;
                match what.text("type")? {
                    "regular" => {
                        let header = self.header_named(&value)?;
                        self.check_fixed(header, &value)?;
                        self.emit(Op::Extract(header));
                    }
                    "stack" => {
                        let stack = self.stack_named(&value)?;
                        self.check_fixed(self.program.stacks[stack as usize].headers[0], &value)?;
                        self.emit(Op::ExtractNext(stack));
                    }
                    "union_stack" => {
                        let [stack_at, member_at] = value.tuple()?;
                        let stack = self.union_stack_member(&stack_at, &member_at)?;
                        self.check_fixed(self.program.stacks[stack as usize].headers[0], &value)?;
                        self.emit(Op::ExtractNext(stack));
                    }
                    other => return Err(what.error(format!("extract to `{other}`: unsupported"))),
                }
                Ok(())
            }
            ("extract_VL", [what, length]) => {
                let value = what.get("value")?;
                let bits = self.expr(length, &scope)?;
                let bits = self.word(&bits, length)?;
                let (header, op) = match what.text("type")? {
                    "regular" => {
                        let header = self.header_named(&value)?;
                        (header, Op::ExtractVarbit { header, bits })
                    }
                    "stack" => {
                        let stack = self.stack_named(&value)?;
                        let header = self.program.stacks[stack as usize].headers[0];
                        (header, Op::ExtractNextVarbit { stack, bits })
                    }
                    "union_stack" => {
                        let [stack_at, member_at] = value.tuple()?;
                        let stack = self.union_stack_member(&stack_at, &member_at)?;
                        let header = self.program.stacks[stack as usize].headers[0];
                        (header, Op::ExtractNextVarbit { stack, bits })
                    }
                    other => return Err(what.error(format!("extract to `{other}`: unsupported"))),
                };
                if self.program.headers[header as usize].varbit.is_none() {
                    return Err(value.error("the header has no varbit"));
                }
                self.emit(op);
                Ok(())
            }
            ("set", [place, value]) => {
                let place = self.place(place, &scope)?;
                let value = self.expr(value, &scope)?;
                self.store(&place, &value, node)
            }
            ("verify", [condition, error]) => {
                let condition = self.expr(condition, &scope)?;
                let c = self.word(&condition, node)?;
                let error = self.expr(error, &scope)?;
                let error = self.word(&error, node)?;
                self.emit(Op::Verify { c, error });
                Ok(())
            }
            ("advance", [bits]) => {
                let bits = self.expr(bits, &scope)?;
                let bits = self.word(&bits, node)?;
                self.emit(Op::Advance { bits });
                Ok(())
            }
            ("shift", [bytes]) => {
                let bytes = bytes.number(1 << 16)?;
                let bits = self.constant(&[bytes * 8]).loc;
                self.emit(Op::Advance { bits });
                Ok(())
            }
            ("primitive", [_]) => {
                self.note_before(first, &scope)?;
                self.primitive(first, &scope)?;
                self.note_after(first, &scope)
            }
            (op, _) => Err(node.error(format!(
                "parser operation `{op}` with {} parameters is not supported",
                params.len()
            ))),
        }
    }

    fn check_fixed(&self, header: u32, at: &At<'_>) -> Result<(), LoadError> {
        let header = &self.program.headers[header as usize];
        if header.varbit.is_some() || header.metadata {
            return Err(at.error("metadata, or a header with a varbit, is extracted as a header"));
        }
        Ok(())
    }

    /// Emits a state's transition; its targets are the names of states, `None` for the end.
    #[allow(clippy::type_complexity)]
    fn transition<'a>(
        &mut self,
        state: &At<'a>,
    ) -> Result<(Vec<Option<At<'a>>>, Option<At<'a>>), LoadError> {
        let mut key = Vec::new();
        let mut widths = Vec::new();
        self.statement();
        for part in state.list("transition_key")? {
            let expr = self.expr(&part, &Scope::default())?;
            key.push(match &expr {
                Expr::Place(Place::Slot { span, width, .. }) => {
                    widths.push(*width);
                    KeyPart::Words(*span)
                }
                Expr::Lookahead { offset, bits } => {
                    widths.push(*bits);
                    KeyPart::Lookahead {
                        offset: *offset,
                        bits: *bits,
                    }
                }
                Expr::Place(Place::Element { width, .. }) => {
                    widths.push(*width);
                    let span = self.temporary(width.div_ceil(64), &part)?;
                    let slot = Place::Slot {
                        span,
                        width: *width,
                        signed: false,
                    };
                    self.store(&slot, &expr, &part)?;
                    KeyPart::Words(span)
                }
                _ => return Err(part.error("expected a field or a lookahead")),
            });
        }
        let words: u32 = key.iter().map(|part| part.words()).sum();
        let mut cases = Vec::new();
        let mut targets = Vec::new();
        let mut default = None;
        for node in state.list("transitions")? {
            // Older documents have no type, and the value "default".
            let kind = match node.opt("type")? {
                Some(kind) => kind.str()?,
                None if node.get("value")?.value.as_str() == Some("default") => "default",
                None => "hexstr",
            };
            let next = node.opt("next_state")?;
            match kind {
                "default" => {
                    default = next;
                    continue;
                }
                "hexstr" => {
                    let value = split(&node.get("value")?, &widths)?;
                    let mask = match node.opt("mask")? {
                        Some(mask) => split(&mask, &widths)?,
                        None => all_ones(&widths),
                    };
                    let value: Box<[u64]> = value.iter().zip(&mask).map(|(v, m)| v & m).collect();
                    cases.push((
                        match (&value[..], &mask[..]) {
                            ([value], [mask]) => Case::Word {
                                value: *value,
                                mask: *mask,
                            },
                            _ => Case::Words {
                                value,
                                mask: mask.into(),
                            },
                        },
                        0,
                    ));
                }
                "parse_vset" => {
                    let name = node.get("value")?;
                    let Some(&set) = self.value_set_index.get(name.str()?) else {
                        return Err(name.error("no value set has this name"));
                    };
                    let sum: u32 = widths.iter().sum();
                    if sum != self.infos.value_sets[set as usize].width {
                        return Err(name.error("the key is not as wide as the value set"));
                    }
                    let parts = &mut self.program.value_sets[set as usize].parts;
                    if parts.is_empty() {
                        parts.clone_from(&widths);
                    } else if *parts != widths {
                        return Err(name.error("two states use the set with different keys"));
                    }
                    let mask = match node.opt("mask")? {
                        Some(mask) => Some(split(&mask, &widths)?.into()),
                        None => None,
                    };
                    cases.push((Case::ValueSet { set, mask }, 0));
                }
                other => return Err(node.error(format!("transition `{other}`: unsupported"))),
            }
            targets.push(next);
        }
        let fields = key
            .iter()
            .zip(&widths)
            .filter_map(|(part, width)| match part {
                KeyPart::Words(span) => Some((*span, *width)),
                KeyPart::Lookahead { .. } => None,
            });
        let fields: Vec<_> = fields.collect();
        if !fields.is_empty() {
            self.note(|| Note::Select(fields));
        }
        let index = self.program.transitions.len() as u32;
        self.program.transitions.push(Transition {
            key,
            words,
            cases,
            default: 0,
        });
        self.emit(Op::Transition(index));
        Ok((targets, default))
    }

    /// The deparser named `deparser`, the only one.
    pub(super) fn deparser(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        let deparsers_at = root.get("deparsers")?;
        let deparsers = deparsers_at.items()?;
        let [deparser] = deparsers.as_slice() else {
            return Err(deparsers_at.error("v1model has exactly one deparser"));
        };
        let statements = deparser.list("primitives")?;
        if !statements.is_empty() {
            self.program.deparser = Some(self.pc());
            self.primitives(&statements, &Scope::default())?;
            self.emit(Op::Stop);
        }
        for name in deparser.get("order")?.items()? {
            let header = self.header_named(&name)?;
            if self.program.headers[header as usize].metadata {
                return Err(name.error("metadata cannot be emitted"));
            }
            self.program.deparse_order.push(header);
        }
        Ok(())
    }
}

fn all_ones(widths: &[u32]) -> Vec<u64> {
    let mut words = Vec::new();
    for &width in widths {
        for word in 0..width.div_ceil(64) {
            let bits = (width - word * 64).min(64);
            words.push(u64::MAX >> (64 - bits));
        }
    }
    words
}

/// Splits a byte-padded concatenation into the words of its parts.
fn split(at: &At<'_>, widths: &[u32]) -> Result<Vec<u64>, LoadError> {
    let (negative, value) = at.hex()?;
    let total: u32 = widths.iter().map(|w| w.div_ceil(8) * 8).sum();
    if negative || bit_length(&value) > u64::from(total) || widths.is_empty() {
        return Err(at.error("the value does not have the width of the transition key"));
    }
    let word = |i: u32| value.get(i as usize).copied().unwrap_or(0);
    let mut words = Vec::new();
    let mut end = total;
    for &width in widths {
        // The part occupies the bits [start, end) of the number.
        let start = end - width.div_ceil(8) * 8;
        for limb in 0..width.div_ceil(64) {
            let at_bit = start + limb * 64;
            let low = word(at_bit / 64) >> (at_bit % 64);
            let high = match at_bit % 64 {
                0 => 0,
                shift => word(at_bit / 64 + 1) << (64 - shift),
            };
            let padded = (width.div_ceil(8) * 8 - limb * 64).min(64);
            words.push((low | high) & (u64::MAX >> (64 - padded)));
        }
        end = start;
    }
    Ok(words)
}
