//! A software P4 target: it runs any v1model program from p4c's BMv2 JSON, serves P4Runtime and
//! moves packets. It knows nothing of what a program is for, and it is no compiler: p4c is.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let switch = sim::Switch::new(sim::SwitchConfig::default());
//! let control = switch.load(sim::Pipeline::load(&std::fs::read("program.json")?)?.into());
//! let mut frames = Vec::new();
//! switch.worker().process(std::time::Duration::ZERO, 1, b"a frame on port 1", &mut frames);
//! # let _ = control; Ok(()) }
//! ```
//!
//! At load time [`Pipeline::load`] lowers the document to a compact program: fields at fixed
//! places in an array of words, actions and expressions as flat instructions. A [`Worker`] runs
//! frames through it, one at a time and to completion, and allocates nothing for the usual frame.
//! Tables are immutable snapshots to the workers; the control plane ([`control`]) publishes the
//! next one whenever it likes, and nobody waits.
//!
//! Behaviour is that of BMv2's `simple_switch`, as it documents it, with these deliberate
//! differences: a packet that calls `digest` for two different structs sends both; the parser
//! checks a `lookahead` against the end of the packet in `select` as well; a failed `assert` drops
//! the packet instead of ending the process; `truncate` bounds the whole packet wherever it is
//! called.
#![deny(unsafe_code)]

pub mod bmv2;
pub mod control;
mod exec;
mod externs;
pub mod ports;
mod pre;
mod program;
pub mod runtime;
pub mod server;
mod state;
pub mod stf;
mod switch;
mod tables;
mod v1model;

pub use bmv2::{LoadError, LoadOptions, Pipeline};
pub use switch::{Limits, Output, OutputFn, Switch, SwitchConfig, SwitchStats, Worker};
