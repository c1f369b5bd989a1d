//! QoS 1: who acknowledges, and what must be true before the data plane may.

use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, Outcome, Path, on_each_target};
use system_tests::frame::{Checksum, Datagram};
use system_tests::hosts::{ALICE, BROKER, PUBLISHER};
use system_tests::messages::{DUP, PREDEFINED, Publish, QOS_1, puback};

const TOPIC: u32 = 5;
const ALIAS: u16 = 0x0907;

fn prepare(plane: &mut DataPlane) {
    plane.know(&BROKER);
    plane.serve(&BROKER, MAX_LENGTH);
    plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
    plane.admit(&PUBLISHER, 1, 9, TOPIC);
    plane.subscriber(1, &BROKER, &ALICE);
    plane.group(10, &[(ALICE.port, 1)]);
    let offload = Offload {
        group_q0: 10,
        group_q1: 10,
        ack_q1: true,
        copy_topic_id: 7,
        ..Offload::default()
    };
    plane.offload(TOPIC, offload);
    plane.lease();
}

fn sent(publish: &Publish) -> Datagram {
    Datagram {
        identification: 0xbeef,
        ttl: 9,
        ..Datagram::between(&PUBLISHER, &BROKER, publish.octets())
    }
}

/// Alice's copy: QoS 0, MsgId 0.
fn copy(publish: &Publish) -> Datagram {
    let copy = Publish {
        flags: 0,
        topic_id: 7,
        msg_id: 0,
        ..publish.clone()
    };
    Datagram {
        identification: 0xbeef,
        ..Datagram::between(&BROKER, &ALICE, copy.octets())
    }
}

/// The publisher's PUBACK, always with a checksum.
fn acknowledgement(publish: &Publish) -> Vec<u8> {
    let payload = puback(publish.topic_id, publish.msg_id);
    Datagram {
        identification: 0xbeef,
        ..Datagram::between(&BROKER, &PUBLISHER, payload)
    }
    .frame()
}

fn copied_and_acknowledged(publish: &Publish) -> Outcome {
    [
        (ALICE.port, vec![copy(publish).frame()]),
        (PUBLISHER.port, vec![acknowledgement(publish)]),
    ]
    .into()
}

#[test]
fn the_data_plane_acknowledges_and_copies_at_qos_0() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(QOS_1, ALIAS, 0x1234, *b"21.5");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, copied_and_acknowledged(&publish));
        let payload = &outcome[&PUBLISHER.port][0][42..];
        assert_eq!(payload, [7, 0x0d, 0x09, 0x07, 0x12, 0x34, 0]);
        assert_eq!(plane.path_count(Path::Offloaded), 1);
    });
}

#[test]
fn the_acknowledgement_has_the_publishs_own_alias_and_is_as_short_as_it_must_be() {
    on_each_target(|plane| {
        prepare(plane);
        for data in [
            vec![],
            vec![1],
            vec![b'x'; 247],
            vec![b'x'; 248],
            vec![b'x'; 249],
            vec![0; 1400],
        ] {
            for (flags, topic_id) in [(QOS_1, ALIAS), (QOS_1 | PREDEFINED, 9)] {
                let publish = Publish::new(flags, topic_id, 0xffff, data.clone());
                let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
                assert_eq!(
                    outcome,
                    copied_and_acknowledged(&publish),
                    "{} octets",
                    data.len()
                );
            }
        }
        let long = Publish {
            long: true,
            ..Publish::new(QOS_1, ALIAS, 8, *b"long form")
        };
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&long).frame()]);
        assert_eq!(outcome, copied_and_acknowledged(&long));
    });
}

#[test]
fn a_publish_without_checksum_is_acknowledged_with_one() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(QOS_1, ALIAS, 2, *b"21.5");
        let datagram = Datagram {
            checksum: Checksum::None,
            ..sent(&publish)
        };
        let outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
        let copy = Datagram {
            checksum: Checksum::None,
            ..copy(&publish)
        };
        let expected = [
            (ALICE.port, vec![copy.frame()]),
            (PUBLISHER.port, vec![acknowledgement(&publish)]),
        ];
        assert_eq!(outcome, expected.into());
    });
}

#[test]
fn an_acknowledgement_whose_checksum_computes_to_zero_carries_all_ones() {
    on_each_target(|plane| {
        prepare(plane);
        // The MsgId is at odd octets of the PUBACK: its two octets are in two words.
        let with_zero_sum = (0..=u16::MAX)
            .map(|msg_id| Publish::new(QOS_1, ALIAS, msg_id, *b"x"))
            .find(|publish| acknowledgement(publish)[40..42] == [0xff, 0xff]);
        let publish = with_zero_sum.expect("one MsgId in 65,536");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, copied_and_acknowledged(&publish));
    });
}

#[test]
fn a_corrupted_publish_takes_the_software_path_and_is_not_acknowledged() {
    on_each_target(|plane| {
        prepare(plane);
        let mut corrupted = Vec::new();
        for long in [false, true] {
            let publish = Publish {
                long,
                ..Publish::new(QOS_1, ALIAS, 2, *b"corrupt me")
            };
            // MsgId, payload, its last octet, the checksum.
            let length = sent(&publish).frame().len();
            for octet in [length - 12, length - 11, length - 10, length - 1, 40, 41] {
                let mut frame = sent(&publish).frame();
                frame[octet] ^= 0x01;
                corrupted.push(frame);
            }
        }
        for (n, frame) in corrupted.iter().enumerate() {
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(frame));
            assert_eq!(
                outcome,
                [(BROKER.port, vec![frame.clone()])].into(),
                "case {n}"
            );
        }
        assert_eq!(plane.path_count(Path::Checksum), 12);
        assert_eq!(plane.path_count(Path::Offloaded), 0);
    });
}

#[test]
fn a_repeated_publish_is_acknowledged_by_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let frame = sent(&Publish::new(QOS_1 | DUP, ALIAS, 2, *b"again")).frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        assert_eq!(plane.path_count(Path::Qos2OrDup), 1);
    });
}

#[test]
fn a_topic_that_nobody_subscribes_to_is_acknowledged_all_the_same() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit(&PUBLISHER, 0, 8, TOPIC + 1);
        plane.discard(TOPIC + 1, 1);
        let publish = Publish::new(QOS_1, 8, 2, *b"nobody");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(
            outcome,
            [(PUBLISHER.port, vec![acknowledgement(&publish)])].into()
        );
    });
}

#[test]
fn qos_0_is_never_acknowledged() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0x1234, *b"21.5");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, [(ALICE.port, vec![copy(&publish).frame()])].into());
    });
}
