//! Headers, stacks and metadata: their places in the PHV.

use std::collections::HashMap;

use super::super::json::{At, LoadError};
use super::Lowering;
use super::unions::union_stacks;
use crate::program::{ALWAYS, Field, Header, Span, Stack, Varbit};

/// The widest field, in bits; BMv2 knows no bound, memory does.
const MAX_FIELD_BITS: u64 = 2048;
/// The most words of one PHV's headers and metadata.
const MAX_PHV_WORDS: u32 = 1 << 16;
/// The longest varbit, in bytes.
const MAX_VARBIT_BYTES: u64 = 4096;

struct FieldType {
    name: String,
    /// `None` for a varbit.
    width: Option<u32>,
    signed: bool,
}

struct HeaderType {
    fields: Vec<FieldType>,
    max_length: Option<u32>,
}

impl Lowering {
    /// Gives every header, stack and metadata struct its place.
    pub(super) fn headers(&mut self, root: &At<'_>) -> Result<(), LoadError> {
        let mut types = HashMap::new();
        for node in root.get("header_types")?.items()? {
            types.insert(node.text("name")?, header_type(&node)?);
        }

        // Elements of stacks lie one behind the other: give them their places first.
        let nodes = root.get("headers")?.items()?;
        let mut by_id = HashMap::new();
        for (i, node) in nodes.iter().enumerate() {
            by_id.insert(node.get("id")?.id()?, i as u32);
        }
        let mut order = Vec::new();
        let mut stacks = Vec::new();
        for node in root.list("header_stacks")? {
            let mut headers = Vec::new();
            for id in node.get("header_ids")?.items()? {
                let Some(&header) = by_id.get(&id.id()?) else {
                    return Err(id.error("no header has this id"));
                };
                if order.contains(&header) {
                    return Err(id.error("the header is in two stacks, or twice in one"));
                }
                order.push(header);
                headers.push(header);
            }
            if headers.is_empty() {
                return Err(node.error("a stack without headers"));
            }
            stacks.push((node.text("name")?.to_owned(), headers, node));
        }
        let union_stacks = union_stacks(root, &by_id)?;
        for header in union_stacks.iter().flat_map(|stack| stack.headers()) {
            if order.contains(&header) {
                let at = root.get("header_union_stacks")?;
                return Err(at.error("a header is in two stacks, or twice in one"));
            }
            order.push(header);
        }
        for i in 0..nodes.len() as u32 {
            if !order.contains(&i) && !nodes[i as usize].flag("metadata", false)? {
                order.push(i);
            }
        }
        let mut headers: Vec<Option<Header>> = nodes.iter().map(|_| None).collect();
        for &i in &order {
            let node = &nodes[i as usize];
            headers[i as usize] = Some(self.place_header(node, &types, false)?);
        }
        for (name, elements, _) in &stacks {
            self.stack_index
                .insert(name.clone(), self.program.stacks.len() as u32);
            let next = self.reserve(1);
            self.program.stacks.push(Stack {
                name: name.clone(),
                headers: elements.clone(),
                next,
                stride: 0,
            });
        }
        let union_next: Vec<u32> = union_stacks.iter().map(|_| self.reserve(1)).collect();
        let metadata_start = self.words;
        for (i, node) in nodes.iter().enumerate() {
            if headers[i].is_none() {
                headers[i] = Some(self.place_header(node, &types, true)?);
            }
        }
        self.program.metadata = metadata_start..self.words;
        self.program.reset_words = self.words;
        if self.words > MAX_PHV_WORDS {
            return Err(root
                .get("headers")?
                .error("the headers and metadata are too large"));
        }
        self.program.headers = headers.into_iter().flatten().collect();
        for (i, header) in self.program.headers.iter().enumerate() {
            if self
                .header_index
                .insert(header.name.clone(), i as u32)
                .is_some()
            {
                return Err(nodes[i].error(format!("two headers are named `{}`", header.name)));
            }
        }
        for (s, (_, elements, node)) in stacks.iter().enumerate() {
            let first = self.program.headers[elements[0] as usize].clone();
            for (position, &element) in elements.iter().enumerate() {
                let header = &mut self.program.headers[element as usize];
                if header.type_name != first.type_name {
                    return Err(node.error("its headers are of different types"));
                }
                header.stack = Some((s as u32, position as u32));
            }
            self.program.stacks[s].stride = first.span.words;
        }
        for (stack, next) in union_stacks.iter().zip(union_next) {
            self.union_stack(stack, next, &root.get("header_union_stacks")?)?;
        }
        self.unions(root, &by_id)
    }

