//! The way in for transports that the driver does not know.

use std::net::SocketAddr;
use std::sync::Arc;

use super::shared::Shared;
use crate::transmit::{Source, Via};

/// Hands datagrams to a running broker, from any thread.
///
/// The answers leave before `handle` returns, or by another thread that is sending to the same
/// destination: for [`Via::Udp`](crate::Via::Udp) by the driver's own sockets, else by the
/// [`Outbound`](super::Outbound) of that [`Via`](crate::Via), which is called from in here. So hold no
/// lock that the `Outbound` takes.
#[derive(Clone, Debug)]
pub struct Ingress {
    shared: Arc<Shared>,
}

impl Ingress {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Ingress { shared }
    }

    /// Takes one datagram. Datagrams of one source must come one at a time and in their order. After
    /// the broker's end they are ignored.
    pub fn handle(&self, source: Source<'_>, datagram: &[u8]) {
        self.shared.handle(std::iter::once((source, datagram)));
    }

    /// The transport's connection with this address has ended: see
    /// [`Broker::transport_ended`](crate::Broker::transport_ended). In order with what came by it.
    pub fn ended(&self, via: Via, address: SocketAddr) {
        // A broker that has stopped need not know.
        let _ = self
            .shared
            .act(|core, now| core.broker.transport_ended(now, via, address));
    }
}
