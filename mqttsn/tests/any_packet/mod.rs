//! Any packet: what fields are made of, and the packets made from them.

use mqttsn::packet::{
    Advertise, Connect, Disconnect, GwInfo, Pingreq, Puback, Publish, Regack, Register, SearchGw,
    Suback, Subscribe, Unsubscribe, WillTopic,
};
use mqttsn::{Alias, Flags, MsgId, MsgType, Packet, ReturnCode, Seconds, TopicIdType, TopicRef};
use proptest::prelude::*;

/// Values for every field that a packet may have; a packet borrows its strings from here.
#[derive(Debug, Clone)]
pub(crate) struct Ingredients {
    /// Every type but the encapsulation.
    pub(crate) msg_type: MsgType,
    flags: Flags,
    topic_id_type: TopicIdType,
    octet: u8,
    topic_id: u16,
    msg_id: u16,
    return_code: u8,
    present: bool,
    text: String,
    data: Vec<u8>,
}

/// Ingredients of packets of every type, with long and short strings.
pub(crate) fn ingredients() -> impl Strategy<Value = Ingredients> {
    let messages: Vec<MsgType> = MsgType::ALL
        .iter()
        .copied()
        .filter(|&t| t != MsgType::Encapsulated)
        .collect();
    let topic_id_type = prop_oneof![
        Just(TopicIdType::Normal),
        Just(TopicIdType::Predefined),
        Just(TopicIdType::Short)
    ];
    let text = prop_oneof![8 => "\\PC{0,24}", 2 => any::<String>(), 1 => "[a-zé/]{230,270}"];
    let data = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..64),
        4 => prop::collection::vec(any::<u8>(), 240..260),
        1 => (65_400_usize..65_540, any::<u8>()).prop_map(|(len, octet)| vec![octet; len]),
    ];
    let numbers = (
        any::<u8>(),
        any::<u8>(),
        any::<u16>(),
        any::<u16>(),
        0_u8..6,
        any::<bool>(),
    );
    (
        prop::sample::select(messages),
        topic_id_type,
        numbers,
        text,
        data,
    )
        .prop_map(|(msg_type, topic_id_type, numbers, text, data)| {
            let (flags, octet, topic_id, msg_id, return_code, present) = numbers;
            let flags = Flags(flags);
            Ingredients {
                msg_type,
                flags,
                topic_id_type,
                octet,
                topic_id,
                msg_id,
                return_code,
                present,
                text,
                data,
            }
        })
}

impl Ingredients {
    /// The packet of this type made of these values.
    pub(crate) fn packet(&self) -> Packet<'_> {
        let flags = self.flags;
        let (dup, qos, retain) = (flags.dup(), flags.qos(), flags.retain());
        let (topic_id, msg_id) = (self.topic_id, MsgId(self.msg_id));
        let return_code = ReturnCode::from_u8(self.return_code);
        let duration = Seconds(self.topic_id);
        let topic = match self.topic_id_type {
            TopicIdType::Normal => TopicRef::Name(&self.text),
            TopicIdType::Predefined => TopicRef::Predefined(topic_id),
            TopicIdType::Short => TopicRef::Short(topic_id.to_be_bytes()),
        };
        let will_topic = self.present.then_some(WillTopic {
            qos,
            retain,
            topic: &self.text,
        });
        match self.msg_type {
            MsgType::Advertise => Packet::Advertise(Advertise {
                gw_id: self.octet,
                duration,
            }),
            MsgType::SearchGw => Packet::SearchGw(SearchGw { radius: self.octet }),
            MsgType::GwInfo => Packet::GwInfo(GwInfo {
                gw_id: self.octet,
                gw_add: &self.data,
            }),
            MsgType::Connect => Packet::Connect(Connect {
                will: flags.will(),
                clean_session: flags.clean_session(),
                protocol_id: self.octet,
                duration,
                client_id: &self.text,
            }),
            MsgType::Connack => Packet::Connack(return_code),
            MsgType::WillTopicReq => Packet::WillTopicReq,
            MsgType::WillTopic => Packet::WillTopic(will_topic),
            MsgType::WillMsgReq => Packet::WillMsgReq,
            MsgType::WillMsg => Packet::WillMsg(&self.data),
            MsgType::Register => Packet::Register(Register {
                topic_id,
                msg_id,
                topic_name: &self.text,
            }),
            MsgType::Regack => Packet::Regack(Regack {
                topic_id,
                msg_id,
                return_code,
            }),
            MsgType::Publish => Packet::Publish(Publish {
                dup,
                qos,
                retain,
                alias: Alias {
                    topic_id_type: self.topic_id_type,
                    topic_id,
                },
                msg_id,
                data: &self.data,
            }),
            MsgType::Puback => Packet::Puback(Puback {
                topic_id,
                msg_id,
                return_code,
            }),
            MsgType::Pubcomp => Packet::Pubcomp(msg_id),
            MsgType::Pubrec => Packet::Pubrec(msg_id),
            MsgType::Pubrel => Packet::Pubrel(msg_id),
            MsgType::Subscribe => Packet::Subscribe(Subscribe {
                dup,
                qos,
                msg_id,
                topic,
            }),
            MsgType::Suback => Packet::Suback(Suback {
                qos,
                topic_id,
                msg_id,
                return_code,
            }),
            MsgType::Unsubscribe => Packet::Unsubscribe(Unsubscribe { msg_id, topic }),
            MsgType::Unsuback => Packet::Unsuback(msg_id),
            MsgType::Pingreq => Packet::Pingreq(Pingreq {
                client_id: &self.text,
            }),
            MsgType::Pingresp => Packet::Pingresp,
            MsgType::Disconnect => Packet::Disconnect(Disconnect {
                duration: self.present.then_some(duration),
            }),
            MsgType::WillTopicUpd => Packet::WillTopicUpd(will_topic),
            MsgType::WillTopicResp => Packet::WillTopicResp(return_code),
            MsgType::WillMsgUpd => Packet::WillMsgUpd(&self.data),
            MsgType::WillMsgResp => Packet::WillMsgResp(return_code),
            MsgType::Encapsulated => unreachable!("not among the messages"),
        }
    }

    /// The octets of the packet, or `None` if it is longer than a message can be.
    pub(crate) fn octets(&self) -> Option<Vec<u8>> {
        let packet = self.packet();
        let mut octets = vec![0; packet.encoded_len()];
        let length = packet.encode(&mut octets).ok()?;
        assert_eq!(length, octets.len());
        Some(octets)
    }
}

/// The same message with its Length in the 3-octet form, whatever form it has.
#[allow(
    dead_code,
    reason = "not every test that includes this module needs it"
)]
pub(crate) fn with_long_length(octets: &[u8]) -> Option<Vec<u8>> {
    let rest = if octets[0] == 0x01 {
        &octets[3..]
    } else {
        &octets[1..]
    };
    let length = u16::try_from(rest.len() + 3).ok()?;
    let [high, low] = length.to_be_bytes();
    Some([&[0x01, high, low], rest].concat())
}
