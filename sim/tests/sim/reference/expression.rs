//! Expressions: integers of any size, truncated only where they are stored.

use num_bigint::BigInt;
use serde_json::Value;

use super::Stop;
use super::packet::{Headers, fit};
use super::program::{Program, hex, text};

/// What an expression gives.
#[derive(Debug, Clone)]
pub enum Term {
    Number(BigInt),
    Bool(bool),
    /// By name; `None` is an element beyond the end of its stack.
    Header(Option<String>),
    Stack(String),
    Union(Option<String>),
    UnionStack(String),
}

/// Where a value can be stored; `None` is nowhere.
pub type Place = Option<(String, usize)>;

/// What an expression may read.
pub struct Scope<'a> {
    pub program: &'a Program,
    pub headers: &'a Headers,
    /// Action data.
    pub locals: &'a [BigInt],
}

fn unsupported<T>(what: &str, value: &Value) -> Result<T, Stop> {
    let value = value.to_string();
    let value: String = value.chars().take(200).collect();
    Err(Stop::Unsupported(format!("{what}: {value}")))
}

/// A shift distance that is worth computing: nothing here has so many bits.
fn distance(by: &BigInt) -> u64 {
    u64::try_from(by).unwrap_or(u64::MAX).min(1 << 16)
}

impl Scope<'_> {
    pub fn number(&self, value: &Value) -> Result<BigInt, Stop> {
        match self.term(value)? {
            Term::Number(number) => Ok(number),
            Term::Bool(truth) => Ok(BigInt::from(u8::from(truth))),
            _ => unsupported("not a number", value),
        }
    }

    pub fn truth(&self, value: &Value) -> Result<bool, Stop> {
        match self.term(value)? {
            Term::Bool(truth) => Ok(truth),
            Term::Number(number) => Ok(number != BigInt::default()),
            _ => unsupported("not a boolean", value),
        }
    }

    /// The header that a value names.
    pub fn header(&self, value: &Value) -> Result<Option<String>, Stop> {
        match self.term(value)? {
            Term::Header(name) => Ok(name),
            _ => unsupported("not a header", value),
        }
    }

    pub fn place(&self, value: &Value) -> Result<Place, Stop> {
        match value["type"].as_str() {
            Some("field") => match self.owner(&value["value"][0])? {
                Some(header) => self.field(&header, &value["value"][1]),
                None => Ok(None),
            },
            Some("stack_field") => match self.last(&text(&value["value"][0])) {
                Some(header) => self.field(&header, &value["value"][1]),
                None => Ok(None),
            },
            Some("expression") => self.place(&value["value"]),
            None if value["op"] == "access_field" => {
                let at = value["right"].as_u64().unwrap_or(0) as usize;
                Ok(self.header(&value["left"])?.map(|header| (header, at)))
            }
            _ => unsupported("not a place", value),
        }
    }

    /// The header of a field: a name, or an expression that gives one.
    fn owner(&self, value: &Value) -> Result<Option<String>, Stop> {
        match value {
            Value::String(name) => Ok(Some(name.clone())),
            _ => self.header(value),
        }
    }

    fn field(&self, header: &str, field: &Value) -> Result<Place, Stop> {
        let kind = &self.program.headers[header].kind;
        match kind.field(&text(field)) {
            Some(at) => Ok(Some((header.to_owned(), at))),
            None => unsupported("no such field", field),
        }
    }

    /// The last element of a stack that was filled.
    pub fn last(&self, stack: &str) -> Option<String> {
        let next = *self.headers.next.get(stack).unwrap_or(&0);
        let last = next.checked_sub(1)?;
        self.program.stacks[stack].get(last).cloned()
    }

    fn term(&self, value: &Value) -> Result<Term, Stop> {
        let inner = &value["value"];
        let Some(kind) = value["type"].as_str() else {
            return self.operation(value);
        };
        Ok(match kind {
            "expression" => self.term(inner)?,
            "field" => match self.owner(&inner[0])? {
                Some(header) => Term::Number(self.headers.get(&header, &text(&inner[1]))),
                None => Term::Number(BigInt::default()),
            },
            "hexstr" => Term::Number(hex(inner)),
            "bool" => Term::Bool(inner == true),
            "local" | "runtime_data" => {
                let local = self.locals.get(inner.as_u64().unwrap_or(0) as usize);
                Term::Number(local.cloned().unwrap_or_default())
            }
            "header" => Term::Header(Some(text(inner))),
            "header_stack" => Term::Stack(text(inner)),
            "header_union" => Term::Union(Some(text(inner))),
            "header_union_stack" => Term::UnionStack(text(inner)),
            "stack_field" => match self.last(&text(&inner[0])) {
                Some(header) => Term::Number(self.headers.get(&header, &text(&inner[1]))),
                None => Term::Number(BigInt::default()),
            },
            _ => return unsupported("a value", value),
        })
    }

    fn operation(&self, value: &Value) -> Result<Term, Stop> {
        let (left, right) = (&value["left"], &value["right"]);
        let operation = text(&value["op"]);
        let numbers = || Ok((self.number(left)?, self.number(right)?));
        Ok(match operation.as_str() {
            "and" => Term::Bool(self.truth(left)? && self.truth(right)?),
            "or" => Term::Bool(self.truth(left)? || self.truth(right)?),
            "not" => Term::Bool(!self.truth(right)?),
            "d2b" => Term::Bool(self.truth(right)?),
            "b2d" => Term::Number(BigInt::from(u8::from(self.truth(right)?))),
            "?" if self.truth(&value["cond"])? => self.term(left)?,
            "?" => self.term(right)?,
            "==" => Term::Bool(self.equal(left, right)?),
            "!=" => Term::Bool(!self.equal(left, right)?),
            "valid" => Term::Bool(
                self.header(right)?
                    .is_some_and(|header| self.headers.all[&header].valid),
            ),
            "valid_union" => match self.term(right)? {
                Term::Union(union) => Term::Bool(union.is_some_and(|union| {
                    let members = &self.program.unions[&union];
                    members.iter().any(|header| self.headers.all[header].valid)
                })),
                _ => return unsupported("not a union", right),
            },
            "~" => Term::Number(!self.number(right)?),
            "<" | "<=" | ">" | ">=" => {
                let (a, b) = numbers()?;
                Term::Bool(match operation.as_str() {
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                })
            }
            "+" => numbers().map(|(a, b)| Term::Number(a + b))?,
            "-" if left.is_null() => Term::Number(-self.number(right)?),
            "-" => numbers().map(|(a, b)| Term::Number(a - b))?,
            "*" => numbers().map(|(a, b)| Term::Number(a * b))?,
            "&" => numbers().map(|(a, b)| Term::Number(a & b))?,
            "|" => numbers().map(|(a, b)| Term::Number(a | b))?,
            "^" => numbers().map(|(a, b)| Term::Number(a ^ b))?,
            "<<" => numbers().map(|(a, b)| Term::Number(a << distance(&b)))?,
            ">>" => numbers().map(|(a, b)| Term::Number(a >> distance(&b)))?,
            "/" | "%" => {
                let (a, b) = numbers()?;
                if b <= BigInt::default() || a < BigInt::default() {
                    return Err(Stop::Unpredictable("a division by zero".to_owned()));
                }
                Term::Number(if operation == "/" { a / b } else { a % b })
            }
            "two_comp_mod" => {
                let (a, width) = numbers()?;
                Term::Number(fit(&a, distance(&width) as u32, true))
            }
            "usat_cast" => {
                let (a, width) = numbers()?;
                let most = (BigInt::from(1) << distance(&width)) - 1;
                Term::Number(a.clamp(BigInt::default(), most))
            }
            "sat_cast" => {
                let (a, width) = numbers()?;
                let half = BigInt::from(1) << (distance(&width).max(1) - 1);
                Term::Number(a.clamp(-half.clone(), half - 1))
            }
            "last_stack_index" | "size_stack" => {
                let Term::Stack(stack) = self.term(right)? else {
                    return unsupported("not a stack", right);
                };
                let next = *self.headers.next.get(&stack).unwrap_or(&0) as i64;
                let less = i64::from(operation == "last_stack_index");
                Term::Number(BigInt::from(next - less))
            }
            "dereference_header_stack" => {
                let Term::Stack(stack) = self.term(left)? else {
                    return unsupported("not a stack", left);
                };
                let at = usize::try_from(self.number(right)?).unwrap_or(usize::MAX);
                Term::Header(self.program.stacks[&stack].get(at).cloned())
            }
            "dereference_union_stack" => {
                let Term::UnionStack(stack) = self.term(left)? else {
                    return unsupported("not a stack of unions", left);
                };
                let at = usize::try_from(self.number(right)?).unwrap_or(usize::MAX);
                Term::Union(self.program.union_stacks[&stack].get(at).cloned())
            }
            "access_union_header" => {
                let Term::Union(union) = self.term(left)? else {
                    return unsupported("not a union", left);
                };
                let at = right.as_u64().unwrap_or(0) as usize;
                Term::Header(union.and_then(|union| self.program.unions[&union].get(at).cloned()))
            }
            "access_field" => {
                let at = right.as_u64().unwrap_or(0) as usize;
                match self.header(left)? {
                    Some(header) => Term::Number(self.headers.all[&header].fields[at].clone()),
                    None => Term::Number(BigInt::default()),
                }
            }
            _ => return unsupported("an operation", value),
        })
    }

    /// The bits of a varbit, if that is what a value names.
    fn varbit(&self, value: &Value) -> Option<u32> {
        let (header, field) = self.place(value).ok()??;
        let header = &self.headers.all[&header];
        header.kind.fields[field]
            .width
            .is_none()
            .then_some(header.varbit)
    }

    fn equal(&self, left: &Value, right: &Value) -> Result<bool, Stop> {
        // P4-16 §8.9.2: varbits of different lengths are not equal.
        if self.varbit(left) != self.varbit(right) {
            return Ok(false);
        }
        Ok(match (self.term(left)?, self.term(right)?) {
            (Term::Number(a), Term::Number(b)) => a == b,
            (Term::Bool(a), Term::Bool(b)) => a == b,
            // P4-16 §8.17: both invalid, or both valid with equal fields.
            (Term::Header(Some(a)), Term::Header(Some(b))) => {
                let (a, b) = (&self.headers.all[&a], &self.headers.all[&b]);
                a.valid == b.valid && (!a.valid || (a.fields == b.fields && a.varbit == b.varbit))
            }
            _ => return unsupported("a comparison", left),
        })
    }
}
