//! From a [`Packet`] to bytes in a buffer that the caller owns.

use core::fmt;

use crate::packet::{Packet, Publish};
use crate::types::{Flags, MAX_MESSAGE_LEN, MsgId, MsgType, ReturnCode, TopicRef};

/// Why a message was not written. Lengths are in octets; the buffer is untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// The buffer is shorter than the message.
    BufferTooSmall {
        /// The length of the message.
        needed: usize,
        /// The length of the buffer.
        available: usize,
    },
    /// The message is longer than its Length field can say: 65535 octets, or 255 for a forwarder
    /// encapsulation up to the end of its Wireless Node Id.
    TooLong {
        /// The length that the message would have.
        length: usize,
        /// The greatest length of such a message.
        max: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BufferTooSmall { needed, available } => {
                write!(f, "the message has {needed} octets, the buffer {available}")
            }
            Self::TooLong { length, max } => {
                write!(
                    f,
                    "the message would have {length} octets, its Length allows {max}"
                )
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// The fields between MsgType and the variable part: at most the six of SUBACK.
#[derive(Clone, Copy)]
struct Fixed {
    octets: [u8; 6],
    len: usize,
}

impl Fixed {
    #[inline(always)]
    fn new<const N: usize>(fields: [u8; N]) -> Self {
        const { assert!(N <= 6) };
        let mut octets = [0; 6];
        octets[..N].copy_from_slice(&fields);
        Self { octets, len: N }
    }
}

/// A message taken apart into its type, fixed fields and the variable part that ends it.
struct Parts<'a> {
    msg_type: MsgType,
    fixed: Fixed,
    variable: &'a [u8],
}

impl Parts<'_> {
    /// The total length, with the shortest form of the Length field (§5.2.1).
    #[inline(always)]
    fn len(&self) -> usize {
        let short = 2 + self.fixed.len + self.variable.len();
        if short <= usize::from(u8::MAX) {
            short
        } else {
            short + 2
        }
    }

    #[inline(always)]
    fn write(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let length = self.len();
        let Ok(length_field) = u16::try_from(length) else {
            return Err(EncodeError::TooLong {
                length,
                max: MAX_MESSAGE_LEN,
            });
        };
        let available = buffer.len();
        let Some(message) = buffer.get_mut(..length) else {
            return Err(EncodeError::BufferTooSmall {
                needed: length,
                available,
            });
        };
        let type_code = self.msg_type.code();
        let body = if let Ok(length_octet) = u8::try_from(length_field) {
            let (header, body) = message.split_at_mut(2);
            header.copy_from_slice(&[length_octet, type_code]);
            body
        } else {
            let [high, low] = length_field.to_be_bytes();
            let (header, body) = message.split_at_mut(4);
            header.copy_from_slice(&[0x01, high, low, type_code]);
            body
        };
        let (fixed, variable) = body.split_at_mut(self.fixed.len);
        fixed.copy_from_slice(&self.fixed.octets[..self.fixed.len]);
        variable.copy_from_slice(self.variable);
        Ok(length)
    }
}

