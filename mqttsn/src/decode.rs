//! From the bytes of one datagram to a [`Packet`] that borrows from them.

use core::fmt;

use crate::packet::{
    Advertise, Connect, Disconnect, GwInfo, Packet, Pingreq, Puback, Publish, Regack, Register,
    SearchGw, Suback, Subscribe, Unsubscribe, WillTopic,
};
use crate::types::{Alias, Flags, MsgId, MsgType, ReturnCode, Seconds, TopicIdType, TopicRef};

/// Why a datagram is not one well-formed message. Lengths are in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The datagram ends before Length and MsgType do.
    TooShort {
        /// The least it could have been.
        needed: usize,
        /// What it was.
        actual: usize,
    },
    /// The Length field differs from the length of the datagram (§5.2.1).
    LengthMismatch {
        /// The value of the Length field.
        declared: usize,
        /// The length of the datagram.
        actual: usize,
    },
    /// The MsgType is reserved (§5.2.2).
    UnknownType(u8),
    /// The message ends before its fields do.
    Truncated {
        /// The type of the message.
        msg_type: MsgType,
        /// The least number of octets after the MsgType.
        needed: usize,
        /// Their number.
        actual: usize,
    },
    /// A message of fixed size is longer than that.
    TrailingOctets {
        /// The type of the message.
        msg_type: MsgType,
        /// The number of octets after the MsgType by the specification.
        expected: usize,
        /// Their number.
        actual: usize,
    },
    /// The TopicIdType is the reserved 0b11 (§5.3.4).
    ReservedTopicIdType(MsgType),
    /// A string is not UTF-8.
    NotUtf8 {
        /// The type of the message.
        msg_type: MsgType,
        /// The string.
        field: Field,
        /// The number of its octets before the first wrong one.
        valid_up_to: usize,
    },
    /// A forwarder encapsulation where a message was to be read: use
    /// [`Frame::decode`](crate::Frame::decode).
    Encapsulated,
    /// The Length of a forwarder encapsulation is in the 3-octet form; §5.5 gives it one octet.
    LongEncapsulation,
}

/// The fields that hold a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// ClientId, §5.3.1.
    ClientId,
    /// TopicName, §5.3.12.
    TopicName,
    /// WillTopic, §5.3.14.
    WillTopic,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientId => "ClientId",
            Self::TopicName => "TopicName",
            Self::WillTopic => "WillTopic",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { needed, actual } => {
                write!(
                    f,
                    "the datagram has {actual} octets, a message has at least {needed}"
                )
            }
            Self::LengthMismatch { declared, actual } => {
                write!(
                    f,
                    "Length is {declared}, but the datagram has {actual} octets"
                )
            }
            Self::UnknownType(code) => write!(f, "MsgType {code:#04x} is reserved"),
            Self::Truncated {
                msg_type,
                needed,
                actual,
            } => write!(
                f,
                "{msg_type} has {actual} octets after its MsgType, it needs at least {needed}"
            ),
            Self::TrailingOctets {
                msg_type,
                expected,
                actual,
            } => write!(
                f,
                "{msg_type} has {actual} octets after its MsgType, it takes exactly {expected}"
            ),
            Self::ReservedTopicIdType(msg_type) => {
                write!(f, "{msg_type} has the reserved TopicIdType 0b11")
            }
            Self::NotUtf8 {
                msg_type,
                field,
                valid_up_to,
            } => {
                write!(
                    f,
                    "{field} of {msg_type} is not UTF-8 after {valid_up_to} octets"
                )
            }
            Self::Encapsulated => {
                f.write_str("a forwarder encapsulation where a message was expected")
            }
            Self::LongEncapsulation => f.write_str(
                "the Length of a forwarder encapsulation is in the 3-octet form, it has one octet",
            ),
        }
    }
}

impl core::error::Error for DecodeError {}

/// The header of a message, §5.2: its type and the octets after it.
struct Header<'a> {
    type_code: u8,
    body: &'a [u8],
}

impl<'a> Header<'a> {
    // MQTT-SN 1.2 §5.2.1: a first octet of 0x01 announces the 3-octet form.
    #[inline(always)]
    fn read(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let actual = datagram.len();
        let (declared, type_code, body) = match *datagram {
            [0x01, high, low, type_code, ref body @ ..] => (
                usize::from(u16::from_be_bytes([high, low])),
                type_code,
                body,
            ),
            [0x01, ..] => return Err(DecodeError::TooShort { needed: 4, actual }),
            [length, type_code, ref body @ ..] => (usize::from(length), type_code, body),
            [..] => return Err(DecodeError::TooShort { needed: 2, actual }),
        };
        if declared != actual {
            return Err(DecodeError::LengthMismatch { declared, actual });
        }
        Ok(Self { type_code, body })
    }
}

/// What follows the MsgType, with the type at hand for errors.
#[derive(Clone, Copy)]
struct Body<'a> {
    msg_type: MsgType,
    octets: &'a [u8],
}

