//! Header unions and stacks of them.
//!
//! A stack of unions is one stack for each member of the union: they share `nextIndex`, and their
//! elements lie a whole union apart.

use std::collections::HashMap;

use super::super::json::{At, LoadError};
use super::expr::{Expr, HeaderRef};
use super::{Lowering, Scope};
use crate::program::Stack;

/// A stack of header unions of the document: its name, and the headers of each union.
pub(super) struct UnionStackNode {
    name: String,
    members: Vec<String>,
    unions: Vec<Vec<u32>>,
}

impl UnionStackNode {
    /// All its headers, in the order in which they are to lie.
    pub(super) fn headers(&self) -> impl Iterator<Item = u32> {
        self.unions.iter().flatten().copied()
    }
}

fn header_ids(node: &At<'_>, by_id: &HashMap<u32, u32>) -> Result<Vec<u32>, LoadError> {
    let ids = node.get("header_ids")?.items()?;
    let headers = ids.iter().map(|id| match by_id.get(&id.id()?) {
        Some(&header) => Ok(header),
        None => Err(id.error("no header has this id")),
    });
    headers.collect()
}

/// The stacks of header unions, before anything has its place.
pub(super) fn union_stacks(
    root: &At<'_>,
    by_id: &HashMap<u32, u32>,
) -> Result<Vec<UnionStackNode>, LoadError> {
    let mut unions = HashMap::new();
    for node in root.list("header_unions")? {
        unions.insert(node.get("id")?.id()?, header_ids(&node, by_id)?);
    }
    let mut member_names = HashMap::new();
    for node in root.list("header_union_types")? {
        let mut names = Vec::new();
        for member in node.get("headers")?.items()? {
            let [name, _] = member.tuple()?;
            names.push(name.str()?.to_owned());
        }
        member_names.insert(node.text("name")?, names);
    }
    let mut stacks = Vec::new();
    for node in root.list("header_union_stacks")? {
        let type_at = node.get("union_type")?;
        let Some(members) = member_names.get(type_at.str()?) else {
            return Err(type_at.error("no header union type has this name"));
        };
        let mut elements = Vec::new();
        for id in node.get("header_union_ids")?.items()? {
            match unions.get(&id.id()?) {
                Some(headers) if headers.len() == members.len() => elements.push(headers.clone()),
                Some(_) => return Err(id.error("the header union is of another type")),
                None => return Err(id.error("no header union has this id")),
            }
        }
        if elements.is_empty() || members.is_empty() {
            return Err(node.error("a stack without headers"));
        }
        stacks.push(UnionStackNode {
            name: node.text("name")?.to_owned(),
            members: members.clone(),
            unions: elements,
        });
    }
    Ok(stacks)
}

impl Lowering {
    /// Header unions are sets of headers of which at most one is valid.
    pub(super) fn unions(
        &mut self,
        root: &At<'_>,
        by_id: &HashMap<u32, u32>,
    ) -> Result<(), LoadError> {
        for node in root.list("header_unions")? {
            let members = header_ids(&node, by_id)?;
            for &member in &members {
                let siblings = members.iter().copied().filter(|&m| m != member).collect();
                self.program.headers[member as usize].union_siblings = siblings;
            }
            self.union_index
                .insert(node.text("name")?.to_owned(), members);
        }
        Ok(())
    }

    /// The stacks of the members of a stack of unions, whose headers have their places.
    pub(super) fn union_stack(
        &mut self,
        node: &UnionStackNode,
        next: u32,
        at: &At<'_>,
    ) -> Result<(), LoadError> {
        let words = |headers: &[u32]| -> u32 {
            let headers = headers.iter();
            headers
                .map(|header| self.program.headers[*header as usize].span.words)
                .sum()
        };
        let stride = words(&node.unions[0]);
        if node.unions.iter().any(|headers| words(headers) != stride) {
            return Err(at.error("the unions of a stack are of different types"));
        }
        let first = self.program.stacks.len() as u32;
        for (position, member) in node.members.iter().enumerate() {
            let headers = node.unions.iter().map(|union| union[position]).collect();
            self.program.stacks.push(Stack {
                name: format!("{}.{member}", node.name),
                headers,
                next,
                stride,
            });
        }
        // The first member lies where its union begins: it stands for the whole in `push` and `pop`.
        self.stack_index.insert(node.name.clone(), first);
        let members = node.members.iter().cloned().zip(first..).collect();
        self.union_stack_index.insert(node.name.clone(), members);
        Ok(())
    }

    fn union_stack_named(&self, at: &At<'_>) -> Result<Vec<(String, u32)>, LoadError> {
        match self.union_stack_index.get(at.str()?) {
            Some(members) => Ok(members.clone()),
            None => Err(at.error("no stack of header unions has this name")),
        }
    }

    /// The stack of one member of a stack of unions.
    pub(super) fn union_stack_member(
        &self,
        stack: &At<'_>,
        member: &At<'_>,
    ) -> Result<u32, LoadError> {
        let name = member.str()?;
        let members = self.union_stack_named(stack)?;
        match members.iter().find(|(member, _)| member == name) {
            Some((_, stack)) => Ok(*stack),
            None => Err(member.error("the header union has no such member")),
        }
    }

    /// `{"type": …, "value": …}` that names a header union: its members.
    pub(super) fn union_ref(
        &mut self,
        at: &At<'_>,
        scope: &Scope,
    ) -> Result<Vec<HeaderRef>, LoadError> {
        let value = at.get("value")?;
        match at.text("type")? {
            "header_union" => match self.union_index.get(value.str()?) {
                Some(members) => Ok(members.iter().map(|m| HeaderRef::Fixed(*m)).collect()),
                None => Err(value.error("no header union has this name")),
            },
            "expression" if value.opt("op")?.is_none() => self.union_ref(&value, scope),
            "expression" if value.text("op")? == "dereference_union_stack" => {
                let stacks = self.union_stack_named(&value.get("left")?.get("value")?)?;
                let index: Expr = self.expr(&value.get("right")?, scope)?;
                let members = stacks
                    .into_iter()
                    .map(|(_, stack)| self.element(stack, index.clone(), &value));
                members.collect()
            }
            other => Err(at.error(format!("expected a header union, found a `{other}`"))),
        }
    }

    /// Assigns all elements of one stack of unions to another, and its `nextIndex`.
    pub(super) fn assign_union_stack(&mut self, d: &At<'_>, s: &At<'_>) -> Result<(), LoadError> {
        let to = self.union_stack_named(&d.get("value")?)?;
        let from = self.union_stack_named(&s.get("value")?)?;
        if to.len() != from.len() {
            return Err(d.error("the stacks are of different types"));
        }
        for (&(_, to), &(_, from)) in to.iter().zip(&from) {
            self.assign_stack(to, from, d)?;
        }
        Ok(())
    }
}
