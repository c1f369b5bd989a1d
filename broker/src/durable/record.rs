//! Keys and values of what is stored, schema version 1.
//!
//! A key is one octet for its kind and then big-endian numbers, so that entries come in the order in
//! which they can be taken up again: a topic before the sessions that name it, a session before what
//! belongs to it. Values are postcard (a compact, specified encoding without names), or the octets
//! themselves where there is one field.

use std::net::SocketAddr;
use std::time::Duration;

use mqttsn::{MsgId, Qos};
use offload::{SessionId, TopicIndex};
use serde::{Deserialize, Serialize};

use crate::session::due::{Due, DueFilter};
use crate::session::will::Will;
use crate::session::{Session, State};
use crate::transmit::{Peer, Via};

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// The numbers given out last.
    Counters,
    /// A topic; the value is its name.
    Topic(TopicIndex),
    /// A session.
    Session(SessionId),
    /// Its will.
    Will(SessionId),
    /// One of its topic ids.
    TopicId(SessionId, u16),
    /// One of its subscriptions, by the topic filter.
    Subscription(SessionId, &'a str),
    /// The exchange under way with it.
    Exchange(SessionId),
    /// A QoS 2 message of the client that was passed on and not yet released; no value.
    Received(SessionId, MsgId),
    /// The payload of messages that wait; the value is the payload.
    Body(u64),
    /// A message that waits for a session, by its place.
    Queued(SessionId, u64),
    /// The retained message of a topic; the value is one octet of QoS and the payload.
    Retained(TopicIndex),
    /// What of the retained messages is due to a session.
    Due(SessionId),
    /// By which share group a message came that waits for a session.
    Shared(SessionId, u64),
}

/// The key cannot be of this schema version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadKey;

impl<'a> Key<'a> {
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            Key::Counters => to.push(0),
            Key::Topic(topic) => number(to, 1, topic.0),
            Key::Session(session) => number(to, 2, session.0),
            Key::Will(session) => number(to, 3, session.0),
            Key::TopicId(session, id) => {
                number(to, 4, session.0);
                to.extend_from_slice(&id.to_be_bytes());
            }
            Key::Subscription(session, filter) => {
                number(to, 5, session.0);
                to.extend_from_slice(filter.as_bytes());
            }
            Key::Exchange(session) => number(to, 6, session.0),
            Key::Received(session, msg_id) => {
                number(to, 7, session.0);
                to.extend_from_slice(&msg_id.0.to_be_bytes());
            }
            Key::Body(body) => {
                to.push(8);
                to.extend_from_slice(&body.to_be_bytes());
            }
            Key::Queued(session, seq) => {
                number(to, 9, session.0);
                to.extend_from_slice(&seq.to_be_bytes());
            }
            Key::Retained(topic) => number(to, 10, topic.0),
            Key::Due(session) => number(to, 11, session.0),
            Key::Shared(session, seq) => {
                number(to, 12, session.0);
                to.extend_from_slice(&seq.to_be_bytes());
            }
        }
    }

    pub(crate) fn decode(octets: &'a [u8]) -> Result<Self, BadKey> {
        let (&kind, rest) = octets.split_first().ok_or(BadKey)?;
        let first = |rest: &'a [u8]| -> Result<(u32, &'a [u8]), BadKey> {
            let (first, rest) = rest.split_first_chunk::<4>().ok_or(BadKey)?;
            Ok((u32::from_be_bytes(*first), rest))
        };
        let only = |rest| match first(rest) {
            Ok((number, [])) => Ok(number),
            _ => Err(BadKey),
        };
        Ok(match kind {
            0 if rest.is_empty() => Key::Counters,
            1 => Key::Topic(TopicIndex(only(rest)?)),
            2 => Key::Session(SessionId(only(rest)?)),
            3 => Key::Will(SessionId(only(rest)?)),
            4 => {
                let (session, rest) = first(rest)?;
                let id = rest.try_into().map_err(|_| BadKey)?;
                Key::TopicId(SessionId(session), u16::from_be_bytes(id))
            }
            5 => {
                let (session, rest) = first(rest)?;
                let filter = std::str::from_utf8(rest).map_err(|_| BadKey)?;
                Key::Subscription(SessionId(session), filter)
            }
            6 => Key::Exchange(SessionId(only(rest)?)),
            7 => {
                let (session, rest) = first(rest)?;
                let id = rest.try_into().map_err(|_| BadKey)?;
                Key::Received(SessionId(session), MsgId(u16::from_be_bytes(id)))
            }
            8 => Key::Body(u64::from_be_bytes(rest.try_into().map_err(|_| BadKey)?)),
            9 => {
                let (session, rest) = first(rest)?;
                let seq = rest.try_into().map_err(|_| BadKey)?;
                Key::Queued(SessionId(session), u64::from_be_bytes(seq))
            }
            10 => Key::Retained(TopicIndex(only(rest)?)),
            11 => Key::Due(SessionId(only(rest)?)),
            12 => {
                let (session, rest) = first(rest)?;
                let seq = rest.try_into().map_err(|_| BadKey)?;
                Key::Shared(SessionId(session), u64::from_be_bytes(seq))
            }
            _ => return Err(BadKey),
        })
    }
}

