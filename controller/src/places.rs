//! What planning looks at: where sessions and publishers are, and whether the data plane can do what a
//! topic asks.

use std::net::{IpAddr, SocketAddr};

use offload::{Intent, PublicationKey, Refusal, SessionId, Topic};

use crate::config::Config;
use crate::installed::Installed;
use crate::learning::{Endpoint, Learning};
use crate::tables::{publication, subscriber};

/// What planning looks at.
pub(crate) struct View<'a> {
    pub(crate) config: &'a Config,
    pub(crate) intent: &'a Intent,
    pub(crate) learning: &'a Learning,
    pub(crate) installed: &'a Installed,
}

impl View<'_> {
    /// Where the session is to be reached, and how a copy for it is addressed.
    pub(crate) fn place(
        &self,
        session: SessionId,
    ) -> Result<(Endpoint, subscriber::Action), Refusal> {
        let sessions = &self.intent.sessions;
        let address = *sessions.get(&session).ok_or(Refusal::Unreachable)?;
        let services = self.services_for(address.ip())?;
        let endpoint = *self
            .learning
            .endpoint(address.ip())
            .ok_or(Refusal::Unreachable)?;
        let called = |service: &&SocketAddr| Some(service.ip()) == endpoint.service;
        let service = services.iter().copied().find(called).unwrap_or(services[0]); // there is one
        let deliver = subscriber::Action {
            eth_src: endpoint.calls,
            eth_dst: endpoint.mac,
            vid: endpoint.vid,
            ip_src: service.ip(),
            ip_dst: address.ip(),
            udp_src: service.port(),
            udp_dst: address.port(),
        };
        Ok((endpoint, deliver))
    }

    /// The broker's addresses of the client's family: at least one.
    fn services_for(&self, client: IpAddr) -> Result<Vec<&SocketAddr>, Refusal> {
        let services = self.intent.services.iter();
        let of_family = services.filter(|service| service.is_ipv4() == client.is_ipv4());
        let of_family: Vec<&SocketAddr> = of_family.collect();
        if of_family.is_empty() {
            let family = if client.is_ipv4() { "IPv4" } else { "IPv6" };
            let what = format!("{client}: the broker has no {family} address");
            return Err(Refusal::Unsupported(what));
        }
        Ok(of_family)
    }

    /// Whether the data plane could do what the topic asks; gives the broker's port.
    pub(crate) fn check(&self, topic: &Topic) -> Result<u16, Refusal> {
        if !self.config.policy.admits(&topic.name) {
            return Err(Refusal::Policy);
        }
        if topic.copy_q1 == topic.ack_q1 {
            let who = if topic.copy_q1 { "twice" } else { "by nobody" };
            let what = format!("a PUBLISH of QoS 1 would be acknowledged {who}");
            return Err(Refusal::Unsupported(what));
        }
        let mut shared = topic.shared.keys();
        if shared.any(|session| topic.member(*session).is_some()) {
            // A multicast group brings a session one copy.
            let what = "a session is served for itself and as a share member".to_owned();
            return Err(Refusal::Unsupported(what));
        }
        // Even without copies: a PUBLISH with Retain is copied to the broker.
        self.learning.broker_port().ok_or(Refusal::Unreachable)
    }
}

impl Learning {
    /// The publication's row.
    pub(crate) fn publication_key(
        &self,
        key: &PublicationKey,
    ) -> Result<publication::Key, Refusal> {
        let address = key.address;
        let endpoint = self.endpoint(address.ip()).ok_or(Refusal::Unreachable)?;
        Ok(publication::Key {
            ingress_port: endpoint.port,
            vid: endpoint.vid,
            ip_src: address.ip(),
            udp_src: address.port(),
            topic_id_type: key.alias.id_type.bits(),
            topic_id: key.alias.id,
        })
    }
}
