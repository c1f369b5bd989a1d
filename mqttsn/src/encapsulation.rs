//! The forwarder encapsulation of MQTT-SN 1.2 §5.5.

use crate::decode::DecodeError;
use crate::encode::EncodeError;
use crate::packet::Packet;
use crate::types::MsgType;

/// Octets of an encapsulation before its Wireless Node Id: Length, MsgType and Ctrl.
pub const HEADER_LEN: usize = 3;

/// The longest Wireless Node Id in octets: the Length is one octet and counts the header too.
pub const MAX_NODE_ID_LEN: usize = u8::MAX as usize - HEADER_LEN;

/// One layer that a forwarder put around a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation<'a> {
    /// The Ctrl octet: the broadcast radius in bits 1 and 0, the others reserved and kept.
    pub ctrl: u8,
    /// The node that sent the message or shall receive it, in the forwarder's own form.
    pub wireless_node_id: &'a [u8],
}

impl<'a> Encapsulation<'a> {
    /// The broadcast radius, 0 to 3. Of use only from gateway to forwarder.
    #[inline]
    pub const fn radius(&self) -> u8 {
        self.ctrl & 0b11
    }

    /// Whether `datagram` starts with the MsgType of an encapsulation.
    #[inline]
    pub fn is_at_start_of(datagram: &[u8]) -> bool {
        // With 0x01 first, the second octet is no MsgType but the high octet of a long Length.
        matches!(*datagram, [length, type_code, ..]
            if length != 0x01 && type_code == MsgType::Encapsulated.code())
    }

    /// Takes one layer off: the encapsulation, and the message (or further layer) it is around.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] if `datagram` is not an encapsulation (with its MsgType),
    /// [`DecodeError::LongEncapsulation`] if its Length has the 3-octet form,
    /// [`DecodeError::Truncated`] if its Length leaves no room for Ctrl, and
    /// [`DecodeError::LengthMismatch`] if its Length is more than the datagram holds.
    pub fn decode(datagram: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        const ENCAPSULATED: u8 = MsgType::Encapsulated.code();
        let actual = datagram.len();
        let length = match *datagram {
            [0x01, _, _, ENCAPSULATED, ..] => return Err(DecodeError::LongEncapsulation),
            [0x01, _, _, type_code, ..] => return Err(DecodeError::UnknownType(type_code)),
            [0x01, ..] => return Err(DecodeError::TooShort { needed: 4, actual }),
            [length, ENCAPSULATED, ..] => usize::from(length),
            [_, type_code, ..] => return Err(DecodeError::UnknownType(type_code)),
            [..] => return Err(DecodeError::TooShort { needed: 2, actual }),
        };
        if length < HEADER_LEN {
            return Err(DecodeError::Truncated {
                msg_type: MsgType::Encapsulated,
                needed: HEADER_LEN - 2,
                actual: length.saturating_sub(2),
            });
        }
        let mismatch = DecodeError::LengthMismatch {
            declared: length,
            actual,
        };
        let (layer, inner) = datagram.split_at_checked(length).ok_or(mismatch)?;
        let [_, _, ctrl, wireless_node_id @ ..] = layer else {
            return Err(mismatch);
        };
        Ok((
            Self {
                ctrl: *ctrl,
                wireless_node_id,
            },
            inner,
        ))
    }

    /// The length of this layer in octets, without the message inside.
    #[inline]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN + self.wireless_node_id.len()
    }

    /// Writes this layer to the start of `buffer` and returns its length in octets; the message
    /// goes behind it.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`] if `buffer` is shorter than the layer,
    /// [`EncodeError::TooLong`] if the Wireless Node Id is longer than [`MAX_NODE_ID_LEN`].
    /// Nothing is written then.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let length = self.encoded_len();
        let Ok(length_octet) = u8::try_from(length) else {
            return Err(EncodeError::TooLong {
                length,
                max: usize::from(u8::MAX),
            });
        };
        let available = buffer.len();
        let Some(layer) = buffer.get_mut(..length) else {
            return Err(EncodeError::BufferTooSmall {
                needed: length,
                available,
            });
        };
        let (header, wireless_node_id) = layer.split_at_mut(HEADER_LEN);
        header.copy_from_slice(&[length_octet, MsgType::Encapsulated.code(), self.ctrl]);
        wireless_node_id.copy_from_slice(self.wireless_node_id);
        Ok(length)
    }
}

/// A datagram: none, one or several layers of encapsulation, and the message inside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    encapsulation: &'a [u8],
    message: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Finds the message in a datagram. Each layer is checked, the message is not yet: see
    /// [`Frame::packet`].
    ///
    /// # Errors
    /// As [`Encapsulation::decode`]. A datagram without encapsulation is never an error here.
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = datagram;
        while Encapsulation::is_at_start_of(message) {
            (_, message) = Encapsulation::decode(message)?;
        }
        if matches!(*message, [0x01, _, _, type_code, ..]
            if type_code == MsgType::Encapsulated.code())
        {
            return Err(DecodeError::LongEncapsulation);
        }
        // `message` is a tail of `datagram`, so the difference is the length of the layers.
        let (encapsulation, message) = datagram.split_at(datagram.len() - message.len());
        Ok(Self {
            encapsulation,
            message,
        })
    }

    /// The layers, outermost first.
    #[inline]
    pub fn layers(&self) -> Layers<'a> {
        Layers {
            rest: self.encapsulation,
        }
    }

    /// The octets of all layers, as they go in front of an answer to the same node.
    #[inline]
    pub const fn encapsulation(&self) -> &'a [u8] {
        self.encapsulation
    }

    /// The octets of the message.
    #[inline]
    pub const fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Reads the message.
    ///
    /// # Errors
    /// As [`Packet::decode`].
    #[inline]
    pub fn packet(&self) -> Result<Packet<'a>, DecodeError> {
        Packet::decode(self.message)
    }
}

/// The layers of a [`Frame`], outermost first.
#[derive(Debug, Clone)]
pub struct Layers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Layers<'a> {
    type Item = Encapsulation<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // `Frame::decode` checked every layer, so the only error is the end of the octets.
        let (layer, rest) = Encapsulation::decode(self.rest).ok()?;
        self.rest = rest;
        Some(layer)
    }
}
