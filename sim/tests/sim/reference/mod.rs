//! A second v1model switch, kept to be compared with the first: it walks p4c's BMv2 JSON as it
//! stands, computes with integers of any size, scans tables from the first entry to the last and
//! copies whatever it hands on. It was written from BMv2's documentation (`JSON_format.md`,
//! `simple_switch.md`), the P4-16 specification and BMv2's behaviour, and shares nothing with
//! `sim` but the JSON reader.
//!
//! It stops where those leave the outcome open ([`Stop::Unpredictable`]): then there is nothing
//! to compare.
#![allow(unreachable_pub)]

mod action;
mod expression;
mod hash;
mod meter;
mod packet;
mod parser;
mod pipeline;
mod program;
mod switch;

use num_bigint::BigUint;

pub use meter::Meter;
pub use program::Program;
pub use switch::Reference;

/// Why the interpretation of a packet ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A parser error of core.p4, by name: parsing ends, the packet goes on.
    Parser(&'static str),
    /// A parser error that `verify` gave, by number.
    Verify(u32),
    /// A failed `assert` or `assume`: the packet ends here.
    Assert,
    /// The outcome is not defined (`random()`, endless loops).
    Unpredictable(String),
    /// This interpreter does not know it.
    Unsupported(String),
}

/// What one key of an entry matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    Exact(BigUint),
    Lpm(BigUint, u32),
    /// Value and mask.
    Ternary(BigUint, BigUint),
    /// Both ends belong to it.
    Range(BigUint, BigUint),
    Valid(bool),
}

/// An action with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The `id` of the action.
    pub action: u64,
    pub data: Vec<BigUint>,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    Call(Call),
    Member(u32),
    Group(u32),
}

/// An entry and what it counted.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Vec<Match>,
    /// Greater wins.
    pub priority: i64,
    pub does: Does,
    pub counted: Counted,
    /// Its direct meter; without one everything is green.
    pub meter: Option<Meter>,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    pub packets: u64,
    pub bytes: u64,
}

impl Counted {
    fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// A copy: its port and its `egress_rid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    pub port: u32,
    pub rid: u16,
}
