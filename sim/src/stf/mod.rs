//! STF tests: a few lines of packets in, packets out and table entries, as p4c's drivers run them.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let test = sim::stf::Test::parse("l2.stf", &std::fs::read_to_string("l2.stf")?)?;
//! let pipeline = sim::Pipeline::load(&std::fs::read("l2.json")?)?;
//! let report = sim::stf::run(pipeline.into(), &test, sim::stf::Options::default())?;
//! assert!(report.passed(), "{report}");
//! # Ok(()) }
//! ```
//!
//! A test is run in process and in virtual time: each statement in its order, then what left each
//! port is compared with what was expected there. Time stands still but for ten microseconds from
//! packet to packet and one second after commands; `wait` lets one more second pass.

mod check;
mod keys;
mod names;
mod parse;
mod run;
mod value;

pub use check::{Difference, Pattern, Report};
pub use parse::{
    ActionText, Command, Comparison, CounterIndex, CounterUnit, KeyText, ParseError, Statement,
    Test,
};
pub use run::{Options, RunError, run};
