//! Where the fields of a header are in its bytes, ready to be read and written.
//!
//! Bytes move as big-endian words of eight: one load and two shifts take a field out, and eight
//! bytes at a time are put together for the wire.

use super::{Header, Loc};

/// One word of the PHV out of the bytes: the eight bytes from `from` on, shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// First byte in the header. Eight follow, in the header or, if it is shorter, behind it.
    pub(crate) from: u16,
    /// Left, then right.
    pub(crate) left: u8,
    pub(crate) right: u8,
    pub(crate) d: u16,
    pub(crate) signed: bool,
}

/// Some bits of a word of the PHV within eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) s: u16,
    /// To the left, after the mask.
    pub(crate) rotate: u8,
    /// The last part of its eight bytes.
    pub(crate) last: bool,
    pub(crate) mask: u64,
}

/// A header without a varbit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// Whether it is one.
    pub(crate) plain: bool,
    /// Whether it is a member of a union.
    pub(crate) union: bool,
    pub(crate) valid: u16,
    pub(crate) bytes: u32,
    /// `None`: a field is laid out so that no single load gets it.
    pub(crate) loads: Option<Box<[Load]>>,
    pub(crate) parts: Box<[Part]>,
}

/// A word of a field: where it is, its first bit in the header, its width.
struct Piece {
    loc: Loc,
    bit: usize,
    width: usize,
    signed: bool,
}

impl Layout {
    /// Lays out a header. Its words are below 2¹⁶.
    pub(super) fn new(header: &Header) -> Layout {
        if header.varbit.is_some() || header.metadata {
            return Layout {
                valid: header.valid as u16,
                ..Layout::default()
            };
        }
        let bytes = header.bytes as usize;
        let mut pieces = Vec::new();
        for field in &header.fields {
            let end = (field.bit_offset + field.width) as usize;
            for word in 0..field.span.words {
                let low = word as usize * 64;
                let width = (field.width as usize - low).min(64);
                pieces.push(Piece {
                    loc: field.span.loc + word,
                    bit: end - low - width,
                    width,
                    signed: field.signed && word + 1 == field.span.words,
                });
            }
        }
        let mut by_chunk: Vec<Vec<Part>> = vec![Vec::new(); bytes.div_ceil(8)];
        for piece in &pieces {
            let (first, last) = (piece.bit / 64, (piece.bit + piece.width - 1) / 64);
            let end = piece.bit + piece.width;
            for (chunk, parts) in by_chunk.iter_mut().enumerate().take(last + 1).skip(first) {
                // The piece's bits within these 64.
                let (from, to) = (piece.bit.max(chunk * 64), end.min(chunk * 64 + 64));
                let ones = u64::MAX >> (64 - (to - from));
                let (low, below) = (end - to, chunk * 64 + 64 - to);
                parts.push(Part {
                    s: piece.loc as u16,
                    rotate: ((64 + below - low) % 64) as u8,
                    last: false,
                    mask: ones << low,
                });
            }
        }
        for parts in &mut by_chunk {
            if let Some(part) = parts.last_mut() {
                part.last = true;
            }
        }
        Layout {
            plain: true,
            union: !header.union_siblings.is_empty(),
            valid: header.valid as u16,
            bytes: header.bytes,
            loads: pieces.iter().map(|piece| load(piece, bytes)).collect(),
            parts: by_chunk.into_iter().flatten().collect(),
        }
    }
}

fn load(piece: &Piece, bytes: usize) -> Option<Load> {
    // Not beyond the header's end, unless it is shorter than a load.
    let from = (piece.bit / 8).min(bytes.saturating_sub(8));
    let left = piece.bit - from * 8;
    let right = 64 - piece.width;
    (left <= right).then_some(Load {
        from: u16::try_from(from).ok()?,
        left: left as u8,
        right: right as u8,
        d: piece.loc as u16,
        signed: piece.signed,
    })
}
