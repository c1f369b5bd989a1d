//! The P4Runtime server (specification 1.4).
//!
//! [`Device`] is the server without any network: requests in, responses out, time an argument.
//! [`P4RuntimeService`] puts it behind gRPC, over TCP ([`serve_tcp`]), TLS
//! ([`serve_tls`]) or over a pipe inside the
//! process ([`connect_in_memory`]).
//!
//! What it does not do, and says so with UNIMPLEMENTED: DATAPLANE_ATOMIC batches that change meters
//! or registers, backup replicas, single rate three color meters, group actions of one-shot action
//! sets. Translated types (`@p4runtime_translation`) are refused when a pipeline is set.
//! `docs/conformance-p4runtime.md` goes through the specification section by section.

use std::time::Duration;

mod agreement;
mod arbitration;
mod compat;
mod convert;
mod device;
mod digest;
mod digests;
mod errors;
mod faults;
mod notes;
mod pace;
mod packet_io;
mod pipeline;
mod read;
mod roles;
mod selector;
mod service;
mod stream;
mod write;

pub use arbitration::StreamId;
pub use compat::{Compat, CompatError, Profile, ProfileError};
pub use device::{Device, DeviceConfig, DeviceStats};
pub use faults::{Fault, FaultError, Left};
pub use service::{
    Clock, P4RuntimeService, ServeError, ServerTls, connect_in_memory, serve_tcp, serve_tls,
};
pub use stream::ControllerStream;

/// The version of P4Runtime that `Capabilities` tells.
pub const API_VERSION: &str = "1.4.1";

/// `now` on the wire: nanoseconds since the Unix epoch.
fn timestamp(epoch: Duration, now: Duration) -> i64 {
    i64::try_from((epoch + now).as_nanos()).unwrap_or(i64::MAX)
}
