//! Hashes and checksums.

use super::{Loc, Pc, Span};

/// Hash algorithms of simple_switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Csum16,
    Crc16,
    Crc32,
    CrcCcitt,
    Identity,
    Xor16,
    Xor32,
    /// CRC-8: polynomial 0x07.
    Crc8,
    /// simple_switch's `crc64_custom` as it begins: polynomial 0x1B, reflected.
    Crc64,
    Xxh64,
    /// With the key simple_switch begins with, which is zero: every hash is 0.
    Toeplitz,
    /// Counts its calls.
    RoundRobin,
}

/// One input of a calculation.
#[derive(Debug, Clone)]
pub(crate) enum CalculationInput {
    /// A field, skipped while its header is invalid.
    Field {
        span: Span,
        width: u32,
        valid: Loc,
    },
    /// A varbit field.
    Varbit {
        loc: Loc,
        valid: Loc,
    },
    Constant {
        words: Box<[u64]>,
        width: u32,
    },
    Header(u32),
}

/// A hash or checksum over fields.
#[derive(Debug, Clone)]
pub(crate) struct Calculation {
    pub(crate) algorithm: Algorithm,
    pub(crate) inputs: Vec<CalculationInput>,
    pub(crate) payload: bool,
    /// Calls so far, for [`Algorithm::RoundRobin`]. A program that is loaded again goes on.
    pub(crate) calls: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

/// A checksum that is verified after parsing or updated before deparsing.
#[derive(Debug, Clone)]
pub(crate) struct Checksum {
    pub(crate) calculation: u32,
    pub(crate) target: Loc,
    pub(crate) width: u32,
    /// Validity of the target's header.
    pub(crate) valid: Loc,
    /// The condition is false unless these two words are equal.
    pub(crate) guard: Option<(Loc, Loc)>,
    /// Code that returns if the condition is true and exits if it is not.
    pub(crate) condition: Option<Pc>,
    pub(crate) verify: bool,
    pub(crate) update: bool,
}
