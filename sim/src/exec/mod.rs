//! Running the program on one packet.

mod bits;
mod checksum;
mod deparser;
mod headers;
mod interpreter;
mod parser;
mod trace;
mod wide;

pub(crate) use checksum::{calculate, update_checksums, verify_checksums};
pub(crate) use deparser::deparse;
pub(crate) use interpreter::{Flow, Machine};
pub(crate) use trace::{Sink, deparsed, error_name};

/// All data of a packet (see [`crate::program`]).
pub(crate) type Phv = [u64; crate::program::PHV_WORDS];

/// What travels with a packet besides its PHV: simple_switch's packet registers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packet {
    /// How far the parser has come, in bytes.
    pub(crate) cursor: usize,
    /// `truncate`: at most so many bytes leave.
    pub(crate) limit: Option<usize>,
    /// Length of the packet, changed by headers added and removed.
    pub(crate) length: i64,
    pub(crate) ingress_length: u64,
    /// Session and field list.
    pub(crate) clone: Option<(u64, u32)>,
    pub(crate) resubmit: Option<u32>,
    pub(crate) recirculate: Option<u32>,
    /// A bit for each digest to send, of the first 64.
    pub(crate) digests: u64,
    /// The other digests to send.
    pub(crate) more_digests: Vec<u32>,
}

/// xorshift64*: `random()` needs no better, and the same seed gives the same packets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // The state must not be 0.
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
