//! Reading references to headers, chosen at run time or not, and what can be asked of the header.

use super::super::json::{At, LoadError};
use super::expr::{Binary, Expr, HeaderRef, Place};
use super::{Lowering, Scope};

impl Lowering {
    /// `{"type": …, "value": …}` that names a header.
    pub(super) fn header_ref(
        &mut self,
        at: &At<'_>,
        scope: &Scope,
    ) -> Result<HeaderRef, LoadError> {
        let value = at.get("value")?;
        match at.text("type")? {
            "header" => Ok(HeaderRef::Fixed(self.header_named(&value)?)),
            // `stack.last`
            "stack_field" => {
                let parts = value.items()?;
                match parts.as_slice() {
                    [stack] | [stack, _] => {
                        let stack = self.stack_named(stack)?;
                        let index = Box::new(Expr::LastIndex(stack));
                        Ok(HeaderRef::Element { stack, index })
                    }
                    _ => Err(value.error("expected a stack")),
                }
            }
            "expression" if value.opt("op")?.is_none() => self.header_ref(&value, scope),
            "expression" => self.header_operation(&value, scope),
            other => Err(at.error(format!("expected a header, found a `{other}`"))),
        }
    }

    /// `{"op": …, "left": …, "right": …}` that gives a header.
    fn header_operation(&mut self, value: &At<'_>, scope: &Scope) -> Result<HeaderRef, LoadError> {
        match value.text("op")? {
            "dereference_header_stack" | "dereference_stack" => {
                let left = value.get("left")?;
                let stack = self.stack_named(&left.get("value")?)?;
                let index = self.expr(&value.get("right")?, scope)?;
                self.element(stack, index, value)
            }
            "access_union_header" => {
                let members = self.union_ref(&value.get("left")?, scope)?;
                let position = value.get("right")?;
                let at = position.number(1 << 16)? as usize;
                match members.into_iter().nth(at) {
                    Some(member) => Ok(member),
                    None => Err(position.error("the header union has no such member")),
                }
            }
            "?" => {
                let condition = self.expr(&value.get("cond")?, scope)?;
                let left = self.header_ref(&value.get("left")?, scope)?;
                let right = self.header_ref(&value.get("right")?, scope)?;
                Ok(HeaderRef::Choice(
                    Box::new(condition),
                    Box::new(left),
                    Box::new(right),
                ))
            }
            op => Err(value.error(format!("operator `{op}` does not give a header"))),
        }
    }

    /// An element of a stack.
    pub(super) fn element(
        &self,
        stack: u32,
        index: Expr,
        at: &At<'_>,
    ) -> Result<HeaderRef, LoadError> {
        let Some(i) = index.as_small() else {
            let index = Box::new(index);
            return Ok(HeaderRef::Element { stack, index });
        };
        let headers = &self.program.stacks[stack as usize].headers;
        match headers.get(i as usize) {
            Some(&header) => Ok(HeaderRef::Fixed(header)),
            None => Err(at.error("the index is beyond the end of the stack")),
        }
    }

    /// `[header, field]` where the header is an operation: an element of a stack.
    pub(super) fn field_of_operation(
        &mut self,
        at: &At<'_>,
        scope: &Scope,
    ) -> Result<Expr, LoadError> {
        let [header_at, field_at] = at.tuple()?;
        let header = self.header_operation(&header_at, scope)?;
        let name = field_at.str()?;
        if name == "$valid$" {
            return self.valid(&header, at);
        }
        let example = &self.program.headers[self.example(&header) as usize];
        match example.fields.iter().position(|field| field.name == name) {
            Some(position) => self.access_field(&header, position, at),
            None => {
                let header = &example.name;
                Err(field_at.error(format!("header `{header}` has no field `{name}`")))
            }
        }
    }

    pub(super) fn access_field(
        &mut self,
        header: &HeaderRef,
        position: usize,
        at: &At<'_>,
    ) -> Result<Expr, LoadError> {
        match header {
            HeaderRef::Fixed(index) => {
                let header = &self.program.headers[*index as usize];
                match header.fields.get(position) {
                    Some(field) if field.varbit => {
                        Ok(Expr::Place(Place::Varbit { header: *index }))
                    }
                    Some(field) => Ok(Expr::Place(Place::Slot {
                        span: field.span,
                        width: field.width,
                        signed: field.signed,
                    })),
                    None => Err(at.error("the header has no such field")),
                }
            }
            HeaderRef::Element { stack, index } => {
                let index = (**index).clone();
                Ok(Expr::Place(
                    self.element_field(*stack, position, index, at)?,
                ))
            }
            HeaderRef::Choice(condition, a, b) => Ok(Expr::Ternary(
                condition.clone(),
                Box::new(self.access_field(a, position, at)?),
                Box::new(self.access_field(b, position, at)?),
            )),
        }
    }

    pub(super) fn validity(&mut self, at: &At<'_>, scope: &Scope) -> Result<Expr, LoadError> {
        let header = self.header_ref(at, scope)?;
        self.valid(&header, at)
    }

    /// Whether a header is valid.
    pub(super) fn valid(&mut self, header: &HeaderRef, at: &At<'_>) -> Result<Expr, LoadError> {
        match header {
            HeaderRef::Fixed(header) => {
                let loc = self.program.headers[*header as usize].valid;
                Ok(Expr::Word { loc, bits: 1 })
            }
            HeaderRef::Element { stack, .. } => {
                let first = self.program.stacks[*stack as usize].headers[0];
                let hidden = self.program.headers[first as usize].fields.len();
                self.access_field(header, hidden, at)
            }
            HeaderRef::Choice(condition, a, b) => Ok(Expr::Ternary(
                condition.clone(),
                Box::new(self.valid(a, at)?),
                Box::new(self.valid(b, at)?),
            )),
        }
    }

    /// Any header that a reference may mean: all have one type.
    fn example(&self, header: &HeaderRef) -> u32 {
        match header {
            HeaderRef::Fixed(header) => *header,
            HeaderRef::Element { stack, .. } => self.program.stacks[*stack as usize].headers[0],
            HeaderRef::Choice(_, a, _) => self.example(a),
        }
    }

    /// Headers are equal when both are valid and all their fields are.
    pub(super) fn headers_equal(
        &mut self,
        a: &HeaderRef,
        b: &HeaderRef,
        at: &At<'_>,
    ) -> Result<Expr, LoadError> {
        let header = &self.program.headers[self.example(a) as usize];
        if header.type_name != self.program.headers[self.example(b) as usize].type_name {
            return Err(at.error("headers of different types are compared"));
        }
        let varbits: Vec<bool> = header.fields.iter().map(|field| field.varbit).collect();
        let both = |a, b| Expr::Binary(Binary::BoolAnd, Box::new(a), Box::new(b));
        let mut equal = both(self.valid(a, at)?, self.valid(b, at)?);
        for (position, varbit) in varbits.into_iter().enumerate() {
            let same = match (varbit, a, b) {
                (true, HeaderRef::Fixed(a), HeaderRef::Fixed(b)) => Expr::VarbitEqual(*a, *b),
                (true, ..) => {
                    return Err(at.error("headers with a varbit, chosen at run time, are compared"));
                }
                (false, ..) => {
                    let a = Box::new(self.access_field(a, position, at)?);
                    let b = Box::new(self.access_field(b, position, at)?);
                    Expr::Binary(Binary::Eq, a, b)
                }
            };
            equal = both(equal, same);
        }
        Ok(equal)
    }
}