fn number(to: &mut Vec<u8>, kind: u8, number: u32) {
    to.push(kind);
    to.extend_from_slice(&number.to_be_bytes());
}

/// Numbers that are not given out twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) session: u32,
    pub(crate) topic: u32,
    pub(crate) body: u64,
}

/// A session, without what has entries of its own.
#[derive(Serialize, Deserialize)]
pub(crate) struct SessionRecord<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) identity: Option<&'a str>,
    pub(crate) proved: bool,
    pub(crate) confirmed: bool,
    pub(crate) clean: bool,
    state: u8,
    pub(crate) ready: bool,
    keep_alive_ms: u64,
    sleep_ms: u64,
    dtls: bool,
    address: SocketAddr,
    encapsulation: &'a [u8],
    /// See `TopicIds`.
    pub(crate) connection: u32,
}

impl<'a> SessionRecord<'a> {
    pub(crate) fn of(session: &'a Session) -> Self {
        let Peer {
            via,
            address,
            encapsulation,
        } = &session.peer;
        SessionRecord {
            client_id: &session.client_id,
            identity: session.identity.as_deref(),
            proved: session.proved,
            confirmed: session.confirmed,
            clean: session.clean,
            state: match session.state {
                State::Active => 0,
                State::Asleep => 1,
                State::Awake => 2,
                State::Disconnected => 3,
            },
            ready: session.ready,
            // Seconds of 16 bits: far below 2^64 ms.
            keep_alive_ms: session.keep_alive.as_millis() as u64,
            sleep_ms: session.sleep.as_millis() as u64,
            dtls: *via == Via::Dtls,
            address: *address,
            encapsulation,
            connection: session.topic_ids.connection(),
        }
    }

    pub(crate) fn state(&self) -> Option<State> {
        Some(match self.state {
            0 => State::Active,
            1 => State::Asleep,
            2 => State::Awake,
            3 => State::Disconnected,
            _ => return None,
        })
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms)
    }

    pub(crate) fn sleep(&self) -> Duration {
        Duration::from_millis(self.sleep_ms)
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer {
            via: if self.dtls { Via::Dtls } else { Via::Udp },
            address: self.address,
            encapsulation: self.encapsulation.into(),
        }
    }
}

/// A will.
#[derive(Serialize, Deserialize)]
pub(crate) struct WillRecord<'a> {
    topic: &'a str,
    qos: u8,
    retain: bool,
    payload: &'a [u8],
}

impl<'a> WillRecord<'a> {
    pub(crate) fn of(will: &'a Will) -> Self {
        WillRecord {
            topic: &will.topic,
            qos: will.qos.bits(),
            retain: will.retain,
            payload: &will.payload,
        }
    }

