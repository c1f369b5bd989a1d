//! What datagrams leave by, for each [`Via`].

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::io::IoCounters;
use crate::transmit::{Transmits, Via};

/// Sends datagrams for a transport that the driver does not know.
///
/// Calls for one destination come one at a time and in the order in which the broker said them; for
/// different destinations they come from several threads at once. `send` must not wait for long, and
/// must not call [`Ingress::handle`](super::Ingress::handle).
pub trait Outbound: Send + Sync {
    /// Sends one datagram. What cannot be sent is lost, as datagrams are.
    fn send(&self, to: SocketAddr, datagram: &[u8]);
}

/// The ways out that there are.
#[derive(Default)]
pub(super) struct Ways {
    udp: OnceLock<Way>,
    dtls: OnceLock<Arc<dyn Outbound>>,
    pub(super) counters: IoCounters,
}

/// The way out for plain UDP.
pub(super) enum Way {
    /// Something that takes one datagram at a time.
    Outbound(Arc<dyn Outbound>),
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ways")
            .field("udp", &self.udp.get().is_some())
            .field("dtls", &self.dtls.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Ways {
    /// Plain UDP leaves by this; false if it had a way already.
    pub(super) fn set_udp(&self, way: Way) -> bool {
        self.udp.set(way).is_ok()
    }

    /// DTLS leaves by this; false if it had a way already.
    pub(super) fn set_dtls(&self, outbound: Arc<dyn Outbound>) -> bool {
        self.dtls.set(outbound).is_ok()
    }
}

/// Sends the datagrams of one lane.
#[derive(Debug, Default)]
pub(super) struct Sender {}

impl Sender {
    /// Sends all datagrams, in their order per destination.
    pub(super) fn send(&mut self, outbox: &Transmits, _lane: usize, ways: &Ways) {
        for entry in outbox.entries() {
            let outbound = match entry.via {
                Via::Udp => ways.udp.get().map(|Way::Outbound(outbound)| outbound),
                Via::Dtls => ways.dtls.get(),
            };
            match outbound {
                Some(outbound) => outbound.send(entry.to, &outbox.buffer()[entry.range()]),
                None => ways.counters.dropped(1),
            }
        }
    }
}
