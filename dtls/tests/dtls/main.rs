//! A server and its clients on a network in virtual time, one file a concern.

#![allow(clippy::unwrap_used)]

mod cookies;
mod credentials;
mod ended;
mod handshake;
mod hostile;
mod limits;
mod loss;
mod records;
mod rehandshake;
mod world;
