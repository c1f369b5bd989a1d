//! The contract between the broker and the controller.
//!
//! The broker says what it wants of the network (an [`Intent`], then [`Delta`]s of it); the controller
//! answers with what is installed, what it refused and whom it can reach. The crate knows no P4, no
//! MQTT-SN bytes and no sockets: both ends of a [`link`] may live in one process, or on two hosts
//! with gRPC between them.
//!
//! ```
//! use offload::{Delta, FromBroker, Intent, Revision};
//! let mut seen = Intent::default();
//! let delta = Delta { base: Revision(0), revision: Revision(1), changes: vec![] };
//! seen.apply(&delta).unwrap();
//! assert_eq!(seen.revision, Revision(1));
//! let _message = FromBroker::Delta(delta);
//! ```
#![forbid(unsafe_code)]

mod intent;
mod link;
mod status;
pub mod wire;

pub use intent::{
    Alias, AliasType, ApplyError, Change, Delta, Generation, Intent, Member, Publication,
    PublicationKey, Revision, Serve, SessionId, ShareMember, Topic, TopicIndex,
};
pub use link::{BrokerEnd, ControllerEnd, link};
pub use status::{Activity, FromBroker, FromController, MAX_LEASE, Refusal, RefusedItem, UNASKED};
