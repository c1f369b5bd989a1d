//! The messages of MQTT-SN 1.2 §5.4. Strings and payloads are borrowed from the datagram.
//!
//! A struct holds the fields that its message uses; the bits of the Flags field that the
//! specification calls unused have no place here.

use crate::types::{Alias, Flags, MsgId, MsgType, Qos, ReturnCode, Seconds, TopicRef};

/// One message. [`Packet::decode`] reads it, [`Packet::encode`] writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A gateway announces itself.
    Advertise(Advertise),
    /// A client looks for a gateway.
    SearchGw(SearchGw),
    /// The answer to SEARCHGW.
    GwInfo(GwInfo<'a>),
    /// A client sets up a connection.
    Connect(Connect<'a>),
    /// The answer to CONNECT. §5.4.5.
    Connack(ReturnCode),
    /// The gateway asks for the will topic. §5.4.6.
    WillTopicReq,
    /// The will topic; `None`, the 2-octet form, deletes will topic and will message. §5.4.7.
    WillTopic(Option<WillTopic<'a>>),
    /// The gateway asks for the will message. §5.4.8.
    WillMsgReq,
    /// The will message. §5.4.9.
    WillMsg(&'a [u8]),
    /// A topic id for a topic name.
    Register(Register<'a>),
    /// The answer to REGISTER.
    Regack(Regack),
    /// A message on a topic.
    Publish(Publish<'a>),
    /// The answer to a PUBLISH at QoS 1, or the refusal of one at any QoS.
    Puback(Puback),
    /// The fourth and last step of QoS 2. §5.4.14.
    Pubcomp(MsgId),
    /// The second step of QoS 2. §5.4.14.
    Pubrec(MsgId),
    /// The third step of QoS 2. §5.4.14.
    Pubrel(MsgId),
    /// A client subscribes to a topic.
    Subscribe(Subscribe<'a>),
    /// The answer to SUBSCRIBE.
    Suback(Suback),
    /// A client unsubscribes from a topic.
    Unsubscribe(Unsubscribe<'a>),
    /// The answer to UNSUBSCRIBE. §5.4.18.
    Unsuback(MsgId),
    /// Keep alive, or a sleeping client that asks for its messages.
    Pingreq(Pingreq<'a>),
    /// The answer to PINGREQ. §5.4.20.
    Pingresp,
    /// The end of a connection, or the start of a sleep.
    Disconnect(Disconnect),
    /// A new will topic; `None`, the 2-octet form, deletes will topic and will message. §5.4.22.
    WillTopicUpd(Option<WillTopic<'a>>),
    /// The answer to WILLTOPICUPD. §5.4.24.
    WillTopicResp(ReturnCode),
    /// A new will message. §5.4.23.
    WillMsgUpd(&'a [u8]),
    /// The answer to WILLMSGUPD. §5.4.25.
    WillMsgResp(ReturnCode),
}

/// ADVERTISE, §5.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertise {
    /// The gateway that announces itself.
    pub gw_id: u8,
    /// Time until the next ADVERTISE of this gateway.
    pub duration: Seconds,
}

/// SEARCHGW, §5.4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchGw {
    /// Broadcast radius of this message; 0 means to all nodes.
    pub radius: u8,
}

/// GWINFO, §5.4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GwInfo<'a> {
    /// The gateway that was found.
    pub gw_id: u8,
    /// Its address in the network's own form. Empty when the gateway itself answers.
    pub gw_add: &'a [u8],
}

/// CONNECT, §5.4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Whether the gateway shall ask for will topic and will message.
    pub will: bool,
    /// Whether subscriptions and will of an earlier connection are dropped.
    pub clean_session: bool,
    /// [`PROTOCOL_ID`](crate::types::PROTOCOL_ID); other values are reserved and kept, so that a
    /// broker can refuse them with a CONNACK.
    pub protocol_id: u8,
    /// The keep alive timer.
    pub duration: Seconds,
    /// 1 to 23 characters by §5.3.1; whatever was sent, so that a broker can judge it.
    pub client_id: &'a str,
}

/// The contents of WILLTOPIC, §5.4.7, and WILLTOPICUPD, §5.4.22.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopic<'a> {
    /// QoS of the will message.
    pub qos: Qos,
    /// Retain of the will message.
    pub retain: bool,
    /// The topic name. May be empty (Flags alone were sent), which is not a valid topic name.
    pub topic: &'a str,
}

/// REGISTER, §5.4.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register<'a> {
    /// The topic id given out by a gateway; 0 when a client asks for one.
    pub topic_id: u16,
    /// Returned in the REGACK.
    pub msg_id: MsgId,
    /// The topic name.
    pub topic_name: &'a str,
}

/// REGACK, §5.4.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regack {
    /// The topic id that PUBLISH shall carry.
    pub topic_id: u16,
    /// From the REGISTER.
    pub msg_id: MsgId,
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}

/// PUBLISH, §5.4.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether this PUBLISH is sent again.
    pub dup: bool,
    /// QoS. That QoS −1 goes with pre-defined ids and short names only (§6.8) is for the broker
    /// to enforce.
    pub qos: Qos,
    /// Whether the broker keeps this message for later subscribers.
    pub retain: bool,
    /// TopicIdType and TopicId.
    pub alias: Alias,
    /// Used at QoS 1 and 2; to be 0 at others, but kept as sent.
    pub msg_id: MsgId,
    /// The payload.
    pub data: &'a [u8],
}

impl Publish<'_> {
    /// The Flags octet of this PUBLISH.
    #[inline]
    pub const fn flags(&self) -> Flags {
        Flags::new()
            .with_dup(self.dup)
            .with_qos(self.qos)
            .with_retain(self.retain)
            .with_topic_id_type(self.alias.topic_id_type)
    }
}

/// PUBACK, §5.4.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puback {
    /// From the PUBLISH.
    pub topic_id: u16,
    /// From the PUBLISH.
    pub msg_id: MsgId,
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}

