//! How much a server holds, and for how long.

use std::time::Duration;

/// The bounds of a [`Server`](crate::Server).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Associations whose handshake is done. Default 10000.
    pub max_connections: usize,
    /// Handshakes in progress. A new one beyond them takes the place of the oldest. Default 1000.
    pub max_handshakes: usize,
    /// How long a handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
    /// An association over which nothing came for so long is closed. Default one hour.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 10_000,
            max_handshakes: 1_000,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3_600),
        }
    }
}
