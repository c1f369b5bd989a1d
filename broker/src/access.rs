//! Who may connect, publish and subscribe.

mod filters;
mod policy;
mod rules;

pub use policy::Policy;

use crate::transmit::{Peer, Source, Via};

/// A client that asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its ClientId. In [`Access::may_connect`] as the client wrote it, a secret included; elsewhere
    /// the part of it that names the client.
    pub id: &'a str,
    /// Where it is, and who the transport says it is.
    pub source: Source<'a>,
    /// Whether it is behind a forwarder: then `source` is the forwarder's.
    pub forwarded: bool,
}

impl<'a> Client<'a> {
    pub(crate) fn at(id: &'a str, peer: &Peer, identity: Option<&'a str>) -> Self {
        Client {
            id,
            source: Source {
                via: peer.via,
                address: peer.address,
                identity,
            },
            forwarded: !peer.encapsulation.is_empty(),
        }
    }
}

/// A client that may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted<'a> {
    /// The part of its ClientId that names it.
    pub name: &'a str,
    /// Whether it has proved that it is this client. Who has not cannot take its session over.
    pub proved: bool,
}

/// Why somebody may not connect, for the log. On the wire it is always "not supported": MQTT-SN 1.2
/// §5.3.10 has no other code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// This client may not use this transport.
    #[error("this client may not connect over {}", match .0 { Via::Udp => "plain UDP", Via::Dtls => "DTLS" })]
    Transport(Via),
    /// The transport has proved another identity than the ClientId.
    #[error("the transport has proved that this is another client")]
    OtherIdentity,
    /// Only who proves its key may use this ClientId.
    #[error("this ClientId has a key, and the client did not prove that it knows it")]
    Protected,
    /// The secret is not the client's key.
    #[error("the secret in the ClientId is wrong")]
    WrongSecret,
    /// Nobody may connect without a proof.
    #[error("clients must prove who they are")]
    Anonymous,
    /// The ClientId has no valid form.
    #[error("a ClientId has 1 to 23 characters")]
    Form,
}

/// Decides about permissions. Asked when a right is acquired (CONNECT, REGISTER, SUBSCRIBE, the
/// first PUBLISH with an alias), not for each message: the answer must hold until the session ends
/// or [`Broker::set_access`](crate::Broker::set_access) asks for all rights anew. Only PUBLISH of
/// QoS −1 is asked for each time.
pub trait Access: Send {
    /// Whether this client may open a session (or, asleep, fetch its messages), and under which name.
    /// By itself everybody may who is not proved to be another.
    ///
    /// # Errors
    /// Why it may not.
    fn may_connect<'a>(&self, client: &Client<'a>) -> Result<Admitted<'a>, Denied> {
        let proved = client.source.identity == Some(client.id);
        if client.source.identity.is_some() && !proved && !client.forwarded {
            return Err(Denied::OtherIdentity);
        }
        Ok(Admitted {
            name: client.id,
            proved,
        })
    }

    /// Whether this client may publish to the topic; `None` is anybody, at QoS −1.
    fn may_publish(&self, client: Option<&Client<'_>>, topic: &str) -> bool {
        let _ = (client, topic);
        true
    }

    /// Whether this client may subscribe to the filter, and so receive each topic that it matches.
    fn may_subscribe(&self, client: &Client<'_>, filter: &str) -> bool {
        let _ = (client, filter);
        true
    }
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Access for AllowAll {}
