//! What is no message, and what the error says about it.

use mqttsn::DecodeError::*;
use mqttsn::{DecodeError, Field, MsgType, Packet};

#[track_caller]
fn refused(octets: &[u8], error: DecodeError) {
    assert_eq!(Packet::decode(octets), Err(error));
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_datagram_without_room_for_length_and_type_is_too_short() {
    refused(
        &[],
        TooShort {
            needed: 2,
            actual: 0,
        },
    );
    refused(
        &[0x02],
        TooShort {
            needed: 2,
            actual: 1,
        },
    );
    refused(
        &[0x01],
        TooShort {
            needed: 4,
            actual: 1,
        },
    );
    refused(
        &[0x01, 0x00, 0x03],
        TooShort {
            needed: 4,
            actual: 3,
        },
    );
}

#[test]
fn the_length_must_be_that_of_the_datagram() {
    refused(
        &[0x00, 0x17],
        LengthMismatch {
            declared: 0,
            actual: 2,
        },
    );
    refused(
        &[0x03, 0x17],
        LengthMismatch {
            declared: 3,
            actual: 2,
        },
    );
    refused(
        &[0x02, 0x17, 0x00],
        LengthMismatch {
            declared: 2,
            actual: 3,
        },
    );
    refused(
        &[0x01, 0x00, 0x05, 0x17],
        LengthMismatch {
            declared: 5,
            actual: 4,
        },
    );
    refused(
        &[0x01, 0xFF, 0xFF, 0x17],
        LengthMismatch {
            declared: 65_535,
            actual: 4,
        },
    );
    // Longer than any Length can say.
    let huge = vec![0x01; 70_000];
    refused(
        &huge,
        LengthMismatch {
            declared: 0x0101,
            actual: 70_000,
        },
    );
}

#[test]
fn every_reserved_type_is_refused_by_its_code() {
    for code in 0..=255 {
        if MsgType::from_u8(code).is_none() {
            refused(&[2, code], UnknownType(code));
            refused(&[1, 0, 5, code, 9], UnknownType(code));
        }
    }
}

#[test]
fn an_encapsulation_is_no_message() {
    refused(&[3, 0xFE, 0], Encapsulated);
}

#[test]
fn a_message_cut_inside_its_fields_says_what_it_needs() {
    for (msg_type, needed) in [
        (MsgType::Advertise, 3),
        (MsgType::SearchGw, 1),
        (MsgType::GwInfo, 1),
        (MsgType::Connect, 4),
        (MsgType::Connack, 1),
        (MsgType::Register, 4),
        (MsgType::Regack, 5),
        (MsgType::Publish, 5),
        (MsgType::Puback, 5),
        (MsgType::Pubcomp, 2),
        (MsgType::Pubrec, 2),
        (MsgType::Pubrel, 2),
        (MsgType::Subscribe, 3),
        (MsgType::Suback, 6),
        (MsgType::Unsubscribe, 3),
        (MsgType::Unsuback, 2),
        (MsgType::WillTopicResp, 1),
        (MsgType::WillMsgResp, 1),
    ] {
        for actual in 0..needed {
            let mut octets = vec![2 + actual as u8, msg_type.code()];
            octets.resize(2 + actual, 0);
            refused(
                &octets,
                Truncated {
                    msg_type,
                    needed,
                    actual,
                },
            );
        }
    }
    refused(
        &[3, 0x18, 0],
        Truncated {
            msg_type: MsgType::Disconnect,
            needed: 2,
            actual: 1,
        },
    );
}

#[test]
fn a_message_of_fixed_size_takes_no_more() {
    for (msg_type, expected) in [
        (MsgType::Advertise, 3),
        (MsgType::SearchGw, 1),
        (MsgType::Connack, 1),
        (MsgType::WillTopicReq, 0),
        (MsgType::WillMsgReq, 0),
        (MsgType::Regack, 5),
        (MsgType::Puback, 5),
        (MsgType::Pubcomp, 2),
        (MsgType::Pubrec, 2),
        (MsgType::Pubrel, 2),
        (MsgType::Suback, 6),
        (MsgType::Unsuback, 2),
        (MsgType::Pingresp, 0),
        (MsgType::Disconnect, 2),
        (MsgType::WillTopicResp, 1),
        (MsgType::WillMsgResp, 1),
    ] {
        let actual = expected + 1;
        let mut octets = vec![2 + actual as u8, msg_type.code()];
        octets.resize(2 + actual, 0);
        refused(
            &octets,
            TrailingOctets {
                msg_type,
                expected,
                actual,
            },
        );
    }
}

#[test]
fn a_topic_id_of_subscribe_and_unsubscribe_has_two_octets() {
    for msg_type in [MsgType::Subscribe, MsgType::Unsubscribe] {
        for flags in [0b01, 0b10] {
            let code = msg_type.code();
            let (needed, expected) = (5, 5);
            refused(
                &[5, code, flags, 0, 1],
                Truncated {
                    msg_type,
                    needed,
                    actual: 3,
                },
            );
            refused(
                &[6, code, flags, 0, 1, 9],
                Truncated {
                    msg_type,
                    needed,
                    actual: 4,
                },
            );
            refused(
                &[8, code, flags, 0, 1, 9, 9, 9],
                TrailingOctets {
                    msg_type,
                    expected,
                    actual: 6,
                },
            );
        }
    }
}

#[test]
fn the_reserved_topic_id_type_is_refused_where_it_says_what_follows() {
    refused(
        &[7, 0x0C, 0x03, 0, 1, 0, 0],
        ReservedTopicIdType(MsgType::Publish),
    );
    refused(
        &[7, 0x12, 0x03, 0, 1, b'x', b'y'],
        ReservedTopicIdType(MsgType::Subscribe),
    );
    refused(
        &[7, 0x14, 0x03, 0, 1, b'x', b'y'],
        ReservedTopicIdType(MsgType::Unsubscribe),
    );
}

#[test]
fn a_string_that_is_not_utf8_is_named_with_the_place() {
    let valid_up_to = 1;
    for (octets, msg_type, field) in [
        (
            &b"\x08\x04\x04\x01\x00\x0aa\xff"[..],
            MsgType::Connect,
            Field::ClientId,
        ),
        (
            &b"\x05\x07\x00a\xff"[..],
            MsgType::WillTopic,
            Field::WillTopic,
        ),
        (
            &b"\x08\x0a\x00\x00\x00\x01a\xff"[..],
            MsgType::Register,
            Field::TopicName,
        ),
        (
            &b"\x07\x12\x00\x00\x01a\xff"[..],
            MsgType::Subscribe,
            Field::TopicName,
        ),
        (
            &b"\x07\x14\x00\x00\x01a\xff"[..],
            MsgType::Unsubscribe,
            Field::TopicName,
        ),
        (&b"\x04\x16a\xff"[..], MsgType::Pingreq, Field::ClientId),
        (
            &b"\x05\x1a\x00a\xff"[..],
            MsgType::WillTopicUpd,
            Field::WillTopic,
        ),
    ] {
        refused(
            octets,
            NotUtf8 {
                msg_type,
                field,
                valid_up_to,
            },
        );
    }
}

#[test]
fn errors_say_the_values() {
    let error = Packet::decode(&[0x05, 0x17]).expect_err("the Length is wrong");
    assert_eq!(
        error.to_string(),
        "Length is 5, but the datagram has 2 octets"
    );
    let error = Packet::decode(&[0x02, 0x11]).expect_err("the type is reserved");
    assert_eq!(error.to_string(), "MsgType 0x11 is reserved");
    let error = Packet::decode(&[0x03, 0x0D, 0]).expect_err("too short");
    assert_eq!(
        error.to_string(),
        "PUBACK has 1 octets after its MsgType, it needs at least 5"
    );
}
