//! Expressions as the document has them: typed, with every name resolved.

use super::super::json::{At, LoadError, bit_length};
use super::{Lowering, Scope};
use crate::program::{Loc, Span, StackField};

/// Where a value can be stored and read.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A field of a known header, an action's argument.
    Slot {
        span: Span,
        width: u32,
        signed: bool,
    },
    /// A field of a stack's element.
    Element {
        field: u32,
        index: Box<Expr>,
        width: u32,
        signed: bool,
    },
    /// A varbit field: the header.
    Varbit { header: u32 },
}

/// A header.
#[derive(Debug, Clone)]
pub(super) enum HeaderRef {
    Fixed(u32),
    Element {
        stack: u32,
        index: Box<Expr>,
    },
    /// The first if the condition holds, else the second.
    Choice(Box<Expr>, Box<HeaderRef>, Box<HeaderRef>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    BoolAnd,
    BoolOr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    /// `two_comp_mod`
    Wrap,
    /// `usat_cast`
    Unsigned,
    /// `sat_cast`
    Signed,
}

/// An expression. Arithmetic is on integers without bounds, as in BMv2; p4c writes the masks.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    Const {
        negative: bool,
        words: Vec<u64>,
    },
    Place(Place),
    /// A word that is 0 or 1, or small.
    Word {
        loc: Loc,
        bits: u32,
    },
    Not(Box<Expr>),
    BoolNot(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Cast(Cast, Box<Expr>, u32),
    Ternary(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A stack's last index.
    LastIndex(u32),
    /// Whether two headers' varbits are equal.
    VarbitEqual(u32, u32),
    /// A cell of a register array (P4-14).
    Register {
        array: u32,
        index: Box<Expr>,
        width: u32,
    },
    /// Bits of the packet ahead.
    Lookahead {
        offset: u32,
        bits: u32,
    },
}

/// The values an expression may have: from −2^bits (or 0) to 2^bits − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) negative: bool,
    pub(super) bits: u32,
}

/// Beyond this many bits an expression is "too wide" anyway.
const BITS_CAP: u32 = 1 << 20;

impl Bounds {
    /// Words in which any of these values fits in two's complement, or unsigned.
    pub(super) fn words(self) -> u32 {
        (self.bits + u32::from(self.negative)).div_ceil(64).max(1)
    }

    fn union(self, other: Bounds) -> Bounds {
        Bounds {
            negative: self.negative || other.negative,
            bits: self.bits.max(other.bits),
        }
    }
}

impl Expr {
    pub(super) fn constant(value: u64) -> Expr {
        Expr::Const {
            negative: false,
            words: if value == 0 { vec![] } else { vec![value] },
        }
    }

