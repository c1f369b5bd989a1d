//! What a gateway says at all (MQTT-SN 1.2 §5.2.2, §5.3.10, §5.4, §6.12).

use broker::Config;
use proptest::prelude::*;

use crate::clients::*;
use crate::world::*;
use mqttsn::packet::{Advertise, GwInfo, Unsubscribe, WillTopic};
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Seconds, TopicRef};

/// Each request that needs a connection, with a topic that would do.
fn requests() -> Vec<Packet<'static>> {
    let topic = TopicRef::Short(*b"ab");
    let will = WillTopic {
        qos: Qos::Zero,
        retain: false,
        topic: "wl",
    };
    vec![
        register("some/topic", MsgId(5)),
        subscribe(topic, Qos::Zero, MsgId(5)),
        Packet::Unsubscribe(Unsubscribe {
            msg_id: MsgId(5),
            topic,
        }),
        publish(Alias::short(*b"ab"), Qos::Zero, 0, b"x"),
        publish(Alias::short(*b"ab"), Qos::One, 5, b"x"),
        publish(Alias::short(*b"ab"), Qos::Two, 5, b"x"),
        Packet::Pubrel(MsgId(5)),
        Packet::WillTopicUpd(Some(will)),
        Packet::WillMsgUpd(b"gone"),
        Packet::WillTopic(Some(will)),
        Packet::WillTopic(None),
        Packet::WillMsg(b"gone"),
        pingreq(""),
        pingreq("nobody"),
        disconnect(None),
        disconnect(Some(60)),
    ]
}

#[test]
fn who_is_not_connected_is_told_so_whatever_it_asks_for() {
    for request in requests() {
        let mut world = World::plain();
        world.send(at(1), &request);
        world.expect(at(1), &disconnect(None));
        world.expect_nothing(at(1));
        assert_eq!(world.broker.status().sessions, 0);
        open(&mut world, at(1), "me", true, 60);
    }
}

#[test]
fn answers_of_who_is_not_connected_are_ignored() {
    let mut world = World::plain();
    for answer in [
        puback(1, 5, ReturnCode::Accepted),
        regack(1, MsgId(5), ReturnCode::Accepted),
        Packet::Pubrec(MsgId(5)),
        Packet::Pubcomp(MsgId(5)),
    ] {
        world.send(at(1), &answer);
        world.expect_nothing(at(1));
    }
}

#[test]
fn what_only_gateways_say_is_ignored() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    let accepted = ReturnCode::Accepted;
    for packet in [
        Packet::Advertise(Advertise {
            gw_id: 9,
            duration: Seconds(900),
        }),
        Packet::GwInfo(GwInfo {
            gw_id: 9,
            gw_add: &[],
        }),
        Packet::Connack(accepted),
        Packet::WillTopicReq,
        Packet::WillMsgReq,
        suback(1, Qos::Zero, MsgId(1), accepted),
        Packet::Unsuback(MsgId(1)),
        Packet::Pingresp,
        Packet::WillTopicResp(accepted),
        Packet::WillMsgResp(accepted),
    ] {
        for who in [at(1), at(2)] {
            world.send(who, &packet);
            world.expect_nothing(who);
        }
    }
    assert_eq!(world.broker.status().active, 1);
}

#[test]
fn reserved_message_types_are_dropped() {
    let mut world = World::plain();
    world.connect(at(1), "me");
    let reserved = [0x03, 0x11, 0x19].into_iter().chain(0x1E..=0xFD);
    for msg_type in reserved.chain([0xFF]) {
        world.send_bytes(at(1), &[3, msg_type, 0]);
        world.expect_nothing(at(1));
    }
    let dropped = world.broker.stats().malformed["unknown type"];
    assert_eq!(dropped, 3 + 224 + 1);
}

#[test]
fn a_connect_that_cannot_be_accepted_is_answered_with_the_reason() {
    let mut world = World::new(Config {
        max_sessions: 1,
        ..Config::default()
    });
    for protocol_id in [0, 2, 0xFF] {
        let bytes = [8, 0x04, 0x04, protocol_id, 0, 60, b'm', b'e'];
        world.send_bytes(at(1), &bytes);
        world.expect(at(1), &Packet::Connack(ReturnCode::NotSupported));
    }
    world.connect(at(1), "me");
    // Now it is known to be there, and need not make room.
    world.send(at(1), &pingreq(""));
    world.expect(at(1), &Packet::Pingresp);
    world.send(at(2), &connect("other"));
    world.expect(at(2), &Packet::Connack(ReturnCode::Congestion));
}