impl<'a> Packet<'a> {
    /// The length of this message in octets, Length field included. More than
    /// [`MAX_MESSAGE_LEN`] if it cannot be encoded.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        self.parts().len()
    }

    /// Writes this message to the start of `buffer`, with the shortest form of the Length field,
    /// and returns its length in octets.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`] if `buffer` is shorter than the message,
    /// [`EncodeError::TooLong`] if the message is longer than 65535 octets. Nothing is written
    /// then.
    #[inline]
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        self.parts().write(buffer)
    }

    #[inline(always)]
    fn parts(&self) -> Parts<'a> {
        // Taken first because it is the message that a broker sends most.
        if let Self::Publish(publish) = self {
            return publish_parts(publish);
        }
        self.other_parts()
    }

    fn other_parts(&self) -> Parts<'a> {
        let (fixed, variable): (Fixed, &'a [u8]) = match *self {
            Self::Advertise(p) => {
                let [d1, d0] = p.duration.0.to_be_bytes();
                (Fixed::new([p.gw_id, d1, d0]), &[])
            }
            Self::SearchGw(p) => (Fixed::new([p.radius]), &[]),
            Self::GwInfo(p) => (Fixed::new([p.gw_id]), p.gw_add),
            Self::Connect(p) => {
                let flags = Flags::new()
                    .with_will(p.will)
                    .with_clean_session(p.clean_session);
                let [d1, d0] = p.duration.0.to_be_bytes();
                (
                    Fixed::new([flags.0, p.protocol_id, d1, d0]),
                    p.client_id.as_bytes(),
                )
            }
            Self::Connack(code) | Self::WillTopicResp(code) | Self::WillMsgResp(code) => {
                (Fixed::new([code.code()]), &[])
            }
            Self::WillTopicReq
            | Self::WillMsgReq
            | Self::Pingresp
            | Self::WillTopic(None)
            | Self::WillTopicUpd(None) => (Fixed::new([]), &[]),
            Self::WillTopic(Some(p)) | Self::WillTopicUpd(Some(p)) => {
                let flags = Flags::new().with_qos(p.qos).with_retain(p.retain);
                (Fixed::new([flags.0]), p.topic.as_bytes())
            }
            Self::WillMsg(message) | Self::WillMsgUpd(message) => (Fixed::new([]), message),
            Self::Register(p) => {
                let [t1, t0] = p.topic_id.to_be_bytes();
                let [m1, m0] = p.msg_id.0.to_be_bytes();
                (Fixed::new([t1, t0, m1, m0]), p.topic_name.as_bytes())
            }
            Self::Regack(p) => (acknowledgement(p.topic_id, p.msg_id, p.return_code), &[]),
            Self::Puback(p) => (acknowledgement(p.topic_id, p.msg_id, p.return_code), &[]),
            Self::Publish(p) => return publish_parts(&p),
            Self::Pubcomp(MsgId(id))
            | Self::Pubrec(MsgId(id))
            | Self::Pubrel(MsgId(id))
            | Self::Unsuback(MsgId(id)) => (Fixed::new(id.to_be_bytes()), &[]),
            Self::Subscribe(p) => {
                let flags = Flags::new().with_dup(p.dup).with_qos(p.qos);
                topic_request(flags, p.msg_id, p.topic)
            }
            Self::Suback(p) => {
                let flags = Flags::new().with_qos(p.qos);
                let [t1, t0] = p.topic_id.to_be_bytes();
                let [m1, m0] = p.msg_id.0.to_be_bytes();
                (
                    Fixed::new([flags.0, t1, t0, m1, m0, p.return_code.code()]),
                    &[],
                )
            }
            Self::Unsubscribe(p) => topic_request(Flags::new(), p.msg_id, p.topic),
            Self::Pingreq(p) => (Fixed::new([]), p.client_id.as_bytes()),
            Self::Disconnect(p) => match p.duration {
                Some(duration) => (Fixed::new(duration.0.to_be_bytes()), &[]),
                None => (Fixed::new([]), &[]),
            },
        };
        Parts {
            msg_type: self.msg_type(),
            fixed,
            variable,
        }
    }
}

#[inline(always)]
fn publish_parts<'a>(publish: &Publish<'a>) -> Parts<'a> {
    let [t1, t0] = publish.alias.topic_id.to_be_bytes();
    let [m1, m0] = publish.msg_id.0.to_be_bytes();
    Parts {
        msg_type: MsgType::Publish,
        fixed: Fixed::new([publish.flags().0, t1, t0, m1, m0]),
        variable: publish.data,
    }
}

/// The fields of REGACK and PUBACK.
fn acknowledgement(topic_id: u16, msg_id: MsgId, return_code: ReturnCode) -> Fixed {
    let [t1, t0] = topic_id.to_be_bytes();
    let [m1, m0] = msg_id.0.to_be_bytes();
    Fixed::new([t1, t0, m1, m0, return_code.code()])
}

/// The fields of SUBSCRIBE and UNSUBSCRIBE.
fn topic_request(flags: Flags, msg_id: MsgId, topic: TopicRef<'_>) -> (Fixed, &[u8]) {
    let flags = flags.with_topic_id_type(topic.topic_id_type()).0;
    let [m1, m0] = msg_id.0.to_be_bytes();
    match topic {
        TopicRef::Name(name) => (Fixed::new([flags, m1, m0]), name.as_bytes()),
        TopicRef::Predefined(topic_id) => {
            let [t1, t0] = topic_id.to_be_bytes();
            (Fixed::new([flags, m1, m0, t1, t0]), &[])
        }
        TopicRef::Short([s1, s0]) => (Fixed::new([flags, m1, m0, s1, s0]), &[]),
    }
}
