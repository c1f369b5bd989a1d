//! Fixtures of the whole-system tests: network namespaces, frames checked by code of their own,
//! switches started and driven over P4Runtime. The tests themselves are in `tests/`, one file a
//! concern.
//!
//! The target of the data plane's tests comes from the environment variable `TOPICSWITCH_TARGET`,
//! `sim` (ports in memory), `sim-veth` (sim on interfaces) or `bmv2`; without it they run on sim, and
//! on BMv2 too where `simple_switch_grpc` is on PATH. What a machine may lack is asked for with [`require`].
//!
//! ```
//! // A frame built, and read back with every length and checksum verified.
//! use system_tests::frame::Datagram;
//! use system_tests::hosts::{BROKER, PUBLISHER};
//! let sent = Datagram::between(&PUBLISHER, &BROKER, b"hello");
//! assert_eq!(Datagram::read(&sent.frame()), Ok(sent));
//! ```
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

pub mod clients;
pub mod crowd;
pub mod data_plane;
pub mod frame;
pub mod histories;
pub mod hosts;
pub mod messages;
pub mod netns;
pub mod network;
pub mod octets;
pub mod outage;
pub mod plain_broker;
pub mod process;
pub mod python;
pub mod room;
pub mod system;
pub mod topics;
pub mod veth_switch;
pub mod workload;

/// Whether a test that needs `thing` can run: `available`, said aloud where it cannot.
///
/// # Panics
/// When the thing is not available although `TOPICSWITCH_REQUIRE` (names separated by commas)
/// names it: on that machine a skipped test is a failed one.
#[must_use = "a test that cannot run has to return"]
pub fn require(thing: &str, available: bool) -> bool {
    if available {
        return true;
    }
    let required = std::env::var("TOPICSWITCH_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == thing),
        "{thing} is not available here, but TOPICSWITCH_REQUIRE names it"
    );
    eprintln!("SKIPPED: {thing} is not available here");
    false
}

/// The program's file on PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