/// Flags that CONNECT does not use (MQTT-SN 1.2 §5.4.4).
#[test]
fn the_flags_that_a_connect_does_not_use_are_ignored() {
    for flags in [0x80, 0x60, 0x10, 0x03, 0xF3] {
        let mut world = World::plain();
        world.send_bytes(at(1), &[8, 0x04, 0x04 | flags, 1, 0, 60, b'm', b'e']);
        world.expect(at(1), &ACCEPTED);
    }
}

/// What the gateway may say, and how (each message by its section).
fn is_a_gateways(packet: &Packet<'_>) -> bool {
    let id = |topic_id: u16| topic_id != 0 && topic_id != 0xFFFF;
    match *packet {
        Packet::GwInfo(GwInfo { gw_add, .. }) => gw_add.is_empty(),
        Packet::Advertise(_)
        | Packet::WillTopicReq
        | Packet::WillMsgReq
        | Packet::Pingresp
        | Packet::Unsuback(_)
        | Packet::Pubrec(_)
        | Packet::Pubcomp(_) => true,
        Packet::Connack(code) | Packet::WillTopicResp(code) | Packet::WillMsgResp(code) => {
            code.code() <= 3
        }
        Packet::Regack(regack) => {
            regack.return_code.code() <= 3
                && (id(regack.topic_id) || !regack.return_code.is_accepted())
        }
        Packet::Puback(puback) => puback.return_code.code() <= 3,
        Packet::Suback(suback) => {
            suback.return_code.code() <= 3
                && suback.topic_id != 0xFFFF
                && suback.qos != Qos::MinusOne
        }
        Packet::Register(register) => {
            id(register.topic_id)
                && register.msg_id != MsgId(0)
                && mqttsn::topic::validate_name(register.topic_name).is_ok()
        }
        Packet::Publish(p) => match p.qos {
            Qos::MinusOne => false,
            Qos::Zero => p.msg_id == MsgId(0) && !p.dup,
            Qos::One | Qos::Two => p.msg_id != MsgId(0),
        },
        Packet::Pubrel(_) => true,
        Packet::Disconnect(disconnect) => disconnect.duration.is_none(),
        Packet::SearchGw(_)
        | Packet::Connect(_)
        | Packet::WillTopic(_)
        | Packet::WillMsg(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::Pingreq(_)
        | Packet::WillTopicUpd(_)
        | Packet::WillMsgUpd(_) => false,
    }
}

/// A datagram of any type with octets that often mean something.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => 0..4_u8,
        2 => Just(b'a'),
        1 => Just(b'+'),
        1 => Just(b'#'),
        1 => Just(b'/'),
        2 => any::<u8>(),
    ];
    let types = prop_oneof![
        8 => 0x04..=0x1D_u8,
        4 => Just(0x0C_u8),
        4 => Just(0x12_u8),
        1 => 0..3_u8,
    ];
    let any_message = (types, prop::collection::vec(octet, 0..12)).prop_map(|(msg_type, rest)| {
        let mut bytes = vec![2 + rest.len() as u8, msg_type];
        bytes.extend(rest);
        bytes
    });
    let client = prop_oneof![Just("a"), Just("b"), Just("aa")];
    let connected = (client, any::<bool>(), any::<bool>())
        .prop_map(|(id, clean, will)| encode(&connect_with(id, clean, will, 0)));
    prop_oneof![5 => any_message, 2 => connected]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn whatever_comes_the_gateway_says_only_what_gateways_say(
        history in prop::collection::vec((1..4_u8, datagram(), 0..20_u64), 1..120),
    ) {
        let mut world = World::new(Config {
            predefined_topics: [(1, "predefined".to_owned())].into(),
            max_topic_ids: 4,
            ..Config::default()
        });
        for (who, bytes, wait) in history {
            world.send_bytes(at(who), &bytes);
            world.advance(seconds(wait));
            for inbox in world.inboxes.values_mut() {
                for bytes in inbox.drain(..) {
                    let frame = mqttsn::Frame::decode(&bytes).unwrap();
                    let packet = frame.packet().unwrap();
                    prop_assert!(is_a_gateways(&packet), "{packet:?}");
                }
            }
        }
    }
}