impl<'a> Body<'a> {
    /// The first `N` octets and the rest.
    #[inline(always)]
    fn split<const N: usize>(self) -> Result<(&'a [u8; N], &'a [u8]), DecodeError> {
        self.octets
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated {
                msg_type: self.msg_type,
                needed: N,
                actual: self.octets.len(),
            })
    }

    /// All octets, which must be `N`.
    #[inline(always)]
    fn exactly<const N: usize>(self) -> Result<&'a [u8; N], DecodeError> {
        let (fields, rest) = self.split::<N>()?;
        if rest.is_empty() {
            Ok(fields)
        } else {
            Err(DecodeError::TrailingOctets {
                msg_type: self.msg_type,
                expected: N,
                actual: self.octets.len(),
            })
        }
    }

    fn utf8(self, field: Field, octets: &'a [u8]) -> Result<&'a str, DecodeError> {
        core::str::from_utf8(octets).map_err(|error| DecodeError::NotUtf8 {
            msg_type: self.msg_type,
            field,
            valid_up_to: error.valid_up_to(),
        })
    }

    #[inline(always)]
    fn topic_id_type(self, flags: Flags) -> Result<TopicIdType, DecodeError> {
        flags
            .topic_id_type()
            .ok_or(DecodeError::ReservedTopicIdType(self.msg_type))
    }

    fn return_code(self) -> Result<ReturnCode, DecodeError> {
        let &[code] = self.exactly()?;
        Ok(ReturnCode::from_u8(code))
    }

    fn msg_id(self) -> Result<MsgId, DecodeError> {
        Ok(MsgId(u16::from_be_bytes(*self.exactly()?)))
    }

    /// The TopicName or TopicId of SUBSCRIBE and UNSUBSCRIBE, after Flags and MsgId.
    fn topic_ref(self, flags: Flags, octets: &'a [u8]) -> Result<TopicRef<'a>, DecodeError> {
        const FLAGS_AND_MSG_ID: usize = 3;
        let two_octets = || match *octets {
            [high, low] => Ok([high, low]),
            [] | [_] => Err(DecodeError::Truncated {
                msg_type: self.msg_type,
                needed: FLAGS_AND_MSG_ID + 2,
                actual: FLAGS_AND_MSG_ID + octets.len(),
            }),
            [..] => Err(DecodeError::TrailingOctets {
                msg_type: self.msg_type,
                expected: FLAGS_AND_MSG_ID + 2,
                actual: FLAGS_AND_MSG_ID + octets.len(),
            }),
        };
        Ok(match self.topic_id_type(flags)? {
            TopicIdType::Normal => TopicRef::Name(self.utf8(Field::TopicName, octets)?),
            TopicIdType::Predefined => TopicRef::Predefined(u16::from_be_bytes(two_octets()?)),
            TopicIdType::Short => TopicRef::Short(two_octets()?),
        })
    }

    /// The Flags and WillTopic of WILLTOPIC and WILLTOPICUPD; `None` for the 2-octet form.
    fn will_topic(self) -> Result<Option<WillTopic<'a>>, DecodeError> {
        let [flags, topic @ ..] = self.octets else {
            return Ok(None);
        };
        let flags = Flags(*flags);
        Ok(Some(WillTopic {
            qos: flags.qos(),
            retain: flags.retain(),
            topic: self.utf8(Field::WillTopic, topic)?,
        }))
    }
}

