//! The forwarder encapsulation of MQTT-SN 1.2 §5.5 and the tag that travels in it.

use mqttsn::encapsulation::MAX_NODE_ID_LEN;
use mqttsn::{DecodeError, Encapsulation, EncodeError, Frame, MsgType, Packet, Tag};

#[test]
fn a_datagram_without_encapsulation_is_the_message() {
    let frame = Frame::decode(&[2, 0x17]).expect("no layer to be wrong");
    assert_eq!(frame.layers().count(), 0);
    assert_eq!(frame.encapsulation(), &[]);
    assert_eq!(frame.message(), &[2, 0x17]);
    assert_eq!(frame.packet(), Ok(Packet::Pingresp));
}

#[test]
fn the_length_counts_up_to_the_end_of_the_wireless_node_id() {
    let datagram = [5, 0xFE, 0x02, 0x12, 0x34, 2, 0x16];
    let frame = Frame::decode(&datagram).expect("one layer");
    let layer = Encapsulation {
        ctrl: 2,
        wireless_node_id: &[0x12, 0x34],
    };
    assert_eq!(frame.layers().collect::<Vec<_>>(), [layer]);
    assert_eq!(layer.radius(), 2);
    assert_eq!(frame.message(), &[2, 0x16]);

    let mut buffer = [0; 5];
    assert_eq!(layer.encode(&mut buffer), Ok(5));
    assert_eq!(buffer, datagram[..5]);
}

#[test]
fn layers_come_outermost_first() {
    let datagram = [
        4, 0xFE, 1, 0xA1, 5, 0xFE, 0, 0xB1, 0xB2, 3, 0xFE, 3, 2, 0x17,
    ];
    let frame = Frame::decode(&datagram).expect("three layers");
    let ids: Vec<_> = frame.layers().map(|layer| layer.wireless_node_id).collect();
    assert_eq!(ids, [&[0xA1][..], &[0xB1, 0xB2], &[]]);
    assert_eq!(frame.encapsulation(), &datagram[..12]);
    assert_eq!(frame.packet(), Ok(Packet::Pingresp));
}

#[test]
fn the_message_inside_has_its_own_length() {
    let frame = Frame::decode(&[3, 0xFE, 0, 3, 0x17]).expect("the layer is fine");
    let error = DecodeError::LengthMismatch {
        declared: 3,
        actual: 2,
    };
    assert_eq!(frame.packet(), Err(error));
    let frame = Frame::decode(&[3, 0xFE, 0]).expect("the layer is fine");
    assert_eq!(
        frame.packet(),
        Err(DecodeError::TooShort {
            needed: 2,
            actual: 0
        })
    );
    // The inner message may be long.
    let frame = Frame::decode(&[3, 0xFE, 0, 1, 0, 4, 0x17]).expect("the layer is fine");
    assert_eq!(frame.packet(), Ok(Packet::Pingresp));
}

#[test]
fn a_layer_must_fit_the_datagram_and_hold_its_ctrl() {
    let msg_type = MsgType::Encapsulated;
    for (datagram, error) in [
        (
            &[0, 0xFE, 0][..],
            DecodeError::Truncated {
                msg_type,
                needed: 1,
                actual: 0,
            },
        ),
        (
            &[2, 0xFE, 2, 0x17],
            DecodeError::Truncated {
                msg_type,
                needed: 1,
                actual: 0,
            },
        ),
        (
            &[3, 0xFE],
            DecodeError::LengthMismatch {
                declared: 3,
                actual: 2,
            },
        ),
        (
            &[9, 0xFE, 0, 2, 0x17],
            DecodeError::LengthMismatch {
                declared: 9,
                actual: 5,
            },
        ),
        (
            &[3, 0xFE, 0, 9, 0xFE, 0],
            DecodeError::LengthMismatch {
                declared: 9,
                actual: 3,
            },
        ),
        (&[1, 0, 5, 0xFE, 0, 2, 0x17], DecodeError::LongEncapsulation),
        (
            &[3, 0xFE, 0, 1, 0, 5, 0xFE, 0, 2, 0x17],
            DecodeError::LongEncapsulation,
        ),
    ] {
        assert_eq!(Frame::decode(datagram), Err(error), "{datagram:02x?}");
    }
}

