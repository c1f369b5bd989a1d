//! A software P4 target (being written).
#![deny(unsafe_code)]

pub mod bmv2;
pub mod control;
pub mod ports;
pub mod server;
mod switch;

pub use bmv2::{LoadError, Pipeline};
pub use switch::{Limits, Output, OutputFn, Switch, SwitchConfig, SwitchStats, Worker};