/// SUBSCRIBE, §5.4.15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Whether this SUBSCRIBE is sent again.
    pub dup: bool,
    /// The requested QoS. −1 makes no sense here; it is for the broker to refuse.
    pub qos: Qos,
    /// Returned in the SUBACK.
    pub msg_id: MsgId,
    /// What is subscribed to.
    pub topic: TopicRef<'a>,
}

/// SUBACK, §5.4.16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suback {
    /// The granted QoS.
    pub qos: Qos,
    /// The topic id that PUBLISH will carry; 0 for a short topic name and for a topic name with
    /// wildcards.
    pub topic_id: u16,
    /// From the SUBSCRIBE.
    pub msg_id: MsgId,
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}

/// UNSUBSCRIBE, §5.4.17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Returned in the UNSUBACK.
    pub msg_id: MsgId,
    /// What is unsubscribed from.
    pub topic: TopicRef<'a>,
}

/// PINGREQ, §5.4.19.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pingreq<'a> {
    /// Of a sleeping client that went awake and asks for its messages; empty (and absent from
    /// the wire) when this is only a keep alive.
    pub client_id: &'a str,
}

/// DISCONNECT, §5.4.21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// The sleep timer of a client that goes to sleep; `None` ends the connection.
    pub duration: Option<Seconds>,
}

impl Packet<'_> {
    /// The MsgType of this message.
    pub const fn msg_type(&self) -> MsgType {
        match self {
            Self::Advertise(_) => MsgType::Advertise,
            Self::SearchGw(_) => MsgType::SearchGw,
            Self::GwInfo(_) => MsgType::GwInfo,
            Self::Connect(_) => MsgType::Connect,
            Self::Connack(_) => MsgType::Connack,
            Self::WillTopicReq => MsgType::WillTopicReq,
            Self::WillTopic(_) => MsgType::WillTopic,
            Self::WillMsgReq => MsgType::WillMsgReq,
            Self::WillMsg(_) => MsgType::WillMsg,
            Self::Register(_) => MsgType::Register,
            Self::Regack(_) => MsgType::Regack,
            Self::Publish(_) => MsgType::Publish,
            Self::Puback(_) => MsgType::Puback,
            Self::Pubcomp(_) => MsgType::Pubcomp,
            Self::Pubrec(_) => MsgType::Pubrec,
            Self::Pubrel(_) => MsgType::Pubrel,
            Self::Subscribe(_) => MsgType::Subscribe,
            Self::Suback(_) => MsgType::Suback,
            Self::Unsubscribe(_) => MsgType::Unsubscribe,
            Self::Unsuback(_) => MsgType::Unsuback,
            Self::Pingreq(_) => MsgType::Pingreq,
            Self::Pingresp => MsgType::Pingresp,
            Self::Disconnect(_) => MsgType::Disconnect,
            Self::WillTopicUpd(_) => MsgType::WillTopicUpd,
            Self::WillTopicResp(_) => MsgType::WillTopicResp,
            Self::WillMsgUpd(_) => MsgType::WillMsgUpd,
            Self::WillMsgResp(_) => MsgType::WillMsgResp,
        }
    }
}
