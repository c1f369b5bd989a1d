//! Any history of a broker: no panic, limits hold, and what the broker says is MQTT-SN.
//!
//! `cargo fuzz run core` in `broker/`, on a nightly toolchain or with `RUSTC_BOOTSTRAP=1`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/broker/history.rs"]
mod history;

fuzz_target!(|octets: &[u8]| history::play(octets));
