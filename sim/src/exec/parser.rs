//! The parser's own operations.

use super::bits;
use super::interpreter::Machine;
use crate::program::{Ahead, Case, Header, KeyPart, Pc, Transition};

/// The value of the error that a parser ends with.
pub(super) type ParserError = u64;

impl Machine<'_> {
    fn too_short(&self) -> ParserError {
        self.program.errors.packet_too_short
    }

    /// The next `n` bytes.
    fn ahead(&self, n: usize) -> Result<&[u8], ParserError> {
        match self.data.get(self.packet.cursor..) {
            Some(rest) if rest.len() >= n => Ok(&rest[..n]),
            _ => Err(self.too_short()),
        }
    }

    /// Extracts a header without a varbit.
    #[inline]
    pub(super) fn extract(&mut self, header: u32) -> Result<(), ParserError> {
        let program = self.program;
        let layout = &program.derived.layouts[header as usize];
        let size = layout.bytes as usize;
        let data = self.data;
        let rest = match data.get(self.packet.cursor..) {
            Some(rest) if rest.len() >= size => rest,
            _ => return Err(self.too_short()),
        };
        if let Some(loads) = &layout.loads {
            let mut padded = [0; 8];
            let window = if rest.len() >= 8 {
                rest
            } else {
                padded[..rest.len()].copy_from_slice(rest);
                &padded[..]
            };
            for load in loads {
                let bytes = window.get(usize::from(load.from)..);
                // Eight bytes from there on are in the header or in the padding.
                let Some(bytes) = bytes.and_then(|bytes| bytes.first_chunk()) else {
                    break;
                };
                let word = u64::from_be_bytes(*bytes) << load.left;
                self.phv[usize::from(load.d)] = match load.signed {
                    false => word >> load.right,
                    true => ((word as i64) >> load.right) as u64,
                };
            }
        } else {
            let header = &program.headers[header as usize];
            self.extract_fields(header, &rest[..size], 0, usize::MAX);
        }
        self.packet.cursor += size;
        self.phv[usize::from(layout.valid)] = 1;
        if layout.union {
            self.mark_valid(header);
        }
        Ok(())
    }

    /// Fields from `from` on, up to `to`, out of the header's bytes.
    #[inline]
    fn extract_fields(&mut self, header: &Header, bytes: &[u8], from: usize, to: usize) {
        let to = to.min(header.fields.len());
        // The bytes begin with the first of these fields.
        let base = header.fields.get(from).map_or(0, |field| field.bit_offset) as usize;
        for field in &header.fields[from..to] {
            let at = field.bit_offset as usize - base;
            if field.width <= 64 {
                let value = bits::read(bytes, at, field.width);
                self.phv[field.span.loc as usize] = match field.signed {
                    false => value,
                    true => bits::sign_extend(value, field.width),
                };
            } else {
                let words = &mut self.phv[field.span.range()];
                bits::read_words(bytes, at, field.width, words);
                if field.signed && field.width % 64 != 0 {
                    let top = words.len() - 1;
                    words[top] = bits::sign_extend(words[top], field.width % 64);
                }
            }
        }
    }

    pub(super) fn extract_varbit(&mut self, header: u32, length: u64) -> Result<(), ParserError> {
        let program = self.program;
        let header_def = &program.headers[header as usize];
        let Some(varbit) = header_def.varbit else {
            return Ok(());
        };
        if !length.is_multiple_of(8) {
            return Err(program.errors.parser_invalid_argument);
        }
        let var_bytes = usize::try_from(length / 8).unwrap_or(usize::MAX);
        let fixed = header_def.bytes as usize;
        let data = self.data;
        let rest = data.get(self.packet.cursor..).unwrap_or_default();
        let total = fixed.saturating_add(var_bytes);
        if rest.len() < total {
            return Err(self.too_short());
        }
        if var_bytes > varbit.max_bytes as usize {
            return Err(program.errors.header_too_short);
        }
        let (before, after) = rest[..total].split_at(varbit.before as usize);
        let (variable, after) = after.split_at(var_bytes);
        let at = varbit.field as usize;
        self.extract_fields(header_def, before, 0, at);
        self.phv[varbit.loc as usize] = length;
        let words = varbit.loc as usize + 1;
        for (i, chunk) in variable.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.phv[words + i] = u64::from_be_bytes(word);
        }
        self.extract_fields(header_def, after, at + 1, usize::MAX);
        self.packet.cursor += total;
        self.mark_valid(header);
        Ok(())
    }

    /// The next element of a stack.
    pub(super) fn next_element(&mut self, stack: u32) -> Result<u32, ParserError> {
        let stack = &self.program.stacks[stack as usize];
        match stack.headers.get(self.phv[stack.next as usize] as usize) {
            Some(&header) => Ok(header),
            None => Err(self.program.errors.stack_out_of_bounds),
        }
    }

    pub(super) fn element_extracted(&mut self, stack: u32) {
        let next = self.program.stacks[stack as usize].next;
        self.phv[next as usize] += 1;
    }

    pub(super) fn advance(&mut self, length: u64) -> Result<(), ParserError> {
        if !length.is_multiple_of(8) {
            return Err(self.program.errors.parser_invalid_argument);
        }
        let bytes = usize::try_from(length / 8).unwrap_or(usize::MAX);
        self.ahead(bytes)?;
        self.packet.cursor += bytes;
        Ok(())
    }

    pub(super) fn lookahead(&mut self, d: u32, offset: u32, width: u32) -> Result<(), ParserError> {
        let data = self.data;
        let end = (offset + width).div_ceil(8) as usize;
        let bytes = match data.get(self.packet.cursor..) {
            Some(rest) if rest.len() >= end => rest,
            _ => return Err(self.too_short()),
        };
        let words = d as usize..d as usize + width.div_ceil(64) as usize;
        bits::read_words(bytes, offset as usize, width, &mut self.phv[words]);
        Ok(())
    }

    /// One word out of the bytes that follow.
    #[inline]
    pub(super) fn word_ahead(&self, ahead: Ahead) -> Result<u64, ParserError> {
        let rest = match self.data.get(self.packet.cursor..) {
            Some(rest) if rest.len() >= usize::from(ahead.end) => rest,
            _ => return Err(self.too_short()),
        };
        let bytes = &rest[usize::from(ahead.from)..];
        let word = match bytes.first_chunk() {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => {
                let mut padded = [0; 8];
                padded[..bytes.len()].copy_from_slice(bytes);
                u64::from_be_bytes(padded)
            }
        };
        Ok(word << ahead.left >> ahead.right)
    }

    /// Where the parser goes on.
    pub(super) fn transition(&mut self, index: u32) -> Result<Pc, ParserError> {
        let program = self.program;
        let t: &Transition = &program.transitions[index as usize];
        let words = t.words as usize;
        let mut small = [0; 8];
        let mut large = Vec::new();
        let key = match small.get_mut(..words) {
            Some(key) => key,
            // Wider keys than any real program has.
            None => {
                large.resize(words, 0);
                &mut large[..]
            }
        };
        let mut at = 0;
        for part in &t.key {
            let n = part.words() as usize;
            match *part {
                KeyPart::Words(span) => key[at..at + n].copy_from_slice(&self.phv[span.range()]),
                KeyPart::Lookahead { offset, bits } => {
                    let bytes = self.ahead((offset + bits).div_ceil(8) as usize)?;
                    bits::read_words(bytes, offset as usize, bits, &mut key[at..at + n]);
                }
            }
            at += n;
        }
        Ok(self.choose(t, key))
    }

    fn choose(&self, t: &Transition, key: &[u64]) -> Pc {
        for (case, pc) in &t.cases {
            let hit = match case {
                Case::Word { value, mask } => key[0] & mask == *value,
                Case::Words { value, mask } => key
                    .iter()
                    .zip(mask)
                    .zip(value)
                    .all(|((k, m), v)| k & m == *v),
                Case::ValueSet { set, mask } => {
                    let members = self.snapshot.value_sets[*set as usize].iter();
                    let mut members = members.map(|member| &member.words);
                    match mask {
                        None => members.any(|member| **member == *key),
                        Some(mask) => members.any(|member| {
                            key.iter()
                                .zip(member)
                                .zip(mask)
                                .all(|((k, v), m)| k & m == v & m)
                        }),
                    }
                }
            };
            if hit {
                return *pc;
            }
        }
        t.default
    }
}
