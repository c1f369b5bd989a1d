//! Serialising headers.

use super::{Phv, bits};
use crate::program::{Header, Program};

/// Appends the valid headers, in the program's order.
pub(crate) fn deparse(program: &Program, phv: &Phv, out: &mut Vec<u8>) {
    for &index in &program.deparse_order {
        if phv[program.derived.layouts[index as usize].valid as usize] != 0 {
            append_header(program, index, phv, out);
        }
    }
}

/// Appends one header, valid or not.
#[inline]
pub(super) fn append_header(program: &Program, header: u32, phv: &Phv, out: &mut Vec<u8>) {
    let layout = &program.derived.layouts[header as usize];
    if !layout.plain {
        return append_any(&program.headers[header as usize], phv, out);
    }
    let start = out.len();
    let mut word = 0;
    for part in &layout.parts {
        word |= (phv[part.s as usize] & part.mask).rotate_left(u32::from(part.rotate));
        if part.last {
            out.extend_from_slice(&word.to_be_bytes());
            word = 0;
        }
    }
    out.truncate(start + layout.bytes as usize);
}

/// Appends one header, field by field.
fn append_any(header: &Header, phv: &[u64], out: &mut Vec<u8>) {
    let start = out.len();
    let Some(varbit) = header.varbit else {
        out.resize(start + header.bytes as usize, 0);
        write_fields(header, phv, &mut out[start..], 0, header.fields.len());
        return;
    };
    let at = varbit.field as usize;
    out.resize(start + varbit.before as usize, 0);
    write_fields(header, phv, &mut out[start..], 0, at);
    let bytes = (phv[varbit.loc as usize] / 8).min(u64::from(varbit.max_bytes)) as usize;
    let words = &phv[varbit.loc as usize + 1..][..bytes.div_ceil(8)];
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()).take(bytes));
    let rest = out.len();
    out.resize(rest + (header.bytes - varbit.before) as usize, 0);
    write_fields(header, phv, &mut out[rest..], at + 1, header.fields.len());
}

#[inline]
fn write_fields(header: &Header, phv: &[u64], bytes: &mut [u8], from: usize, to: usize) {
    let base = header.fields.get(from).map_or(0, |field| field.bit_offset) as usize;
    for field in &header.fields[from..to] {
        let at = field.bit_offset as usize - base;
        if field.width <= 64 {
            bits::write(bytes, at, field.width, phv[field.span.loc as usize]);
        } else {
            bits::write_words(bytes, at, field.width, &phv[field.span.range()]);
        }
    }
}
