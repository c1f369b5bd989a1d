//! Every message of MQTT-SN 1.2 §5.4, its octets laid out by hand from the figure that defines it.

use mqttsn::packet::{
    Advertise, Connect, Disconnect, GwInfo, Pingreq, Puback, Publish, Regack, Register, SearchGw,
    Suback, Subscribe, Unsubscribe, WillTopic,
};
use mqttsn::{Alias, MsgId, MsgType, Packet, Qos, ReturnCode, Seconds, TopicRef};

/// Asserts that these octets and this packet are the same message, in both directions.
#[track_caller]
fn both_ways(octets: &[u8], packet: Packet<'_>) {
    assert_eq!(Packet::decode(octets), Ok(packet));
    assert_eq!(packet.encoded_len(), octets.len());
    let mut buffer = [0xEE; 600];
    assert_eq!(packet.encode(&mut buffer), Ok(octets.len()));
    assert_eq!(&buffer[..octets.len()], octets);
    assert!(
        buffer[octets.len()..].iter().all(|&octet| octet == 0xEE),
        "wrote past the message"
    );
    assert_eq!(
        packet.msg_type().code(),
        octets[if octets[0] == 1 { 3 } else { 1 }]
    );
}

#[test]
fn advertise_carries_gw_id_and_duration() {
    both_ways(
        &[5, 0x00, 0x07, 0x03, 0x84],
        Packet::Advertise(Advertise {
            gw_id: 7,
            duration: Seconds(900),
        }),
    );
}

#[test]
fn searchgw_carries_the_radius() {
    both_ways(&[3, 0x01, 0x02], Packet::SearchGw(SearchGw { radius: 2 }));
}

#[test]
fn gwinfo_of_a_gateway_has_no_address() {
    both_ways(
        &[3, 0x02, 0x07],
        Packet::GwInfo(GwInfo {
            gw_id: 7,
            gw_add: &[],
        }),
    );
}

#[test]
fn gwinfo_of_a_client_has_the_gateways_address() {
    both_ways(
        &[7, 0x02, 0x07, 192, 0, 2, 1],
        Packet::GwInfo(GwInfo {
            gw_id: 7,
            gw_add: &[192, 0, 2, 1],
        }),
    );
}

#[test]
fn connect_carries_flags_protocol_id_duration_and_client_id() {
    let connect = Connect {
        will: false,
        clean_session: true,
        protocol_id: 0x01,
        duration: Seconds(10),
        client_id: "node1",
    };
    both_ways(b"\x0b\x04\x04\x01\x00\x0anode1", Packet::Connect(connect));
    both_ways(
        b"\x0b\x04\x08\x01\x00\x0anode1",
        Packet::Connect(Connect {
            will: true,
            clean_session: false,
            ..connect
        }),
    );
}

#[test]
fn connect_keeps_what_a_broker_is_to_refuse() {
    // ProtocolId 2 and no ClientId: answered with a CONNACK, so decoded.
    let connect = Connect {
        will: false,
        clean_session: false,
        protocol_id: 2,
        duration: Seconds(0),
        client_id: "",
    };
    both_ways(&[6, 0x04, 0x00, 0x02, 0, 0], Packet::Connect(connect));
}

#[test]
fn connack_carries_each_return_code() {
    both_ways(&[3, 0x05, 0x00], Packet::Connack(ReturnCode::Accepted));
    both_ways(&[3, 0x05, 0x01], Packet::Connack(ReturnCode::Congestion));
    both_ways(
        &[3, 0x05, 0x02],
        Packet::Connack(ReturnCode::InvalidTopicId),
    );
    both_ways(&[3, 0x05, 0x03], Packet::Connack(ReturnCode::NotSupported));
}

#[test]
fn a_reserved_return_code_is_kept() {
    both_ways(&[3, 0x05, 0x04], Packet::Connack(ReturnCode::from_u8(4)));
    assert!(matches!(ReturnCode::from_u8(4), ReturnCode::Reserved(code) if code.code() == 4));
    for code in 0..=255 {
        assert_eq!(ReturnCode::from_u8(code).code(), code);
        assert_eq!(ReturnCode::from_u8(code).is_accepted(), code == 0);
    }
}

#[test]
fn willtopicreq_is_two_octets() {
    both_ways(&[2, 0x06], Packet::WillTopicReq);
}

