//! An MQTT-SN 1.2 server that can give its work to the network.
//!
//! [`Broker`] is the protocol: sessions, topics, subscriptions, retained messages, wills, sleep, and
//! the broker's side of the `offload` contract. It has no socket, no clock and no thread; [`driver`]
//! puts a socket, the clock and the link to a controller around it. It knows no P4 and no switch: it
//! decides which subscribers the data plane serves, waits until that is so, and serves the rest.
//!
//! ```
//! use std::time::Instant;
//! let mut broker = broker::Broker::new(broker::Config::default(), Instant::now())?;
//! broker.handle_datagram(Instant::now(), "10.0.0.1:4000".parse::<std::net::SocketAddr>()?, &[0x03, 0x01, 0x00]);
//! let answer = broker.poll_transmit().ok_or("no GWINFO")?;
//! assert_eq!(answer.bytes, [0x03, 0x02, 0x01]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this broker decided where MQTT-SN 1.2 leaves room:
//! - Order: messages of one publisher, one topic and one QoS arrive in their order (MQTT 3.1.1
//!   §4.6). Between QoS levels there is no order, as each may take its own path.
//! - A publisher's first PUBLISH under a predefined or short alias makes it a publication of the
//!   intent; messages on their way at that moment may be overtaken by those behind them. REGISTER
//!   has no such moment: its REGACK waits for the data plane.
//! - A CONNECT of a connected client from another address moves the session, tells the former address
//!   by DISCONNECT and publishes the will of that connection (MQTT 3.1.1 §3.1.4, §3.1.2.5), unless it
//!   is refused (`auth.takeover`). A CONNECT of another client from an address in use makes the former
//!   client lost.
//! - A client that does not answer N_retry retransmissions is lost, as if it had been silent; one that
//!   was awake only for its buffered messages is asleep again.
//! - QoS 0 messages for clients that are not connected are dropped; those for sleeping clients wait.
//! - PUBLISH and requests without a session are answered with DISCONNECT, answers are ignored.
//! - `$share/{group}/{filter}` is a shared subscription as in MQTT 5 §4.8.2: one member of the group gets
//!   each message, the same one for all of a publisher's as long as it stays. A connected member comes
//!   before a sleeping one, that before one whose session waits for it. What a member leaves behind goes
//!   to another: what it was not sent when it falls asleep, unsubscribes or disconnects, and what it did
//!   not acknowledge at QoS 1 when its connection ends. What it was sent at QoS 2 stays its own.
//! - QoS −1 subscriptions, and `$share/` filters without a group or a filter, are answered with "not
//!   supported".
// A test sets a socket option that no safe wrapper knows.
#![cfg_attr(not(test), forbid(unsafe_code))]

mod access;
pub mod auth;
mod config;
pub mod core;
pub mod driver;
mod durable;
mod levels;
mod offloading;
mod rate;
mod retained;
mod session;
mod shares;
mod stats;
pub mod store;
mod subscriptions;
mod timers;
mod topics;
mod transmit;

pub use crate::access::{Access, Admitted, AllowAll, Client, Denied, Policy};
pub use crate::config::{
    AclAction, AclConfig, AclRule, AdvertiseConfig, AuthConfig, ClientPattern, Config, ConfigError,
    OffloadConfig, Permit, Predefined, RateConfig, Takeover,
};
pub use crate::core::{
    Broker, PublisherPart, SessionInfo, Sizes, Status, SubscriberInfo, SubscriberPart,
    TopicAccount, TopicInfo, TopicPart,
};
pub use crate::durable::{Changes, Restore, RestoreError};
pub use crate::offloading::intent::Unserved;
pub use crate::session::State;
pub use crate::stats::Stats;
pub use crate::transmit::{Peer, Source, Transmit, Via};
