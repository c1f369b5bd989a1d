//! Notes for tracing, emitted only for a program that is loaded for it.

use super::super::json::{At, LoadError};
use super::expr::{Expr, Place};
use super::{Lowering, Scope};
use crate::program::{Note, Op, Span};

/// `file(line)`, if the document says where something is.
pub(super) fn place_of(node: &At<'_>) -> String {
    let info = &node.value["source_info"];
    let file = info["filename"].as_str().unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or(file);
    match info["line"].as_u64() {
        Some(line) if !file.is_empty() => format!("{file}({line})"),
        _ => String::new(),
    }
}

/// The programmer's own text, or a substitute.
pub(super) fn text_of(node: &At<'_>, substitute: &str) -> String {
    match node.value["source_info"]["source_fragment"].as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => substitute.to_owned(),
    }
}

impl Lowering {
    /// Adds a note, if the program is to be traced.
    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(notes) = &mut self.program.trace {
            notes.notes.push(note());
            let index = notes.notes.len() as u32 - 1;
            self.emit(Op::Trace(index));
        }
    }

    pub(super) fn tracing(&self) -> bool {
        self.program.trace.is_some()
    }

    /// Tells of a primitive before it runs, unless what it stores is worth telling too.
    pub(super) fn note_before(&mut self, node: &At<'_>, scope: &Scope) -> Result<(), LoadError> {
        if !self.tracing() || stores(node) {
            return Ok(());
        }
        let op = node.text("op")?;
        if op == "log_msg" {
            return self.note_log(node, scope);
        }
        let (text, place) = (text_of(node, op), place_of(node));
        self.note(|| Note::Statement {
            text,
            place,
            result: None,
        });
        Ok(())
    }

    /// Tells of a primitive that stores something, after it ran.
    pub(super) fn note_after(&mut self, node: &At<'_>, scope: &Scope) -> Result<(), LoadError> {
        if !self.tracing() || !stores(node) {
            return Ok(());
        }
        let first = node.get("parameters")?.items()?.into_iter().next();
        let target = first.as_ref().and_then(|first| {
            let value = &first.value["value"];
            Some(format!("{}.{}", value[0].as_str()?, value[1].as_str()?))
        });
        let result = match first {
            Some(first) => match self.expr(&first, scope)? {
                Expr::Place(Place::Slot { span, width, .. }) => Some((span, width)),
                _ => None,
            },
            None => None,
        };
        let mut text = text_of(node, "...");
        // What the compiler made of a call's arguments does not say where it goes.
        if !text.contains('=')
            && let Some(target) = target
        {
            text = format!("{target} = {text}");
        }
        let place = place_of(node);
        self.note(|| Note::Statement {
            text,
            place,
            result,
        });
        Ok(())
    }

    /// Tells what the parser extracted, if that was the last instruction.
    pub(super) fn note_extracted(&mut self) {
        match self.program.code.last() {
            Some(&(Op::Extract(header) | Op::ExtractVarbit { header, .. })) => {
                self.note(|| Note::Extracted(header));
            }
            Some(&(Op::ExtractNext(stack) | Op::ExtractNextVarbit { stack, .. })) => {
                self.note(|| Note::ExtractedNext(stack));
            }
            _ => {}
        }
    }

    fn note_log(&mut self, node: &At<'_>, scope: &Scope) -> Result<(), LoadError> {
        let mut values = Vec::new();
        let params = node.get("parameters")?.items()?;
        let format = match params.first() {
            Some(format) => format.get("value")?.str()?.to_owned(),
            None => String::new(),
        };
        if let Some(list) = params.get(1) {
            for value in list.get("value")?.items()? {
                let expr = self.expr(&value, scope)?;
                let width = expr.bounds().bits.clamp(1, 2048);
                let span = self.temporary(width.div_ceil(64), &value)?;
                let slot = Place::Slot {
                    span,
                    width,
                    signed: false,
                };
                self.store(&slot, &expr, &value)?;
                values.push((span, width));
            }
        }
        let place = place_of(node);
        self.note(|| Note::Log {
            format,
            place,
            values,
        });
        Ok(())
    }

    /// Tells of a condition: its value is computed once more for it.
    pub(super) fn note_condition(
        &mut self,
        node: &At<'_>,
        condition: &Expr,
    ) -> Result<(), LoadError> {
        if !self.tracing() {
            return Ok(());
        }
        let value = self.word(condition, node)?;
        let (text, place) = (text_of(node, node.text("name")?), place_of(node));
        self.note(|| Note::Condition { text, place, value });
        Ok(())
    }

    pub(super) fn note_apply(&mut self, node: &At<'_>, table: u32) {
        if !self.tracing() {
            return;
        }
        let info = &self.infos.tables[table as usize];
        let name = info.name.clone();
        let keys = info
            .keys
            .iter()
            .zip(&self.program.tables[table as usize].keys);
        let keys: Vec<(String, Span, u32)> = keys
            .map(|(info, key)| (info.name.clone(), key.span, info.width))
            .collect();
        let place = place_of(node);
        self.note(|| Note::Apply {
            table,
            name,
            place,
            keys,
        });
    }
}

/// Whether the first parameter of a primitive is what it stores to.
fn stores(node: &At<'_>) -> bool {
    matches!(
        node.text("op"),
        Ok("assign"
            | "modify_field"
            | "register_read"
            | "modify_field_rng_uniform"
            | "modify_field_with_hash_based_offset")
    )
}
