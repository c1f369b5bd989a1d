//! The fields of MQTT-SN 1.2 §5.3 and the message types of §5.2.2.

use core::fmt;

/// The largest total length of a message, in octets: the 3-octet Length field is 16 bits wide
/// (§5.2.1).
pub const MAX_MESSAGE_LEN: usize = u16::MAX as usize;

/// The one ProtocolId of MQTT-SN 1.2 (§5.3.8).
pub const PROTOCOL_ID: u8 = 0x01;

/// The shortest ClientId, in characters (§5.3.1). The decoder accepts any; a broker judges.
pub const CLIENT_ID_MIN: usize = 1;

/// The longest ClientId, in characters (§5.3.1). The decoder accepts any; a broker judges.
pub const CLIENT_ID_MAX: usize = 23;

/// Declares [`MsgType`] once: variant, code and the name the specification writes.
macro_rules! msg_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// MsgType, §5.2.2 Table 3. Reserved codes have no variant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum MsgType {
            $($(#[$doc])* $variant = $code,)*
        }

        impl MsgType {
            /// Every message type, in the order of their codes.
            pub const ALL: &'static [MsgType] = &[$(MsgType::$variant,)*];

            /// The message type of this code, or `None` if the specification reserves it.
            #[inline]
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name as the specification writes it, such as `"PUBLISH"`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

msg_types! {
    /// ADVERTISE, §5.4.1.
    Advertise = 0x00, "ADVERTISE";
    /// SEARCHGW, §5.4.2.
    SearchGw = 0x01, "SEARCHGW";
    /// GWINFO, §5.4.3.
    GwInfo = 0x02, "GWINFO";
    /// CONNECT, §5.4.4.
    Connect = 0x04, "CONNECT";
    /// CONNACK, §5.4.5.
    Connack = 0x05, "CONNACK";
    /// WILLTOPICREQ, §5.4.6.
    WillTopicReq = 0x06, "WILLTOPICREQ";
    /// WILLTOPIC, §5.4.7.
    WillTopic = 0x07, "WILLTOPIC";
    /// WILLMSGREQ, §5.4.8.
    WillMsgReq = 0x08, "WILLMSGREQ";
    /// WILLMSG, §5.4.9.
    WillMsg = 0x09, "WILLMSG";
    /// REGISTER, §5.4.10.
    Register = 0x0A, "REGISTER";
    /// REGACK, §5.4.11.
    Regack = 0x0B, "REGACK";
    /// PUBLISH, §5.4.12.
    Publish = 0x0C, "PUBLISH";
    /// PUBACK, §5.4.13.
    Puback = 0x0D, "PUBACK";
    /// PUBCOMP, §5.4.14.
    Pubcomp = 0x0E, "PUBCOMP";
    /// PUBREC, §5.4.14.
    Pubrec = 0x0F, "PUBREC";
    /// PUBREL, §5.4.14.
    Pubrel = 0x10, "PUBREL";
    /// SUBSCRIBE, §5.4.15.
    Subscribe = 0x12, "SUBSCRIBE";
    /// SUBACK, §5.4.16.
    Suback = 0x13, "SUBACK";
    /// UNSUBSCRIBE, §5.4.17.
    Unsubscribe = 0x14, "UNSUBSCRIBE";
    /// UNSUBACK, §5.4.18.
    Unsuback = 0x15, "UNSUBACK";
    /// PINGREQ, §5.4.19.
    Pingreq = 0x16, "PINGREQ";
    /// PINGRESP, §5.4.20.
    Pingresp = 0x17, "PINGRESP";
    /// DISCONNECT, §5.4.21.
    Disconnect = 0x18, "DISCONNECT";
    /// WILLTOPICUPD, §5.4.22.
    WillTopicUpd = 0x1A, "WILLTOPICUPD";
    /// WILLTOPICRESP, §5.4.24.
    WillTopicResp = 0x1B, "WILLTOPICRESP";
    /// WILLMSGUPD, §5.4.23.
    WillMsgUpd = 0x1C, "WILLMSGUPD";
    /// WILLMSGRESP, §5.4.25.
    WillMsgResp = 0x1D, "WILLMSGRESP";
    /// Encapsulated message, §5.5. Not a [`Packet`](crate::Packet): see
    /// [`Frame`](crate::Frame).
    Encapsulated = 0xFE, "forwarder encapsulation";
}

impl MsgType {
    /// The code on the wire.
    #[inline]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for MsgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The QoS of the Flags field, §5.3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Qos {
    /// 0b00: at most once.
    #[default]
    Zero,
    /// 0b01: at least once.
    One,
    /// 0b10: exactly once.
    Two,
    /// 0b11: a PUBLISH without connection, registration or subscription (§6.8).
    MinusOne,
}

impl Qos {
    /// The two bits on the wire.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// From the two low bits of `bits`; the others are ignored.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::Zero,
            0b01 => Self::One,
            0b10 => Self::Two,
            _ => Self::MinusOne,
        }
    }

    /// −1, 0, 1 or 2.
    #[inline]
    pub const fn level(self) -> i8 {
        match self {
            Self::MinusOne => -1,
            Self::Zero => 0,
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// From −1, 0, 1 or 2.
    #[inline]
    pub const fn from_level(level: i8) -> Option<Self> {
        match level {
            -1 => Some(Self::MinusOne),
            0 => Some(Self::Zero),
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }
}

/// The TopicIdType of the Flags field, §5.3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum TopicIdType {
    /// 0b00: a topic id from REGISTER or SUBACK; a topic name in SUBSCRIBE and UNSUBSCRIBE.
    #[default]
    Normal = 0,
    /// 0b01: a pre-defined topic id.
    Predefined = 1,
    /// 0b10: a short topic name, two octets.
    Short = 2,
}

impl TopicIdType {
    /// The two bits on the wire.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// From the two low bits of `bits`; `None` for the reserved 0b11.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0 => Some(Self::Normal),
            1 => Some(Self::Predefined),
            2 => Some(Self::Short),
            _ => None,
        }
    }
}

