//! What the text of MQTT-SN 1.2 asks of a server, and the facts of outside test suites, as tests of
//! our own, in virtual time.
//!
//! One directory a suite (`text` is what no suite looks at), one file a concern. Where a suite and the
//! text disagree the text wins, and the test names the section. Which test holds what is in
//! `docs/conformance*.md`.
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` says what the files share"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the functions its cases share"
)]

mod clients;
mod emqx;
mod gateway_tester;
mod s3ler;
mod table;
mod text;
#[allow(
    dead_code,
    reason = "the broker's own tests use the rest of it, the data plane above all"
)]
#[path = "../broker/world.rs"]
mod world;
