//! The tag of a copy that the data plane sends to the broker.
//!
//! Not part of MQTT-SN, but carried in its terms: a forwarder encapsulation whose Wireless Node
//! Id names the topic and the exact set of subscribers that the data plane has served.
//!
//! | octets | field |
//! |---|---|
//! | 0–1 | magic 0x5453 |
//! | 2 | version 1 |
//! | 3–6 | topic index, big-endian |
//! | 7–10 | generation, big-endian |
//!
//! The encapsulation is 14 octets: an even number, so that no 16-bit word behind it shifts in the
//! UDP checksum.

use crate::encapsulation::{Encapsulation, HEADER_LEN};
use crate::types::MsgType;

/// The first two octets of the Wireless Node Id.
pub const MAGIC: u16 = 0x5453;

/// The third octet of the Wireless Node Id.
pub const VERSION: u8 = 1;

/// The length of the Wireless Node Id in octets.
pub const NODE_ID_LEN: usize = 11;

/// The length of the whole encapsulation in octets.
pub const ENCAPSULATION_LEN: usize = HEADER_LEN + NODE_ID_LEN;

/// Which topic, and which set of its subscribers the data plane has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The broker's identity of the topic name.
    pub topic_index: u32,
    /// Names one exact set of subscribers.
    pub generation: u32,
}

impl Tag {
    /// Reads a tag; `None` if this Wireless Node Id is not one (other length, magic or version).
    #[inline]
    pub fn from_node_id(node_id: &[u8]) -> Option<Self> {
        const MAGIC_OCTETS: [u8; 2] = MAGIC.to_be_bytes();
        let &[s1, s0, VERSION, i3, i2, i1, i0, g3, g2, g1, g0] = node_id else {
            return None;
        };
        ([s1, s0] == MAGIC_OCTETS).then_some(Self {
            topic_index: u32::from_be_bytes([i3, i2, i1, i0]),
            generation: u32::from_be_bytes([g3, g2, g1, g0]),
        })
    }

    /// The Wireless Node Id that carries this tag.
    #[inline]
    pub fn to_node_id(self) -> [u8; NODE_ID_LEN] {
        let [s1, s0] = MAGIC.to_be_bytes();
        let [i3, i2, i1, i0] = self.topic_index.to_be_bytes();
        let [g3, g2, g1, g0] = self.generation.to_be_bytes();
        [s1, s0, VERSION, i3, i2, i1, i0, g3, g2, g1, g0]
    }

    /// The tag of this layer, if it carries one.
    #[inline]
    pub fn from_encapsulation(layer: &Encapsulation<'_>) -> Option<Self> {
        Self::from_node_id(layer.wireless_node_id)
    }

    /// The whole encapsulation, Ctrl 0, to be followed by the message.
    #[inline]
    pub fn to_encapsulation(self) -> [u8; ENCAPSULATION_LEN] {
        let mut octets = [0; ENCAPSULATION_LEN];
        let (header, node_id) = octets.split_at_mut(HEADER_LEN);
        header.copy_from_slice(&[ENCAPSULATION_LEN as u8, MsgType::Encapsulated.code(), 0]);
        node_id.copy_from_slice(&self.to_node_id());
        octets
    }
}
