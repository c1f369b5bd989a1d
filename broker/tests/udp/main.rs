//! The driver at real UDP sockets of the loopback interface, one file a concern.
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` says what the files share"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the functions its cases share"
)]

mod clients;
mod listening;
mod order;
