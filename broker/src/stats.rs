//! What the broker has counted since it started.

use std::collections::BTreeMap;

use mqttsn::{DecodeError, MsgType};
use serde::Serialize;

/// Counters; each only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Messages received, by the name of their type.
    #[serde(serialize_with = "by_type")]
    received: [u64; 32],
    /// PUBLISH that arrived as themselves: served to nobody before.
    pub publish_untagged: u64,
    /// PUBLISH that arrived as tagged copies: the data plane served some subscribers.
    pub publish_tagged: u64,
    /// Tagged copies whose generation was no longer (or never) known.
    pub tag_unknown_generation: u64,
    /// Tagged copies of a topic that no longer exists.
    pub tag_unknown_topic: u64,
    /// Messages handed to subscribers by the broker itself, each recipient counted.
    pub delivered: u64,
    /// Messages that went from a member of a share group to another because that one left.
    pub handed_over: u64,
    /// Recipients that a tagged copy had already reached, so that the broker left them out.
    pub delivered_by_data_plane: u64,
    /// PUBLISH of QoS 0 and −1 dropped because there were too many in a second.
    pub dropped_rate: u64,
    /// Requests refused, with congestion where there is a code, because there were too many.
    pub refused_rate: u64,
    /// REGISTER, SUBSCRIBE and wills refused because something was full.
    pub refused_full: u64,
    /// CONNECT refused because there was no room for a session.
    pub sessions_refused: u64,
    /// Sessions of which only a CONNECT was heard that made room for another.
    pub sessions_evicted: u64,
    /// Will dialogues that made room for another.
    pub dialogues_evicted: u64,
    /// Messages dropped because too much waited for all clients together.
    pub dropped_total_full: u64,
    /// Messages dropped because a client's queue was full: those of QoS 0 in it before new ones of
    /// QoS 1 and 2.
    pub dropped_queue_full: u64,
    /// Messages dropped because the client refused or could not be given a topic id.
    pub dropped_no_topic_id: u64,
    /// Messages dropped because they, or the REGISTER before them, fit no datagram to the client.
    pub dropped_too_long: u64,
    /// QoS 0 messages dropped because their subscriber was not connected.
    pub dropped_not_connected: u64,
    /// Messages sent again because no answer came.
    pub retransmissions: u64,
    /// Messages not retained because there was no room.
    pub retained_full: u64,
    /// Requests refused for want of permission.
    pub access_denied: u64,
    /// Sessions whose client came to another address, which ended its former connection.
    pub takeovers: u64,
    /// CONNECT refused because its ClientId or its address is another's, who is alive.
    pub takeovers_refused: u64,
    /// Connections, subscriptions, publications and wills ended because they are not permitted any more.
    pub rights_withdrawn: u64,
    /// PUBLISH that named no topic the broker could find.
    pub invalid_topic: u64,
    /// Messages from peers without a session that need one.
    pub without_session: u64,
    /// SEARCHGW left unanswered because there were too many.
    pub searches_dropped: u64,
    /// Messages that only a gateway sends.
    pub unexpected: u64,
    /// Sessions that ended because nothing was heard.
    pub sessions_lost: u64,
    /// Wills published.
    pub wills: u64,
    /// Leases granted.
    pub grants: u64,
    /// Lease requests left unanswered.
    pub grants_withheld: u64,
    /// Answers that had to wait for the data plane.
    pub answers_held: u64,
    /// Answers sent because the lease had run out, before their revision was installed.
    pub answers_released_by_lapse: u64,
    /// Datagrams that are no message, by reason.
    pub malformed: BTreeMap<&'static str, u64>,
}

fn by_type<S: serde::Serializer>(counts: &[u64; 32], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(
        MsgType::ALL
            .iter()
            .filter_map(|ty| Some((ty.name(), *counts.get(usize::from(ty.code()))?)))
            .filter(|&(_, count)| count > 0),
    )
}

impl Stats {
    /// Messages of this type received (those inside a forwarder encapsulation by their own type).
    pub fn received(&self, msg_type: MsgType) -> u64 {
        self.received
            .get(usize::from(msg_type.code()))
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn count_received(&mut self, msg_type: MsgType) {
        if let Some(count) = self.received.get_mut(usize::from(msg_type.code())) {
            *count += 1;
        }
    }

    pub(crate) fn count_malformed(&mut self, error: &DecodeError) {
        let reason = match error {
            DecodeError::TooShort { .. } => "too short",
            DecodeError::LengthMismatch { .. } => "length mismatch",
            DecodeError::UnknownType(_) => "unknown type",
            DecodeError::Truncated { .. } => "truncated",
            DecodeError::TrailingOctets { .. } => "trailing octets",
            DecodeError::ReservedTopicIdType(_) => "reserved TopicIdType",
            DecodeError::NotUtf8 { .. } => "not UTF-8",
            DecodeError::Encapsulated | DecodeError::LongEncapsulation => "encapsulation",
        };
        *self.malformed.entry(reason).or_default() += 1;
    }
}