    pub(crate) fn will(&self) -> Will {
        Will {
            topic: self.topic.into(),
            qos: Qos::from_bits(self.qos),
            retain: self.retain,
            payload: self.payload.into(),
        }
    }
}

/// A topic id of a session.
#[derive(Serialize, Deserialize)]
pub(crate) struct TopicIdRecord {
    pub(crate) topic: u32,
    /// See `TopicIds`.
    pub(crate) known_in: u32,
}

/// A subscription.
#[derive(Serialize, Deserialize)]
pub(crate) struct SubscriptionRecord {
    pub(crate) qos: u8,
    /// The predefined topic id by which the client named the topic.
    pub(crate) predefined: Option<u16>,
}

/// What is under way with a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExchangeRecord {
    /// The MsgId given out last, when this was written.
    pub(crate) last_msg_id: u16,
    /// The message that was sent; void once that message is gone.
    pub(crate) sent: Option<SentRecord>,
    /// The MsgId of a QoS 2 message that the client has and that awaits its PUBCOMP.
    pub(crate) release: Option<u16>,
}

/// A message that was sent and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentRecord {
    /// Its place.
    pub(crate) seq: u64,
    pub(crate) msg_id: u16,
    /// TopicIdType and TopicId that it carries, while the client can hear.
    pub(crate) alias: Option<(u8, u16)>,
}

/// A message that waits.
#[derive(Serialize, Deserialize)]
pub(crate) struct QueuedRecord {
    pub(crate) topic: u32,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) body: u64,
}

/// How a message that waits came to its session.
#[derive(Serialize, Deserialize)]
pub(crate) struct SharedRecord<'a> {
    /// The whole filter of the share group.
    pub(crate) filter: &'a str,
    /// See `Publisher`.
    pub(crate) publisher: u32,
}

/// A subscription that is catching up with what is retained.
#[derive(Serialize, Deserialize)]
pub(crate) struct DueRecord<'a> {
    pub(crate) filter: &'a str,
    pub(crate) next: u32,
    pub(crate) last: u32,
    pub(crate) passed: Vec<u32>,
}

impl<'a> DueRecord<'a> {
    /// All of a session, in their turn.
    pub(crate) fn all(due: &'a Due) -> Vec<Self> {
        due.filters()
            .map(|due| DueRecord {
                filter: &due.filter,
                next: due.next.0,
                last: due.last.0,
                passed: due.passed.iter().map(|topic| topic.0).collect(),
            })
            .collect()
    }

    pub(crate) fn due(&self) -> DueFilter {
        DueFilter {
            filter: self.filter.into(),
            next: TopicIndex(self.next),
            last: TopicIndex(self.last),
            passed: self.passed.iter().copied().map(TopicIndex).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_comes_back_from_its_octets() {
        let (session, topic) = (SessionId(0x0102_0304), TopicIndex(0xFFFF_FFFF));
        let keys = [
            Key::Counters,
            Key::Topic(topic),
            Key::Session(session),
            Key::Will(session),
            Key::TopicId(session, 7),
            Key::Subscription(session, "a/+/#"),
            Key::Exchange(session),
            Key::Received(session, MsgId(9)),
            Key::Body(u64::MAX),
            Key::Queued(session, 1 << 40),
            Key::Retained(topic),
            Key::Due(session),
            Key::Shared(session, 1 << 40),
        ];
        let mut encoded = Vec::new();
        for key in keys {
            let mut octets = Vec::new();
            key.encode(&mut octets);
            assert_eq!(Key::decode(&octets), Ok(key));
            encoded.push(octets);
        }
        assert!(encoded.is_sorted(), "what others refer to comes first");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let bad: [&[u8]; 6] = [
            &[],
            &[0, 0],
            &[1, 0, 0, 0],
            &[2, 0, 0, 0, 1, 1],
            &[5, 0, 0, 0, 1, 0xFF],
            &[13, 0, 0, 0, 1],
        ];
        for octets in bad {
            assert_eq!(Key::decode(octets), Err(BadKey), "{octets:?}");
        }
    }
}
