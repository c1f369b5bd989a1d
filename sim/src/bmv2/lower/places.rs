//! Reading what names a header, a header stack or a field of one.

use super::super::json::{At, LoadError};
use super::expr::{Expr, Place};
use super::{Lowering, Scope};
use crate::program::{Span, StackField};

impl Lowering {
    /// A header by name.
    pub(super) fn header_named(&self, at: &At<'_>) -> Result<u32, LoadError> {
        let name = at.str()?;
        match self.header_index.get(name) {
            Some(&header) => Ok(header),
            None => Err(at.error(format!("no header is named `{name}`"))),
        }
    }

    /// A stack by name.
    pub(super) fn stack_named(&self, at: &At<'_>) -> Result<u32, LoadError> {
        let name = at.str()?;
        match self.stack_index.get(name) {
            Some(&stack) => Ok(stack),
            None => Err(at.error(format!("no header stack is named `{name}`"))),
        }
    }

    /// `[header, field]`; the hidden field `$valid$` included.
    pub(super) fn field_place(&self, at: &At<'_>) -> Result<Place, LoadError> {
        let [header_at, field_at] = at.tuple()?;
        let index = self.header_named(&header_at)?;
        let header = &self.program.headers[index as usize];
        let name = field_at.str()?;
        if name == "$valid$" {
            let span = Span {
                loc: header.valid,
                words: 1,
            };
            return Ok(Place::Slot {
                span,
                width: 1,
                signed: false,
            });
        }
        match header.fields.iter().find(|field| field.name == name) {
            Some(field) if field.varbit => Ok(Place::Varbit { header: index }),
            Some(field) => Ok(Place::Slot {
                span: field.span,
                width: field.width,
                signed: field.signed,
            }),
            None => Err(field_at.error(format!("header `{}` has no field `{name}`", header.name))),
        }
    }

    /// `[header, field]` of a field that is no varbit: its words and width.
    pub(super) fn field_span(&self, at: &At<'_>) -> Result<(Span, u32), LoadError> {
        match self.field_place(at)? {
            Place::Slot { span, width, .. } => Ok((span, width)),
            _ => Err(at.error("a varbit field cannot be used here")),
        }
    }

    /// The field with this position of a stack's elements.
    pub(super) fn element_field(
        &mut self,
        stack: u32,
        field: usize,
        index: Expr,
        at: &At<'_>,
    ) -> Result<Place, LoadError> {
        let stack = &self.program.stacks[stack as usize];
        let first = &self.program.headers[stack.headers[0] as usize];
        // The hidden field comes behind the others.
        let (span, width, signed) = match first.fields.get(field) {
            Some(field) if field.varbit => {
                return Err(at.error("a varbit field cannot be used here"));
            }
            Some(field) => (field.span, field.width, field.signed),
            None if field == first.fields.len() => (
                Span {
                    loc: first.valid,
                    words: 1,
                },
                1,
                false,
            ),
            None => return Err(at.error("the header has no such field")),
        };
        self.program.stack_fields.push(StackField {
            first: span.loc,
            stride: stack.stride,
            count: stack.headers.len() as u32,
            words: span.words,
        });
        let field = self.program.stack_fields.len() as u32 - 1;
        Ok(Place::Element {
            field,
            index: Box::new(index),
            width,
            signed,
        })
    }

    /// `{"type": …, "value": …}` that names something to store to.
    pub(super) fn place(&mut self, at: &At<'_>, scope: &Scope) -> Result<Place, LoadError> {
        match self.expr(at, scope)? {
            Expr::Place(place) => Ok(place),
            _ => Err(at.error("expected something that can be assigned to")),
        }
    }

    /// A field of the last element of a stack.
    pub(super) fn last_field(
        &mut self,
        stack: u32,
        field_at: &At<'_>,
        value: &At<'_>,
    ) -> Result<Expr, LoadError> {
        let name = field_at.str()?;
        let first = self.program.stacks[stack as usize].headers[0];
        let fields = &self.program.headers[first as usize].fields;
        let position = match fields.iter().position(|field| field.name == name) {
            Some(position) => position,
            // The hidden field comes behind the others.
            None if name == "$valid$" => fields.len(),
            None => {
                return Err(field_at.error(format!("the stack's headers have no `{name}`")));
            }
        };
        let index = Expr::LastIndex(stack);
        Ok(Expr::Place(
            self.element_field(stack, position, index, value)?,
        ))
    }
}
