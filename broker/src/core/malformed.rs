//! Requests that cannot be read and are answered all the same.

use mqttsn::packet::Suback;
use mqttsn::{Frame, MsgId, Packet, Qos, ReturnCode};

use super::Broker;
use crate::transmit::{Peer, Source};

impl Broker {
    /// A SUBSCRIBE whose TopicIdType is the reserved 0b11. MQTT-SN 1.2 §6.9: a subscription that cannot
    /// be accepted is answered with the reason.
    pub(super) fn refuse_reserved_subscribe(&mut self, from: Source<'_>, datagram: &[u8]) {
        let Ok(frame) = Frame::decode(datagram) else {
            return;
        };
        let message = frame.message();
        // Length in its short or its long form, MsgType, Flags, MsgId (§5.2.1, §5.4.15).
        let header = if message.first() == Some(&1) { 4 } else { 2 };
        let Some(&[high, low]) = message.get(header + 1..header + 3) else {
            return;
        };
        let peer = Peer {
            via: from.via,
            address: from.address,
            encapsulation: frame.encapsulation().into(),
        };
        let refusal = Packet::Suback(Suback {
            qos: Qos::Zero,
            topic_id: 0,
            msg_id: MsgId(u16::from_be_bytes([high, low])),
            return_code: ReturnCode::NotSupported,
        });
        if self.sessions.active_at(&peer).is_some() {
            self.transmits.push(&peer, &refusal);
        } else {
            self.answer_without_session(&peer, &refusal);
        }
    }
}
