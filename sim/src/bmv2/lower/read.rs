//! Reading expressions.

use super::super::json::{At, LoadError};
use super::expr::{Binary, Cast, Expr, Place};
use super::{Lowering, Scope};

impl Lowering {
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
