//! What a client's host sends.

use std::net::SocketAddr;

use mqttsn::Packet;
use mqttsn::packet::Publish;
use mqttsn::types::{Alias, MsgId, Qos};

use super::{ANNOUNCED, Client, Published, State, broker_at};
use crate::frame::{Checksum, Datagram};
use crate::histories::events::Op;
use crate::histories::links::Millis;
use crate::hosts::BROKER;
use crate::topics::Topic;

impl Client {
    /// The last PUBLISH of QoS 1 again.
    pub(super) fn again(&mut self) {
        if let Some((id, mut payload)) = self.last_publish.clone() {
            self.again.push(id);
            let flags = if payload[0] == 1 { 4 } else { 2 };
            payload[flags] |= 0x80;
            let datagram = self.datagram(self.address, payload);
            self.frames.push(datagram.frame());
        }
    }

    /// A PUBLISH at QoS −1 that is long, or damaged.
    pub(super) fn publish_alone(&mut self, now: Millis, round: usize, op: &Op, name: [u8; 2]) {
        self.published_count += 1;
        let id = format!("p{}:{}", self.n, self.published_count);
        let topic = Topic::Short(name).name();
        let mut data = format!("{id} {topic} ").into_bytes();
        let damaged = matches!(op, Op::Damaged(_));
        if !damaged {
            // With this it fills an Ethernet frame, give or take a few octets.
            data.resize(1425 + self.published_count as usize % 20, b'.');
        }
        let publish = Packet::Publish(Publish {
            dup: false,
            qos: Qos::MinusOne,
            retain: false,
            alias: Alias::short(name),
            msg_id: MsgId(0),
            data: &data,
        });
        let mut payload = vec![0; publish.encoded_len()];
        publish.encode(&mut payload).expect("short enough");
        let mut datagram = self.datagram(self.address, payload);
        if damaged {
            datagram.checksum = Checksum::Flipped(0x0100);
        } else {
            let qos = Qos::MinusOne;
            self.published.push(Published {
                id,
                topic,
                qos,
                round,
                sent: now,
            });
        }
        self.frames.push(datagram.frame());
    }

    /// PINGREQ again, from where it is now.
    pub(super) fn announce(&mut self, now: Millis) {
        self.again_at = now + ANNOUNCED;
        let datagram = self.datagram(self.address, vec![2, 0x16]);
        self.frames.push(datagram.frame());
    }

    /// A datagram of somebody else's, or of nobody's.
    pub(super) fn send_from(&mut self, from: SocketAddr, payload: Vec<u8>) {
        let datagram = self.datagram(from, payload);
        self.frames.push(datagram.frame());
    }

    pub(super) fn datagram(&self, src: SocketAddr, payload: Vec<u8>) -> Datagram {
        Datagram {
            eth_src: Client::mac(self.n),
            eth_dst: BROKER.mac,
            tag: self.tag,
            src,
            dst: broker_at(src.is_ipv6()),
            tos: 0,
            identification: 0,
            ttl: 64,
            checksum: Checksum::Right,
            payload,
        }
    }

    pub(super) fn flush(&mut self, now: Millis) {
        while let Some(payload) = self.core.poll_transmit() {
            if self.state == State::Crashed {
                continue;
            }
            let flags = if payload[0] == 1 { 4 } else { 2 };
            let qos = (payload[flags - 1] == 0x0c).then(|| payload[flags] & 0x60);
            if qos != Some(0x60) {
                // QoS −1 is no sign of life: whoever knows that says PINGREQ beside it.
                self.last_sent = now;
            }
            if qos == Some(0x20) {
                let id = format!("p{}:{}", self.n, self.published_count);
                self.last_publish = Some((id, payload.clone()));
            }
            let datagram = self.datagram(self.address, payload);
            self.frames.push(datagram.frame());
        }
    }

    /// The frames that it sends.
    pub(in crate::histories) fn take_frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.frames)
    }
}