/// The Flags octet, §5.3.4: `DUP QoS QoS Retain Will CleanSession TopicIdType TopicIdType`, from
/// bit 7 to bit 0.
///
/// Any octet is a value of this type. Packets carry the fields they use and not the octet; this
/// type is for whoever handles the octet itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Bit of DUP.
    pub const DUP: u8 = 0x80;
    /// Bits of the QoS.
    pub const QOS: u8 = 0x60;
    /// Bit of Retain.
    pub const RETAIN: u8 = 0x10;
    /// Bit of Will.
    pub const WILL: u8 = 0x08;
    /// Bit of CleanSession.
    pub const CLEAN_SESSION: u8 = 0x04;
    /// Bits of the TopicIdType.
    pub const TOPIC_ID_TYPE: u8 = 0x03;

    /// All bits zero.
    #[inline]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Whether the message is sent again.
    #[inline]
    pub const fn dup(self) -> bool {
        self.0 & Self::DUP != 0
    }

    /// The QoS.
    #[inline]
    pub const fn qos(self) -> Qos {
        Qos::from_bits(self.0 >> 5)
    }

    /// Whether the broker shall keep the message.
    #[inline]
    pub const fn retain(self) -> bool {
        self.0 & Self::RETAIN != 0
    }

    /// In CONNECT: whether the client asks for prompting of its will.
    #[inline]
    pub const fn will(self) -> bool {
        self.0 & Self::WILL != 0
    }

    /// In CONNECT: whether the session starts from nothing.
    #[inline]
    pub const fn clean_session(self) -> bool {
        self.0 & Self::CLEAN_SESSION != 0
    }

    /// The TopicIdType; `None` for the reserved 0b11.
    #[inline]
    pub const fn topic_id_type(self) -> Option<TopicIdType> {
        TopicIdType::from_bits(self.0)
    }

    /// These flags with this DUP.
    #[inline]
    #[must_use]
    pub const fn with_dup(self, dup: bool) -> Self {
        self.with_bit(Self::DUP, dup)
    }

    /// These flags with this QoS.
    #[inline]
    #[must_use]
    pub const fn with_qos(self, qos: Qos) -> Self {
        Self(self.0 & !Self::QOS | qos.bits() << 5)
    }

    /// These flags with this Retain.
    #[inline]
    #[must_use]
    pub const fn with_retain(self, retain: bool) -> Self {
        self.with_bit(Self::RETAIN, retain)
    }

    /// These flags with this Will.
    #[inline]
    #[must_use]
    pub const fn with_will(self, will: bool) -> Self {
        self.with_bit(Self::WILL, will)
    }

    /// These flags with this CleanSession.
    #[inline]
    #[must_use]
    pub const fn with_clean_session(self, clean_session: bool) -> Self {
        self.with_bit(Self::CLEAN_SESSION, clean_session)
    }

    /// These flags with this TopicIdType.
    #[inline]
    #[must_use]
    pub const fn with_topic_id_type(self, topic_id_type: TopicIdType) -> Self {
        Self(self.0 & !Self::TOPIC_ID_TYPE | topic_id_type.bits())
    }

    const fn with_bit(self, bit: u8, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flags")
            .field("dup", &self.dup())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("will", &self.will())
            .field("clean_session", &self.clean_session())
            .field("topic_id_type", &self.topic_id_type())
            .finish()
    }
}

/// What a client calls a topic in a PUBLISH: its TopicIdType and TopicId, four octets.
///
/// A short topic name travels in the TopicId field, its first octet first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias {
    /// Which of the three name spaces `topic_id` belongs to.
    pub topic_id_type: TopicIdType,
    /// The 16 bits of the TopicId field.
    pub topic_id: u16,
}

