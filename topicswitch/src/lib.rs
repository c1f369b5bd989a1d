//! The one binary's library: it wires the crates together and holds the tools around them.
//!
//! It is configuration, command line, status, an MQTT-SN client, and the demo. Protocol, planning
//! and packets live in the crates below; this one holds no logic of theirs.
//!
//! ```
//! use topicswitch::config::Config;
//! let config = Config::parse("listen: 127.0.0.1:1900", "lab.yaml".as_ref())?;
//! assert_eq!(config.listen[0].port(), 1900);
//! # Ok::<(), topicswitch::config::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod contract;
pub mod demo;
pub mod explain;
pub mod load;
pub mod node;
pub mod overview;
pub mod status;