#[test]
fn willtopic_carries_qos_retain_and_topic() {
    let will = WillTopic {
        qos: Qos::One,
        retain: true,
        topic: "a/b",
    };
    both_ways(b"\x06\x07\x30a/b", Packet::WillTopic(Some(will)));
}

#[test]
fn an_empty_willtopic_is_two_octets() {
    both_ways(&[2, 0x07], Packet::WillTopic(None));
}

#[test]
fn a_willtopic_of_flags_alone_differs_from_the_empty_one() {
    let will = WillTopic {
        qos: Qos::Zero,
        retain: false,
        topic: "",
    };
    both_ways(&[3, 0x07, 0x00], Packet::WillTopic(Some(will)));
}

#[test]
fn willmsgreq_is_two_octets() {
    both_ways(&[2, 0x08], Packet::WillMsgReq);
}

#[test]
fn willmsg_is_any_octets() {
    both_ways(
        &[5, 0x09, b'b', 0xFF, 0x00],
        Packet::WillMsg(&[b'b', 0xFF, 0x00]),
    );
    both_ways(&[2, 0x09], Packet::WillMsg(&[]));
}

#[test]
fn register_carries_topic_id_msg_id_and_topic_name() {
    both_ways(
        b"\x09\x0a\x01\x02\x03\x04a/b",
        Packet::Register(Register {
            topic_id: 0x0102,
            msg_id: MsgId(0x0304),
            topic_name: "a/b",
        }),
    );
}

#[test]
fn regack_carries_topic_id_msg_id_and_return_code() {
    both_ways(
        &[7, 0x0B, 1, 2, 3, 4, 2],
        Packet::Regack(Regack {
            topic_id: 0x0102,
            msg_id: MsgId(0x0304),
            return_code: ReturnCode::InvalidTopicId,
        }),
    );
}

#[test]
fn publish_carries_flags_topic_id_msg_id_and_data() {
    both_ways(
        &[9, 0x0C, 0b1010_0000, 1, 2, 3, 4, b'h', b'i'],
        Packet::Publish(Publish {
            dup: true,
            qos: Qos::One,
            retain: false,
            alias: Alias::normal(0x0102),
            msg_id: MsgId(0x0304),
            data: b"hi",
        }),
    );
}

#[test]
fn publish_at_qos_minus_one_on_a_predefined_id() {
    both_ways(
        &[7, 0x0C, 0b0111_0001, 0, 9, 0, 0],
        Packet::Publish(Publish {
            dup: false,
            qos: Qos::MinusOne,
            retain: true,
            alias: Alias::predefined(9),
            msg_id: MsgId(0),
            data: b"",
        }),
    );
}

#[test]
fn publish_on_a_short_topic_name_carries_it_in_the_topic_id_field() {
    let alias = Alias::short(*b"xy");
    assert_eq!(alias.as_short(), Some(*b"xy"));
    both_ways(
        &[8, 0x0C, 0b0100_0010, b'x', b'y', 0, 1, 0],
        Packet::Publish(Publish {
            dup: false,
            qos: Qos::Two,
            retain: false,
            alias,
            msg_id: MsgId(1),
            data: &[0],
        }),
    );
}

#[test]
fn puback_carries_topic_id_msg_id_and_return_code() {
    both_ways(
        &[7, 0x0D, 1, 2, 3, 4, 1],
        Packet::Puback(Puback {
            topic_id: 0x0102,
            msg_id: MsgId(0x0304),
            return_code: ReturnCode::Congestion,
        }),
    );
}

#[test]
fn the_qos_2_handshake_carries_the_msg_id() {
    both_ways(&[4, 0x0F, 3, 4], Packet::Pubrec(MsgId(0x0304)));
    both_ways(&[4, 0x10, 3, 4], Packet::Pubrel(MsgId(0x0304)));
    both_ways(&[4, 0x0E, 3, 4], Packet::Pubcomp(MsgId(0x0304)));
}

#[test]
fn subscribe_names_a_topic_in_three_ways() {
    let subscribe = Subscribe {
        dup: false,
        qos: Qos::One,
        msg_id: MsgId(5),
        topic: TopicRef::Name("a/#"),
    };
    both_ways(b"\x08\x12\x20\x00\x05a/#", Packet::Subscribe(subscribe));
    both_ways(
        b"\x07\x12\xa1\x00\x05\x01\x02",
        Packet::Subscribe(Subscribe {
            dup: true,
            topic: TopicRef::Predefined(0x0102),
            ..subscribe
        }),
    );
    both_ways(
        b"\x07\x12\x22\x00\x05xy",
        Packet::Subscribe(Subscribe {
            topic: TopicRef::Short(*b"xy"),
            ..subscribe
        }),
    );
}