    /// The value of a small constant.
    pub(super) fn as_small(&self) -> Option<u32> {
        match self {
            Expr::Const {
                negative: false,
                words,
            } => match words.as_slice() {
                [] => Some(0),
                [word] => u32::try_from(*word).ok(),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let boolean = Bounds {
            negative: false,
            bits: 1,
        };
        let mut bounds = match self {
            Expr::Const { negative, words } => Bounds {
                negative: *negative,
                bits: bit_length(words) as u32,
            },
            Expr::Place(
                Place::Slot { width, signed, .. } | Place::Element { width, signed, .. },
            ) => {
                if *signed {
                    Bounds {
                        negative: true,
                        bits: width.saturating_sub(1),
                    }
                } else {
                    Bounds {
                        negative: false,
                        bits: *width,
                    }
                }
            }
            Expr::Place(Place::Varbit { .. }) => boolean,
            Expr::Word { bits, .. } | Expr::Lookahead { bits, .. } => Bounds {
                negative: false,
                bits: *bits,
            },
            Expr::LastIndex(_) => Bounds {
                negative: false,
                bits: 32,
            },
            Expr::Not(a) => Bounds {
                negative: true,
                bits: a.bounds().bits,
            },
            Expr::BoolNot(_) | Expr::VarbitEqual(..) => boolean,
            Expr::Register { width, .. } => Bounds {
                negative: false,
                bits: *width,
            },
            Expr::Cast(Cast::Unsigned, _, bits) => Bounds {
                negative: false,
                bits: *bits,
            },
            Expr::Cast(_, _, bits) => Bounds {
                negative: true,
                bits: bits.saturating_sub(1),
            },
            Expr::Ternary(_, a, b) => a.bounds().union(b.bounds()),
            Expr::Binary(op, a, b) => match op {
                Binary::Eq
                | Binary::Ne
                | Binary::Lt
                | Binary::Le
                | Binary::BoolAnd
                | Binary::BoolOr => boolean,
                _ => arithmetic_bounds(*op, a.bounds(), b.bounds(), b.as_small()),
            },
        };
        bounds.bits = bounds.bits.min(BITS_CAP);
        bounds
    }
}

fn arithmetic_bounds(op: Binary, a: Bounds, b: Bounds, constant: Option<u32>) -> Bounds {
    let either = a.negative || b.negative;
    match op {
        Binary::Add => Bounds {
            negative: either,
            bits: a.bits.max(b.bits) + 1,
        },
        Binary::Sub => Bounds {
            negative: true,
            bits: a.bits.max(b.bits) + 1,
        },
        Binary::Mul => Bounds {
            negative: either,
            bits: a.bits + b.bits + 1,
        },
        Binary::And => match (a.negative, b.negative) {
            (false, false) => Bounds {
                negative: false,
                bits: a.bits.min(b.bits),
            },
            (false, true) => a,
            (true, false) => b,
            (true, true) => a.union(b),
        },
        Binary::Shl => {
            let most = constant.unwrap_or(1u32.checked_shl(b.bits).unwrap_or(BITS_CAP));
            Bounds {
                negative: a.negative,
                bits: a.bits.saturating_add(most).min(BITS_CAP),
            }
        }
        Binary::Shr => Bounds {
            negative: a.negative,
            bits: a.bits.saturating_sub(constant.unwrap_or(0)),
        },
        // The least value by −1 is one bit more.
        Binary::Div => Bounds {
            negative: either,
            bits: a.bits + u32::from(either),
        },
        Binary::Mod => Bounds {
            negative: a.negative,
            bits: if either { a.bits.max(b.bits) } else { b.bits },
        },
        _ => a.union(b),
    }
}

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
    fn element_field(
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
    fn last_field(
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

    /// `[header, field]` where the header is an operation: an element of a stack.
    fn field_of_operation(&mut self, at: &At<'_>, scope: &Scope) -> Result<Expr, LoadError> {
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

    /// `{"type": …, "value": …}` that has a value.
    pub(super) fn expr(&mut self, at: &At<'_>, scope: &Scope) -> Result<Expr, LoadError> {
        let value = at.get("value")?;
        match at.text("type")? {
            "field"
                if value
                    .items()?
                    .first()
                    .is_some_and(|at| at.value.is_object()) =>
            {
                self.field_of_operation(&value, scope)
            }
            "field" => Ok(Expr::Place(self.field_place(&value)?)),
            "hexstr" => {
                let (negative, words) = value.hex()?;
                Ok(Expr::Const { negative, words })
            }
            "bool" => Ok(Expr::constant(u64::from(value.bool()?))),
            "local" | "runtime_data" => {
                let index = value.number(u64::from(u32::MAX))? as usize;
                match scope.args.get(index) {
                    Some(&(span, width)) => Ok(Expr::Place(Place::Slot {
                        span,
                        width,
                        signed: false,
                    })),
                    None => Err(value.error("the action has no such parameter")),
                }
            }
            "stack_field" => {
                let [stack_at, field_at] = value.tuple()?;
                let stack = self.stack_named(&stack_at)?;
                self.last_field(stack, &field_at, &value)
            }
            "union_stack_field" => {
                let [stack_at, member_at, field_at] = value.tuple()?;
                let stack = self.union_stack_member(&stack_at, &member_at)?;
                self.last_field(stack, &field_at, &value)
            }
            "register" => {
                let [array_at, index_at] = value.tuple()?;
                let Some(&array) = self.register_index.get(array_at.str()?) else {
                    return Err(array_at.error("no register array has this name"));
                };
                let index = Box::new(self.expr(&index_at, scope)?);
                let width = self.program.registers[array as usize].width;
                Ok(Expr::Register {
                    array,
                    index,
                    width,
                })
            }
            "lookahead" => {
                let [offset, bits] = value.tuple()?;
                let offset = offset.number(1 << 16)? as u32;
                let bits = match bits.number(2048)? as u32 {
                    0 => return Err(value.error("a lookahead of no bits")),
                    bits => bits,
                };
                Ok(Expr::Lookahead { offset, bits })
            }
            "expression" if value.opt("op")?.is_none() => self.expr(&value, scope),
            "expression" => self.operation(&value, scope),
            "header" => {
                let header = self.header_named(&value)?;
                let loc = self.program.headers[header as usize].valid;
                Ok(Expr::Word { loc, bits: 1 })
            }
            other => Err(at.error(format!("`{other}` is not supported in an expression"))),
        }
    }

    fn operation(&mut self, at: &At<'_>, scope: &Scope) -> Result<Expr, LoadError> {
        let op_at = at.get("op")?;
        let op = op_at.str()?;
        let right_at = at.get("right")?;
        match op {
            "~" => return Ok(Expr::Not(Box::new(self.expr(&right_at, scope)?))),
            "not" => return Ok(Expr::BoolNot(Box::new(self.expr(&right_at, scope)?))),
            "b2d" => return self.expr(&right_at, scope),
            "d2b" => {
                let data = Box::new(self.expr(&right_at, scope)?);
                return Ok(Expr::Binary(Binary::Ne, data, Box::new(Expr::constant(0))));
            }
            "valid" => return self.validity(&right_at, scope),
            "valid_union" => {
                let mut any = Expr::constant(0);
                for member in self.union_ref(&right_at, scope)? {
                    let valid = Box::new(self.valid(&member, &right_at)?);
                    any = Expr::Binary(Binary::BoolOr, Box::new(any), valid);
                }
                return Ok(any);
            }
            "last_stack_index" => {
                let stack = self.stack_named(&right_at.get("value")?)?;
                return Ok(Expr::LastIndex(stack));
            }
            "size_stack" => {
                let stack = self.stack_named(&right_at.get("value")?)?;
                let loc = self.program.stacks[stack as usize].next;
                return Ok(Expr::Word { loc, bits: 32 });
            }
            "access_field" => {
                let header = self.header_ref(&at.get("left")?, scope)?;
                let position = right_at.number(1 << 16)? as usize;
                return self.access_field(&header, position, &right_at);
            }
            _ => {}
        }
        if op == "?" {
            let condition = self.expr(&at.get("cond")?, scope)?;
            let left = self.expr(&at.get("left")?, scope)?;
            let right = self.expr(&right_at, scope)?;
            return Ok(Expr::Ternary(
                Box::new(condition),
                Box::new(left),
                Box::new(right),
            ));
        }
        let left_at = at.get("left")?;
        if op == "==" || op == "!=" {
            let equal = match operand(&left_at) {
                Operand::Header => {
                    let a = self.header_ref(&left_at, scope)?;
                    let b = self.header_ref(&right_at, scope)?;
                    Some(self.headers_equal(&a, &b, &left_at)?)
                }
                Operand::Union => {
                    let a = self.union_ref(&left_at, scope)?;
                    let b = self.union_ref(&right_at, scope)?;
                    let mut any = Expr::constant(0);
                    for (a, b) in a.iter().zip(&b) {
                        let same = Box::new(self.headers_equal(a, b, &left_at)?);
                        any = Expr::Binary(Binary::BoolOr, Box::new(any), same);
                    }
                    Some(any)
                }
                Operand::Data => None,
            };
            if let Some(equal) = equal {
                return Ok(match op {
                    "!=" => Expr::BoolNot(Box::new(equal)),
                    _ => equal,
                });
            }
        }
        let left = match left_at.is_null() {
            true if op == "-" || op == "+" => Expr::constant(0),
            _ => self.expr(&left_at, scope)?,
        };
        let right = self.expr(&right_at, scope)?;
        if let (
            Expr::Place(Place::Varbit { header: a }),
            Expr::Place(Place::Varbit { header: b }),
        ) = (&left, &right)
        {
            let equal = Expr::VarbitEqual(*a, *b);
            return match op {
                "==" => Ok(equal),
                "!=" => Ok(Expr::BoolNot(Box::new(equal))),
                _ => Err(op_at.error("varbits can only be compared for equality")),
            };
        }
        let (left, right) = (Box::new(left), Box::new(right));
        let cast = match op {
            "two_comp_mod" => Some(Cast::Wrap),
            "usat_cast" => Some(Cast::Unsigned),
            "sat_cast" => Some(Cast::Signed),
            _ => None,
        };
        if let Some(cast) = cast {
            return match right.as_small() {
                Some(bits @ 1..=2048) => Ok(Expr::Cast(cast, left, bits)),
                _ => Err(right_at.error("expected a constant width from 1 to 2048")),
            };
        }
        let (op, swap) = match op {
            "+" => (Binary::Add, false),
            "-" => (Binary::Sub, false),
            "*" => (Binary::Mul, false),
            "/" => (Binary::Div, false),
            "%" => (Binary::Mod, false),
            "&" => (Binary::And, false),
            "|" => (Binary::Or, false),
            "^" => (Binary::Xor, false),
            "<<" => (Binary::Shl, false),
            ">>" => (Binary::Shr, false),
            "==" => (Binary::Eq, false),
            "!=" => (Binary::Ne, false),
            "<" => (Binary::Lt, false),
            "<=" => (Binary::Le, false),
            ">" => (Binary::Lt, true),
            ">=" => (Binary::Le, true),
            "and" => (Binary::BoolAnd, false),
            "or" => (Binary::BoolOr, false),
            _ => return Err(op_at.error(format!("operator `{op}` is not supported"))),
        };
        Ok(match swap {
            true => Expr::Binary(op, right, left),
            false => Expr::Binary(op, left, right),
        })
    }

    fn validity(&mut self, at: &At<'_>, scope: &Scope) -> Result<Expr, LoadError> {
        let header = self.header_ref(at, scope)?;
        self.valid(&header, at)
    }

    /// Whether a header is valid.
    fn valid(&mut self, header: &HeaderRef, at: &At<'_>) -> Result<Expr, LoadError> {
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

    fn access_field(
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

    /// Any header that a reference may mean: all have one type.
    fn example(&self, header: &HeaderRef) -> u32 {
        match header {
            HeaderRef::Fixed(header) => *header,
            HeaderRef::Element { stack, .. } => self.program.stacks[*stack as usize].headers[0],
            HeaderRef::Choice(_, a, _) => self.example(a),
        }
    }

    /// Headers are equal when both are valid and all their fields are.
    fn headers_equal(
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

/// What an operand of `==` is.
enum Operand {
    Data,
    Header,
    Union,
}

fn operand(at: &At<'_>) -> Operand {
    match at.text("type") {
        Ok("header") => return Operand::Header,
        Ok("header_union") => return Operand::Union,
        Ok("expression") => {}
        _ => return Operand::Data,
    }
    let Ok(value) = at.get("value") else {
        return Operand::Data;
    };
    match value.text("op") {
        Ok("dereference_header_stack" | "dereference_stack" | "access_union_header") => {
            Operand::Header
        }
        Ok("dereference_union_stack") => Operand::Union,
        Ok("?") => value
            .get("left")
            .map_or(Operand::Data, |left| operand(&left)),
        Ok(_) => Operand::Data,
        Err(_) => operand(&value),
    }
}
