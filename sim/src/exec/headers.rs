//! Validity, assignment and stacks of headers.

use super::interpreter::Machine;
use crate::program::Header;

impl Machine<'_> {
    /// Bytes of a header on the wire.
    pub(super) fn header_bytes(&self, header: &Header) -> u32 {
        match header.varbit {
            Some(varbit) => header.bytes + (self.phv[varbit.loc as usize] / 8) as u32,
            None => header.bytes,
        }
    }

    fn make_valid(&mut self, header: &Header) {
        self.phv[header.valid as usize] = 1;
        for &sibling in &header.union_siblings {
            let valid = self.program.headers[sibling as usize].valid;
            self.phv[valid as usize] = 0;
        }
    }

    pub(super) fn mark_valid(&mut self, header: u32) {
        let program = self.program;
        self.make_valid(&program.headers[header as usize]);
    }

    pub(super) fn add_header(&mut self, header: u32) {
        let program = self.program;
        let header = &program.headers[header as usize];
        if self.phv[header.valid as usize] == 0 {
            self.phv[header.span.range()].fill(0);
            self.make_valid(header);
            self.packet.length += i64::from(header.bytes);
        }
    }

    pub(super) fn remove_header(&mut self, header: u32) {
        let program = self.program;
        let header = &program.headers[header as usize];
        if self.phv[header.valid as usize] != 0 {
            self.packet.length -= i64::from(self.header_bytes(header));
            if !header.metadata {
                self.phv[header.valid as usize] = 0;
            }
        }
    }

    pub(super) fn assign_header(&mut self, d: u32, s: u32) {
        let program = self.program;
        let (to, from) = (&program.headers[d as usize], &program.headers[s as usize]);
        if self.phv[from.valid as usize] == 0 {
            self.phv[to.valid as usize] = 0;
            return;
        }
        self.phv
            .copy_within(from.span.range(), to.span.range().start);
        if !to.metadata {
            self.make_valid(to);
        }
    }

    /// P4-16 §8.18: `push_front` makes room for `n` invalid elements.
    pub(super) fn push(&mut self, stack: u32, n: u32) {
        let stack = &self.program.stacks[stack as usize];
        let size = stack.headers.len();
        let n = (n as usize).min(size);
        let start = self.program.headers[stack.headers[0] as usize].span.loc as usize;
        let stride = stack.stride as usize;
        self.phv
            .copy_within(start..start + (size - n) * stride, start + n * stride);
        self.phv[start..start + n * stride].fill(0);
        let next = &mut self.phv[stack.next as usize];
        *next = (*next + n as u64).min(size as u64);
    }

    /// P4-16 §8.18: `pop_front` drops the first `n` elements.
    pub(super) fn pop(&mut self, stack: u32, n: u32) {
        let stack = &self.program.stacks[stack as usize];
        let size = stack.headers.len();
        let n = (n as usize).min(size);
        let start = self.program.headers[stack.headers[0] as usize].span.loc as usize;
        let stride = stack.stride as usize;
        self.phv
            .copy_within(start + n * stride..start + size * stride, start);
        self.phv[start + (size - n) * stride..start + size * stride].fill(0);
        let next = &mut self.phv[stack.next as usize];
        *next = next.saturating_sub(n as u64);
    }

    /// Words of the field of element `i`, if there is one.
    fn element(&self, field: u32, i: u64) -> Option<(usize, usize)> {
        let field = &self.program.stack_fields[field as usize];
        if i >= u64::from(field.count) {
            return None;
        }
        let at = field.first as usize + i as usize * field.stride as usize;
        Some((at, field.words as usize))
    }

    pub(super) fn stack_load(&mut self, d: u32, i: u64, field: u32) {
        let d = d as usize;
        match self.element(field, i) {
            Some((at, words)) => self.phv.copy_within(at..at + words, d),
            None => {
                let words = self.program.stack_fields[field as usize].words as usize;
                self.phv[d..d + words].fill(0);
            }
        }
    }

    pub(super) fn stack_store(&mut self, s: u32, i: u64, field: u32) {
        if let Some((at, words)) = self.element(field, i) {
            self.phv.copy_within(s as usize..s as usize + words, at);
        }
    }

    pub(super) fn varbits_equal(&self, a: u32, b: u32) -> bool {
        let program = self.program;
        let (a, b) = (&program.headers[a as usize], &program.headers[b as usize]);
        let (Some(a), Some(b)) = (a.varbit, b.varbit) else {
            return false;
        };
        let (length, other) = (self.phv[a.loc as usize], self.phv[b.loc as usize]);
        let words = (length / 8)
            .min(u64::from(a.max_bytes.min(b.max_bytes)))
            .div_ceil(8);
        let bits = |loc: u32| &self.phv[loc as usize + 1..][..words as usize];
        length == other && bits(a.loc) == bits(b.loc)
    }

    pub(super) fn assign_varbit(&mut self, d: u32, s: u32) {
        let program = self.program;
        let (to, from) = (&program.headers[d as usize], &program.headers[s as usize]);
        let (Some(to), Some(from)) = (to.varbit, from.varbit) else {
            return;
        };
        let (to_words, from_words) = (to.max_bytes.div_ceil(8), from.max_bytes.div_ceil(8));
        let words = to_words.min(from_words) as usize;
        let from_at = from.loc as usize;
        self.phv
            .copy_within(from_at..from_at + 1 + words, to.loc as usize);
        let length = &mut self.phv[to.loc as usize];
        *length = (*length).min(u64::from(to.max_bytes) * 8);
    }
}