#[test]
fn a_topic_name_of_two_octets_is_no_short_topic_name() {
    let subscribe = Subscribe {
        dup: false,
        qos: Qos::Zero,
        msg_id: MsgId(5),
        topic: TopicRef::Name("xy"),
    };
    both_ways(b"\x07\x12\x00\x00\x05xy", Packet::Subscribe(subscribe));
    assert_eq!(subscribe.topic.alias(), None);
    assert_eq!(TopicRef::Short(*b"xy").alias(), Some(Alias::short(*b"xy")));
    assert_eq!(TopicRef::Short(*b"xy").name(), Some("xy"));
    assert_eq!(TopicRef::Short([0xFF, 0xFF]).name(), None);
}

#[test]
fn suback_carries_granted_qos_topic_id_msg_id_and_return_code() {
    both_ways(
        &[8, 0x13, 0b0100_0000, 1, 2, 3, 4, 0],
        Packet::Suback(Suback {
            qos: Qos::Two,
            topic_id: 0x0102,
            msg_id: MsgId(0x0304),
            return_code: ReturnCode::Accepted,
        }),
    );
}

#[test]
fn unsubscribe_names_a_topic_in_three_ways() {
    let msg_id = MsgId(5);
    for (octets, topic) in [
        (&b"\x08\x14\x00\x00\x05a/#"[..], TopicRef::Name("a/#")),
        (
            &b"\x07\x14\x01\x00\x05\x01\x02"[..],
            TopicRef::Predefined(0x0102),
        ),
        (&b"\x07\x14\x02\x00\x05xy"[..], TopicRef::Short(*b"xy")),
    ] {
        both_ways(octets, Packet::Unsubscribe(Unsubscribe { msg_id, topic }));
    }
}

#[test]
fn unsuback_carries_the_msg_id() {
    both_ways(&[4, 0x15, 3, 4], Packet::Unsuback(MsgId(0x0304)));
}

#[test]
fn pingreq_has_a_client_id_only_from_a_sleeping_client() {
    both_ways(&[2, 0x16], Packet::Pingreq(Pingreq { client_id: "" }));
    both_ways(
        b"\x07\x16node1",
        Packet::Pingreq(Pingreq { client_id: "node1" }),
    );
}

#[test]
fn pingresp_is_two_octets() {
    both_ways(&[2, 0x17], Packet::Pingresp);
}

#[test]
fn disconnect_has_a_duration_only_for_a_sleep() {
    both_ways(
        &[2, 0x18],
        Packet::Disconnect(Disconnect { duration: None }),
    );
    both_ways(
        &[4, 0x18, 0x0E, 0x10],
        Packet::Disconnect(Disconnect {
            duration: Some(Seconds(3600)),
        }),
    );
    // A sleep of 0 s is not the same message as none.
    both_ways(
        &[4, 0x18, 0, 0],
        Packet::Disconnect(Disconnect {
            duration: Some(Seconds(0)),
        }),
    );
}

#[test]
fn willtopicupd_is_shaped_like_willtopic() {
    let will = WillTopic {
        qos: Qos::Two,
        retain: false,
        topic: "a/b",
    };
    both_ways(b"\x06\x1a\x40a/b", Packet::WillTopicUpd(Some(will)));
    both_ways(&[2, 0x1A], Packet::WillTopicUpd(None));
}

#[test]
fn willtopicresp_carries_a_return_code() {
    both_ways(&[3, 0x1B, 0], Packet::WillTopicResp(ReturnCode::Accepted));
}

#[test]
fn willmsgupd_is_any_octets() {
    both_ways(b"\x05\x1cbye", Packet::WillMsgUpd(b"bye"));
}

#[test]
fn willmsgresp_carries_a_return_code() {
    both_ways(&[3, 0x1D, 3], Packet::WillMsgResp(ReturnCode::NotSupported));
}