impl<'a> Packet<'a> {
    /// Reads the message that fills `datagram` exactly.
    ///
    /// # Errors
    /// A [`DecodeError`] if the datagram is anything but one well-formed message of §5.4; for a
    /// forwarder encapsulation that is [`DecodeError::Encapsulated`].
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let header = Header::read(datagram)?;
        // Most datagrams of a broker are PUBLISH: they are read without going through the table.
        if header.type_code == MsgType::Publish.code() {
            return Publish::read(header.body).map(Self::Publish);
        }
        Self::decode_other(header)
    }

    fn decode_other(header: Header<'a>) -> Result<Self, DecodeError> {
        let msg_type =
            MsgType::from_u8(header.type_code).ok_or(DecodeError::UnknownType(header.type_code))?;
        let body = Body {
            msg_type,
            octets: header.body,
        };
        Ok(match msg_type {
            MsgType::Advertise => {
                let &[gw_id, high, low] = body.exactly()?;
                let duration = Seconds(u16::from_be_bytes([high, low]));
                Self::Advertise(Advertise { gw_id, duration })
            }
            MsgType::SearchGw => {
                let &[radius] = body.exactly()?;
                Self::SearchGw(SearchGw { radius })
            }
            MsgType::GwInfo => {
                let (&[gw_id], gw_add) = body.split()?;
                Self::GwInfo(GwInfo { gw_id, gw_add })
            }
            MsgType::Connect => {
                let (&[flags, protocol_id, high, low], client_id) = body.split()?;
                let flags = Flags(flags);
                Self::Connect(Connect {
                    will: flags.will(),
                    clean_session: flags.clean_session(),
                    protocol_id,
                    duration: Seconds(u16::from_be_bytes([high, low])),
                    client_id: body.utf8(Field::ClientId, client_id)?,
                })
            }
            MsgType::Connack => Self::Connack(body.return_code()?),
            MsgType::WillTopicReq => {
                body.exactly::<0>()?;
                Self::WillTopicReq
            }
            MsgType::WillTopic => Self::WillTopic(body.will_topic()?),
            MsgType::WillMsgReq => {
                body.exactly::<0>()?;
                Self::WillMsgReq
            }
            MsgType::WillMsg => Self::WillMsg(body.octets),
            MsgType::Register => {
                let (&[t1, t0, m1, m0], topic_name) = body.split()?;
                Self::Register(Register {
                    topic_id: u16::from_be_bytes([t1, t0]),
                    msg_id: MsgId(u16::from_be_bytes([m1, m0])),
                    topic_name: body.utf8(Field::TopicName, topic_name)?,
                })
            }
            MsgType::Regack => {
                let &[t1, t0, m1, m0, code] = body.exactly()?;
                Self::Regack(Regack {
                    topic_id: u16::from_be_bytes([t1, t0]),
                    msg_id: MsgId(u16::from_be_bytes([m1, m0])),
                    return_code: ReturnCode::from_u8(code),
                })
            }
            MsgType::Publish => Self::Publish(Publish::read(body.octets)?),
            MsgType::Puback => {
                let &[t1, t0, m1, m0, code] = body.exactly()?;
                Self::Puback(Puback {
                    topic_id: u16::from_be_bytes([t1, t0]),
                    msg_id: MsgId(u16::from_be_bytes([m1, m0])),
                    return_code: ReturnCode::from_u8(code),
                })
            }
            MsgType::Pubcomp => Self::Pubcomp(body.msg_id()?),
            MsgType::Pubrec => Self::Pubrec(body.msg_id()?),
            MsgType::Pubrel => Self::Pubrel(body.msg_id()?),
            MsgType::Subscribe => {
                let (&[flags, m1, m0], topic) = body.split()?;
                let flags = Flags(flags);
                Self::Subscribe(Subscribe {
                    dup: flags.dup(),
                    qos: flags.qos(),
                    msg_id: MsgId(u16::from_be_bytes([m1, m0])),
                    topic: body.topic_ref(flags, topic)?,
                })
            }
            MsgType::Suback => {
                let &[flags, t1, t0, m1, m0, code] = body.exactly()?;
                Self::Suback(Suback {
                    qos: Flags(flags).qos(),
                    topic_id: u16::from_be_bytes([t1, t0]),
                    msg_id: MsgId(u16::from_be_bytes([m1, m0])),
                    return_code: ReturnCode::from_u8(code),
                })
            }
            MsgType::Unsubscribe => {
                let (&[flags, m1, m0], topic) = body.split()?;
                Self::Unsubscribe(Unsubscribe {
                    msg_id: MsgId(u16::from_be_bytes([m1, m0])),
                    topic: body.topic_ref(Flags(flags), topic)?,
                })
            }
            MsgType::Unsuback => Self::Unsuback(body.msg_id()?),
            MsgType::Pingreq => Self::Pingreq(Pingreq {
                client_id: body.utf8(Field::ClientId, body.octets)?,
            }),
            MsgType::Pingresp => {
                body.exactly::<0>()?;
                Self::Pingresp
            }
            MsgType::Disconnect => {
                let duration = match body.octets {
                    [] => None,
                    _ => Some(Seconds(u16::from_be_bytes(*body.exactly()?))),
                };
                Self::Disconnect(Disconnect { duration })
            }
            MsgType::WillTopicUpd => Self::WillTopicUpd(body.will_topic()?),
            MsgType::WillTopicResp => Self::WillTopicResp(body.return_code()?),
            MsgType::WillMsgUpd => Self::WillMsgUpd(body.octets),
            MsgType::WillMsgResp => Self::WillMsgResp(body.return_code()?),
            MsgType::Encapsulated => return Err(DecodeError::Encapsulated),
        })
    }
}

impl<'a> Publish<'a> {
    #[inline(always)]
    fn read(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let body = Body {
            msg_type: MsgType::Publish,
            octets,
        };
        let (&[flags, t1, t0, m1, m0], data) = body.split()?;
        let flags = Flags(flags);
        Ok(Self {
            dup: flags.dup(),
            qos: flags.qos(),
            retain: flags.retain(),
            alias: Alias {
                topic_id_type: body.topic_id_type(flags)?,
                topic_id: u16::from_be_bytes([t1, t0]),
            },
            msg_id: MsgId(u16::from_be_bytes([m1, m0])),
            data,
        })
    }
}
