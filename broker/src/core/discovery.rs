//! How clients find this gateway: ADVERTISE, SEARCHGW, GWINFO (MQTT-SN 1.2 §6.1).
//!
//! The text has both ADVERTISE and GWINFO broadcast. Over UDP the broadcast of the underlying layer
//! is a multicast group, if one is configured. GWINFO goes to the group, so that others who were
//! about to search need not, *and* to the searcher itself: who searches from a port of its own does
//! not hear the group's, and without a group there is nothing else.

use std::time::Instant;

use mqttsn::packet::{Advertise, GwInfo};
use mqttsn::{Packet, Seconds};

use super::Broker;
use crate::config::AdvertiseConfig;
use crate::rate::Bucket;
use crate::transmit::{Peer, Via};

/// What the broker does by itself to be found.
#[derive(Debug)]
pub(super) struct Discovery {
    /// When the next ADVERTISE is due; `None` without a group.
    next: Option<Instant>,
    answers: Bucket,
}

impl Discovery {
    /// The first ADVERTISE is due at once.
    pub(super) fn new(config: &AdvertiseConfig, now: Instant) -> Self {
        Discovery {
            next: config.group.map(|_| now),
            answers: Bucket::default(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }
}

impl Broker {
    /// Announces the gateway, where it is time to.
    pub(super) fn advertise(&mut self, now: Instant) {
        let (Some(group), Some(due)) = (self.config.advertise.group, self.discovery.next) else {
            return;
        };
        if now < due {
            return;
        }
        let interval = self.config.advertise.interval();
        // A late one does not make the next one early: Duration promises nothing for then.
        self.discovery.next = Some(now + interval);
        let advertise = Advertise {
            gw_id: self.config.gateway_id,
            duration: Seconds(self.config.advertise.interval_s),
        };
        self.transmits
            .push(&Peer::direct(group), &Packet::Advertise(advertise));
    }

    /// Answers SEARCHGW; a gateway leaves GwAdd out (MQTT-SN 1.2 §5.4.3).
    pub(super) fn on_search_gw(&mut self, now: Instant, peer: &Peer) {
        let rate = self.config.advertise.answer_rate();
        if !self.discovery.answers.take(now, rate) {
            self.stats.searches_dropped += 1;
            return;
        }
        let answer = Packet::GwInfo(GwInfo {
            gw_id: self.config.gateway_id,
            gw_add: &[],
        });
        self.transmits.push(peer, &answer);
        // Behind a forwarder the broadcast is the forwarder's; a DTLS client needs none.
        if let Some(group) = self.config.advertise.group
            && peer.via == Via::Udp
            && peer.is_direct()
        {
            self.transmits.push(&Peer::direct(group), &answer);
        }
    }
}