#[test]
fn a_long_length_whose_high_octet_is_0xfe_is_no_encapsulation() {
    let mut datagram = vec![9; 0xFE04];
    datagram[..4].copy_from_slice(&[0x01, 0xFE, 0x04, 0x09]);
    let frame = Frame::decode(&datagram).expect("no layer");
    assert_eq!(frame.message().len(), 0xFE04);
    assert_eq!(frame.packet(), Ok(Packet::WillMsg(&datagram[4..])));
}

#[test]
fn taking_a_layer_off_what_has_none_is_an_error() {
    for (datagram, error) in [
        (
            &[][..],
            DecodeError::TooShort {
                needed: 2,
                actual: 0,
            },
        ),
        (
            &[1, 0xFE, 0],
            DecodeError::TooShort {
                needed: 4,
                actual: 3,
            },
        ),
        (&[2, 0x17], DecodeError::UnknownType(0x17)),
        (&[1, 0, 4, 0x17], DecodeError::UnknownType(0x17)),
    ] {
        assert_eq!(
            Encapsulation::decode(datagram),
            Err(error),
            "{datagram:02x?}"
        );
    }
}

#[test]
fn a_wireless_node_id_has_at_most_252_octets() {
    let id = [7; MAX_NODE_ID_LEN + 1];
    let mut buffer = [0; 300];
    let longest = Encapsulation {
        ctrl: 0,
        wireless_node_id: &id[..MAX_NODE_ID_LEN],
    };
    assert_eq!(longest.encode(&mut buffer), Ok(255));
    assert_eq!(
        Encapsulation::decode(&buffer[..255]),
        Ok((longest, &[][..]))
    );
    let longer = Encapsulation {
        ctrl: 0,
        wireless_node_id: &id,
    };
    assert_eq!(
        longer.encode(&mut buffer),
        Err(EncodeError::TooLong {
            length: 256,
            max: 255
        })
    );
    let error = EncodeError::BufferTooSmall {
        needed: 255,
        available: 254,
    };
    assert_eq!(longest.encode(&mut buffer[..254]), Err(error));
}

#[test]
fn a_tag_is_an_encapsulation_of_14_octets() {
    let tag = Tag {
        topic_index: 0x0102_0304,
        generation: 0xA1A2_A3A4,
    };
    let octets = [
        14, 0xFE, 0, 0x54, 0x53, 1, 1, 2, 3, 4, 0xA1, 0xA2, 0xA3, 0xA4,
    ];
    assert_eq!(tag.to_encapsulation(), octets);
    assert_eq!(tag.to_node_id(), octets[3..]);
    assert_eq!(Tag::from_node_id(&octets[3..]), Some(tag));

    let mut datagram = octets.to_vec();
    datagram.extend([2, 0x17]);
    let frame = Frame::decode(&datagram).expect("the tag is one layer");
    assert_eq!(
        frame
            .layers()
            .find_map(|layer| Tag::from_encapsulation(&layer)),
        Some(tag)
    );
    assert_eq!(frame.message(), &[2, 0x17]);
}

#[test]
fn other_wireless_node_ids_are_no_tags() {
    let tag = Tag {
        topic_index: 1,
        generation: 2,
    }
    .to_node_id();
    for at in 0..3 {
        let mut other = tag;
        other[at] ^= 0x02;
        assert_eq!(Tag::from_node_id(&other), None, "octet {at} is checked");
    }
    assert_eq!(Tag::from_node_id(&tag[..10]), None);
    assert_eq!(Tag::from_node_id(&[&tag[..], &[0]].concat()), None);
    assert_eq!(Tag::from_node_id(&[]), None);
}