impl Alias {
    /// A topic id that REGISTER or SUBACK gave out.
    #[inline]
    pub const fn normal(topic_id: u16) -> Self {
        Self {
            topic_id_type: TopicIdType::Normal,
            topic_id,
        }
    }

    /// A pre-defined topic id.
    #[inline]
    pub const fn predefined(topic_id: u16) -> Self {
        Self {
            topic_id_type: TopicIdType::Predefined,
            topic_id,
        }
    }

    /// A short topic name.
    #[inline]
    pub const fn short(name: [u8; 2]) -> Self {
        Self {
            topic_id_type: TopicIdType::Short,
            topic_id: u16::from_be_bytes(name),
        }
    }

    /// The two octets of a short topic name, `None` for the other types.
    #[inline]
    pub const fn as_short(self) -> Option<[u8; 2]> {
        match self.topic_id_type {
            TopicIdType::Short => Some(self.topic_id.to_be_bytes()),
            TopicIdType::Normal | TopicIdType::Predefined => None,
        }
    }
}

/// What SUBSCRIBE and UNSUBSCRIBE name, §5.4.15 and §5.4.17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    /// TopicIdType 0b00: a topic name, in SUBSCRIBE perhaps with wildcards. May be empty; see
    /// [`topic::validate_filter`](crate::topic::validate_filter).
    Name(&'a str),
    /// TopicIdType 0b01: a pre-defined topic id.
    Predefined(u16),
    /// TopicIdType 0b10: a short topic name. Not checked to be UTF-8.
    Short([u8; 2]),
}

impl TopicRef<'_> {
    /// The TopicIdType that says which of the three it is.
    #[inline]
    pub const fn topic_id_type(&self) -> TopicIdType {
        match self {
            Self::Name(_) => TopicIdType::Normal,
            Self::Predefined(_) => TopicIdType::Predefined,
            Self::Short(_) => TopicIdType::Short,
        }
    }

    /// The topic name, long or short; `None` for a pre-defined topic id and for a short topic
    /// name that is not UTF-8.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Predefined(_) => None,
            Self::Short(name) => core::str::from_utf8(name).ok(),
        }
    }

    /// The alias that a PUBLISH on the same topic carries; `None` for a topic name, whose alias
    /// is a topic id yet to be given out.
    pub const fn alias(&self) -> Option<Alias> {
        match *self {
            Self::Name(_) => None,
            Self::Predefined(topic_id) => Some(Alias::predefined(topic_id)),
            Self::Short(name) => Some(Alias::short(name)),
        }
    }
}

/// MsgId, §5.3.7: matches an answer with its request. 0 where a message needs no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MsgId(pub u16);

/// Duration, §5.3.3: a period in seconds, at most about 18 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seconds(pub u16);

impl From<Seconds> for core::time::Duration {
    fn from(seconds: Seconds) -> Self {
        Self::from_secs(u64::from(seconds.0))
    }
}

/// ReturnCode, §5.3.10 Table 5. Codes that the specification reserves are kept, because a peer
/// that answers with one has still answered: every code but 0x00 is a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnCode {
    /// 0x00: accepted.
    Accepted,
    /// 0x01: rejected, congestion: try again later.
    Congestion,
    /// 0x02: rejected, invalid topic id.
    InvalidTopicId,
    /// 0x03: rejected, not supported.
    NotSupported,
    /// 0x04 to 0xFF: reserved.
    Reserved(ReservedCode),
}

/// A return code from 0x04 to 0xFF. Comes only from [`ReturnCode::from_u8`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReservedCode(u8);

impl ReservedCode {
    /// The code on the wire.
    #[inline]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl ReturnCode {
    /// From the octet on the wire; every octet is a return code.
    #[inline]
    pub const fn from_u8(code: u8) -> Self {
        match code {
            0x00 => Self::Accepted,
            0x01 => Self::Congestion,
            0x02 => Self::InvalidTopicId,
            0x03 => Self::NotSupported,
            reserved => Self::Reserved(ReservedCode(reserved)),
        }
    }

    /// The octet on the wire.
    #[inline]
    pub const fn code(self) -> u8 {
        match self {
            Self::Accepted => 0x00,
            Self::Congestion => 0x01,
            Self::InvalidTopicId => 0x02,
            Self::NotSupported => 0x03,
            Self::Reserved(code) => code.0,
        }
    }

    /// Whether the request was accepted.
    #[inline]
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted)
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Congestion => f.write_str("rejected: congestion"),
            Self::InvalidTopicId => f.write_str("rejected: invalid topic id"),
            Self::NotSupported => f.write_str("rejected: not supported"),
            Self::Reserved(code) => write!(f, "rejected: reserved return code {:#04x}", code.0),
        }
    }
}