#[test]
fn the_length_has_one_octet_up_to_255_and_three_from_there() {
    let data = [0xAB; 400];
    for (payload, total) in [(248, 255), (249, 258), (250, 259), (400, 409)] {
        let publish = Packet::Publish(Publish {
            dup: false,
            qos: Qos::Zero,
            retain: false,
            alias: Alias::normal(1),
            msg_id: MsgId(0),
            data: &data[..payload],
        });
        let mut octets = if total <= 255 {
            vec![255]
        } else {
            vec![1, 1, (total - 256) as u8]
        };
        octets.extend([0x0C, 0, 0, 1, 0, 0]);
        octets.extend(&data[..payload]);
        assert_eq!(octets.len(), total);
        both_ways(&octets, publish);
    }
}

#[test]
fn a_short_message_may_use_the_three_octet_length() {
    let packet = Packet::decode(&[0x01, 0x00, 0x06, 0x0F, 3, 4]).expect("a PUBREC");
    assert_eq!(packet, Packet::Pubrec(MsgId(0x0304)));
    assert_eq!(
        Packet::decode(&[0x01, 0x00, 0x04, 0x17]),
        Ok(Packet::Pingresp)
    );
    let mut buffer = [0; 6];
    assert_eq!(
        packet.encode(&mut buffer),
        Ok(4),
        "written with the shortest form"
    );
}

#[test]
fn the_longest_message_is_65535_octets() {
    let data = vec![7; 65_536];
    let longest = Packet::WillMsg(&data[..65_531]);
    let mut buffer = vec![0; 65_540];
    assert_eq!(longest.encode(&mut buffer), Ok(65_535));
    assert_eq!(&buffer[..4], &[0x01, 0xFF, 0xFF, 0x09]);
    assert_eq!(Packet::decode(&buffer[..65_535]), Ok(longest));

    let longer = Packet::WillMsg(&data[..65_532]);
    let error = mqttsn::EncodeError::TooLong {
        length: 65_536,
        max: 65_535,
    };
    assert_eq!(longer.encode(&mut buffer), Err(error));
}

#[test]
fn a_buffer_that_is_too_small_is_left_alone() {
    let packet = Packet::Pubrec(MsgId(1));
    let mut buffer = [0xEE; 3];
    let error = mqttsn::EncodeError::BufferTooSmall {
        needed: 4,
        available: 3,
    };
    assert_eq!(packet.encode(&mut buffer), Err(error));
    assert_eq!(buffer, [0xEE; 3]);
}

#[test]
fn flag_bits_that_a_message_does_not_use_are_ignored_and_written_as_zero() {
    for (octets, canonical) in [
        // CONNECT: DUP, QoS, Retain and even the reserved TopicIdType.
        (
            &b"\x07\x04\xf7\x01\x00\x0ax"[..],
            &b"\x07\x04\x04\x01\x00\x0ax"[..],
        ),
        // WILLTOPIC: DUP, Will, CleanSession, TopicIdType.
        (&b"\x04\x07\xbfx"[..], &b"\x04\x07\x30x"[..]),
        // PUBLISH: Will, CleanSession.
        (
            &b"\x07\x0c\x0c\x00\x01\x00\x00"[..],
            &b"\x07\x0c\x00\x00\x01\x00\x00"[..],
        ),
        // SUBSCRIBE: Retain, Will, CleanSession.
        (&b"\x06\x12\xbc\x00\x01x"[..], &b"\x06\x12\xa0\x00\x01x"[..]),
        // SUBACK: all but QoS.
        (
            &b"\x08\x13\xbf\x00\x01\x00\x01\x00"[..],
            &b"\x08\x13\x20\x00\x01\x00\x01\x00"[..],
        ),
        // UNSUBSCRIBE: all but TopicIdType.
        (&b"\x06\x14\xfc\x00\x01x"[..], &b"\x06\x14\x00\x00\x01x"[..]),
    ] {
        let packet = Packet::decode(octets).expect("unused bits are ignored");
        let mut buffer = [0; 16];
        let length = packet.encode(&mut buffer).expect("room enough");
        assert_eq!(&buffer[..length], canonical, "{packet:?}");
    }
}

#[test]
fn the_codes_of_message_types_are_those_of_table_3() {
    let reserved = |code| matches!(code, 0x03 | 0x11 | 0x19 | 0x1E..=0xFD | 0xFF);
    for code in 0..=255 {
        assert_eq!(
            MsgType::from_u8(code).is_none(),
            reserved(code),
            "{code:#04x}"
        );
        assert!(MsgType::from_u8(code).is_none_or(|msg_type| msg_type.code() == code));
    }
    assert_eq!(MsgType::ALL.len(), 28);
}