    fn reserve(&mut self, words: u32) -> u32 {
        let loc = self.words;
        self.words = self.words.saturating_add(words);
        loc
    }

    fn place_header(
        &mut self,
        node: &At<'_>,
        types: &HashMap<&str, HeaderType>,
        metadata: bool,
    ) -> Result<Header, LoadError> {
        let name = node.text("name")?.to_owned();
        let type_node = node.get("header_type")?;
        let type_name = type_node.str()?;
        let Some(header_type) = types.get(type_name) else {
            return Err(type_node.error(format!("no header type is named `{type_name}`")));
        };
        let start = self.words;
        let valid = if metadata { ALWAYS } else { self.reserve(1) };
        let mut bits = 0u32;
        let mut fields: Vec<Field> = Vec::new();
        let mut varbit = None;
        for field in &header_type.fields {
            let words = match field.width {
                Some(width) => width.div_ceil(64),
                None => {
                    let fixed: u32 = header_type.fields.iter().filter_map(|f| f.width).sum();
                    let Some(max_length) = header_type.max_length else {
                        return Err(type_node.error("a varbit without `max_length`"));
                    };
                    let max_bytes = max_length.saturating_sub(fixed / 8);
                    if varbit.is_some() || !bits.is_multiple_of(8) {
                        return Err(type_node.error("an unaligned or second varbit"));
                    }
                    varbit = Some(Varbit {
                        field: fields.len() as u32,
                        loc: self.words,
                        max_bytes,
                        before: bits / 8,
                    });
                    1 + max_bytes.div_ceil(8)
                }
            };
            if self.words > MAX_PHV_WORDS {
                return Err(node.error("the headers and metadata are too large"));
            }
            fields.push(Field {
                name: field.name.clone(),
                width: field.width.unwrap_or(0),
                signed: field.signed,
                varbit: field.width.is_none(),
                span: Span {
                    loc: self.reserve(words),
                    words,
                },
                bit_offset: bits,
            });
            bits += field.width.unwrap_or(0);
        }
        if !metadata && !bits.is_multiple_of(8) {
            return Err(type_node.error(format!("the header has {bits} bits: not whole bytes")));
        }
        Ok(Header {
            name,
            type_name: type_name.to_owned(),
            metadata,
            valid,
            span: Span {
                loc: start,
                words: self.words - start,
            },
            fields,
            bytes: bits / 8,
            varbit,
            union_siblings: Vec::new(),
            stack: None,
        })
    }
}

fn header_type(node: &At<'_>) -> Result<HeaderType, LoadError> {
    let mut fields: Vec<FieldType> = Vec::new();
    for field in node.get("fields")?.items()? {
        let parts = field.items()?;
        let [name, width, rest @ ..] = parts.as_slice() else {
            return Err(field.error("expected a name and a width"));
        };
        let width = match width.value.as_str() {
            Some("*") => None,
            _ => Some(width.number(MAX_FIELD_BITS)? as u32),
        };
        if width == Some(0) {
            return Err(field.error("a field of no bits"));
        }
        let signed = match rest.first() {
            // p4c writes 0 for the sign of a varbit.
            Some(signed) if signed.value.is_number() => signed.number(1)? == 1,
            Some(signed) => signed.bool()?,
            None => false,
        };
        fields.push(FieldType {
            name: name.str()?.to_owned(),
            width,
            signed,
        });
    }
    if node.opt("length_exp")?.is_some() {
        return Err(node.error("`length_exp` is not supported: p4c gives the length to extract"));
    }
    let max_length = match node.opt("max_length")? {
        Some(n) => Some(n.number(MAX_VARBIT_BYTES)? as u32),
        None => None,
    };
    Ok(HeaderType { fields, max_length })
}
