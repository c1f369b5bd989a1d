//! The broker's core in virtual time, one file a concern.
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` says what the files share"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the functions its cases share"
)]

mod connect;
mod discovery;
mod driver;
mod equivalence;
mod forwarder;
mod gate;
mod generations;
mod histories;
mod history;
mod identity;
mod intent;
mod keep_alive;
mod lease;
mod limits;
mod liveness;
mod predefined;
mod publish;
mod rates;
mod register;
mod reload;
mod restart;
mod retained;
mod robustness;
mod share;
mod share_intent;
mod subscribe;
mod world;
