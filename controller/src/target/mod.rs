//! The switch behind a small trait: the real one over P4Runtime, and one in memory for tests.

mod advice;
pub mod fake;
mod grpc;
mod rpc;
mod schema;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::apply::{RowError, Update};
use crate::tables::digests::Learned;
use crate::tables::{Key, Value, smac};

pub use grpc::{GrpcSwitch, GrpcTarget, error_chain, to_event};
pub use rpc::{Connection, Rpc};
pub use schema::{PipelineConfig, PipelineError, Schema};

/// What the switch reports by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This controller is the primary one.
    Primary,
    /// This controller is not primary.
    Backup {
        /// The highest election id there ever was, where the switch has said so.
        highest: Option<u128>,
        /// Nobody is primary.
        vacant: bool,
    },
    /// Digest messages.
    Learned(Vec<Learned>),
    /// Rows of `smac` that were not hit for their idle timeout.
    StationsIdle(Vec<smac::Key>),
    /// The answer to [`Target::send_lease`].
    Echo {
        /// Which one.
        request: u32,
        /// The switch's clock, µs.
        timestamp_us: u64,
    },
}

/// The switch cannot be worked with (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No connection, or no longer.
    #[error("the switch is lost: {0}")]
    Lost(String),
    /// Another controller is primary.
    #[error("the switch does not take this controller as primary: {0}")]
    NotPrimary(String),
    /// It refuses the program. Trying again does not help.
    #[error("the switch refuses the program: {0}")]
    Pipeline(String),
    /// It refuses a read.
    #[error("the switch refuses a read: {0}")]
    Read(String),
}

/// What a row's direct counter shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets that hit the row.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// What a row says of who hit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Packets that hit it since it was inserted.
    pub packets: u64,
    /// The time since the last one, or since the row was written if that was later.
    pub idle: Duration,
}

/// One connected switch.
pub trait Target: Send + Sync + 'static {
    /// Loads the program if another is loaded. True if it was loaded, so that the switch is empty.
    fn prepare(&self) -> impl Future<Output = Result<bool, TargetError>> + Send;

    /// Writes a batch; one result for each update in their order.
    fn write(
        &self,
        updates: Vec<Update>,
    ) -> impl Future<Output = Result<Vec<Result<(), RowError>>, TargetError>> + Send;

    /// All rows of the controller's tables, groups, clone sessions and digests.
    fn read(&self) -> impl Future<Output = Result<Vec<(Key, Value)>, TargetError>> + Send;

    /// What rows of `publication` say of their publishers; None for rows that are not there.
    fn hits(
        &self,
        rows: Vec<Key>,
    ) -> impl Future<Output = Result<Vec<Option<Hit>>, TargetError>> + Send;

    /// The direct counters of rows.
    fn counters(
        &self,
        rows: Vec<Key>,
    ) -> impl Future<Output = Result<Vec<Counter>, TargetError>> + Send;

    /// Packets to a service, by the name of what became of them.
    fn paths(&self) -> impl Future<Output = Result<BTreeMap<String, u64>, TargetError>> + Send;

    /// Sends packet-out `OUT_LEASE`; [`Event::Echo`] answers it.
    fn send_lease(
        &self,
        deadline_us: u64,
        request: u32,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// How many rows each table has room for, where known.
    fn sizes(&self) -> HashMap<&'static str, usize>;
}

/// How to get at a switch.
pub trait Switch: Send + 'static {
    /// What a connection is.
    type Target: Target;

    /// Connects and bids to be primary. The events end with the connection.
    fn connect(
        &mut self,
    ) -> impl Future<Output = Result<(Self::Target, mpsc::Receiver<Event>), TargetError>> + Send;

    /// Bids with this election id at the next connections, so that this controller takes over. When
    /// it turns out to be taken, the configured one is used again.
    fn raise(&mut self, election_id: u128);

    /// The election id that it bids with.
    fn election_id(&self) -> u128;

    /// Where it is, for messages.
    fn address(&self) -> String;
}
