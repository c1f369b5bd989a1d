//! A PUBLISH is copied to every subscriber of its topic, each copy as the broker would send it.
//!
//! Frames are compared whole: every header field, every length, both checksums.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use system_tests::data_plane::{
    DataPlane, MAX_LENGTH, Offload, Outcome, Path, Target, on_each_target, on_target,
};
use system_tests::frame::{Checksum, Datagram, ones_complement_sum};
use system_tests::hosts::{ALICE, BOB, BROKER, PUBLISHER};
use system_tests::messages::{PREDEFINED, Publish, QOS_1, QOS_MINUS_ONE, RETAIN, SHORT};

const TOPIC: u32 = 0x0001_0005;
/// The publisher's alias.
const ALIAS: u16 = 7;
/// The home alias.
const HOME: u16 = 0x0901;
const GROUP: u16 = 10;

/// Alice and Bob subscribe, at QoS 0.
fn prepare(plane: &mut DataPlane) {
    plane.know(&BROKER);
    plane.serve(&BROKER, MAX_LENGTH);
    plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
    plane.subscriber(1, &BROKER, &ALICE);
    plane.subscriber(2, &BROKER, &BOB);
    plane.group(GROUP, &[(ALICE.port, 1), (BOB.port, 2)]);
    plane.offload(TOPIC, offload());
    plane.lease();
}

fn offload() -> Offload {
    Offload {
        group_q0: GROUP,
        group_q1: GROUP,
        ack_q1: true,
        generation: 3,
        copy_topic_id: HOME,
        ..Offload::default()
    }
}

fn sent(publish: &Publish) -> Datagram {
    Datagram {
        identification: 0xbeef,
        ..Datagram::between(&PUBLISHER, &BROKER, publish.octets())
    }
}

/// The copy of `publish` for `to`.
fn copy(publish: &Publish, to: &system_tests::hosts::Host) -> Datagram {
    let copy = Publish {
        flags: 0,
        topic_id: HOME,
        msg_id: 0,
        ..publish.clone()
    };
    Datagram {
        identification: 0xbeef,
        ..Datagram::between(&BROKER, to, copy.octets())
    }
}

fn to_both(frame: impl Fn(&system_tests::hosts::Host) -> Vec<u8>) -> Outcome {
    [ALICE, BOB]
        .map(|host| (host.port, vec![frame(&host)]))
        .into()
}

#[test]
fn each_subscriber_gets_a_copy_with_its_own_addresses_and_valid_checksums() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let datagram = Datagram {
            ttl: 3,
            tos: 0xb8,
            ..sent(&publish)
        };
        let outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
        assert_eq!(
            outcome,
            to_both(|to| Datagram {
                tos: 0xb8,
                ..copy(&publish, to)
            }
            .frame())
        );
        assert_eq!(plane.path_count(Path::Offloaded), 1);
    });
}

#[test]
fn copies_are_right_for_every_payload_and_both_forms_of_the_length() {
    const SEED: u64 = 20_261_122;
    on_each_target(|plane| {
        prepare(plane);
        let mut random = StdRng::seed_from_u64(SEED);
        // Message lengths 7 (no payload), 254, 255 (the last of one octet), 256 and 257 (the first
        // of three), odd and even ones, and the longest that an MTU of 1500 carries.
        let mut cases: Vec<(usize, bool)> = [0, 1, 2, 3, 246, 247, 248, 249, 250, 1462, 1463]
            .into_iter()
            .flat_map(|length| [(length, false), (length, true)])
            .collect();
        cases.extend((0..60).map(|_| (random.random_range(0..1400), random.random())));
        for (length, long) in cases {
            let mut data = vec![0; length];
            random.fill_bytes(&mut data);
            // Bits of PUBLISH that mean nothing are random too: Will and CleanSession.
            let flags = random.random::<u8>() & 0x0c;
            let publish = Publish {
                long,
                ..Publish::new(flags, ALIAS, random.random(), data)
            };
            let datagram = Datagram {
                ttl: random.random(),
                ..sent(&publish)
            };
            let outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
            assert_eq!(
                outcome,
                to_both(|to| copy(&publish, to).frame()),
                "seed {SEED}, {length} octets, long form {long}"
            );
        }
    });
}

#[test]
fn a_checksum_of_zero_stays_zero() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"no checksum");
        let datagram = Datagram {
            checksum: Checksum::None,
            ..sent(&publish)
        };
        let outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
        let expected = to_both(|to| {
            Datagram {
                checksum: Checksum::None,
                ..copy(&publish, to)
            }
            .frame()
        });
        assert_eq!(outcome, expected);
    });
}

#[test]
fn a_payload_corrupted_on_the_way_still_fails_at_the_receiver() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"corrupt me");
        for octet in [49, 50, 58] {
            let corrupt = |mut frame: Vec<u8>| {
                frame[octet] ^= 0x10;
                frame
            };
            let outcome = plane.exchange(PUBLISHER.port, &[corrupt(sent(&publish).frame())]);
            assert_eq!(outcome, to_both(|to| corrupt(copy(&publish, to).frame())));
            let received = Datagram::read(&outcome[&ALICE.port][0]).expect("a datagram");
            assert!(
                matches!(received.checksum, Checksum::Flipped(_)),
                "{received:?}"
            );
        }
    });
}

#[test]
fn a_wrong_ipv4_checksum_stays_wrong() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"x");
        let mut frame = sent(&publish).frame();
        frame[24] ^= 0x40;
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        for copies in outcome.values() {
            assert_ne!(ones_complement_sum(&copies[0][14..34]), 0xffff);
        }
    });
}

/// A payload (of two octets behind `data`) that makes the checksum of a copy compute to zero.
fn with_sum_of_zero(publish: &Publish, to: &system_tests::hosts::Host) -> Publish {
    let mut publish = publish.clone();
    // The message is odd up to the payload, so the filler is a word after an odd payload.
    assert_eq!(publish.data.len() % 2, 1);
    publish.data.extend([0, 0]);
    let frame = copy(&publish, to).frame();
    let filler = publish.data.len() - 2;
    // What is missing to a sum of all ones is exactly the checksum.
    publish.data[filler..].copy_from_slice(&frame[40..42]);
    publish
}

#[test]
fn a_checksum_computed_as_zero_is_sent_as_all_ones() {
    on_each_target(|plane| {
        prepare(plane);
        for data in [&b"a"[..], b"abc", b"another payload"] {
            let publish = with_sum_of_zero(&Publish::new(0, ALIAS, 0, data), &ALICE);
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
            assert_eq!(outcome[&ALICE.port][0][40..42], [0xff, 0xff]);
            assert_eq!(outcome, to_both(|to| copy(&publish, to).frame()));
        }
    });
}

#[test]
fn a_publish_whose_own_checksum_is_all_ones_is_copied_right() {
    on_each_target(|plane| {
        prepare(plane);
        let mut publish = Publish::new(0, ALIAS, 0, *b"abc\0\0");
        let checksum = [sent(&publish).frame()[40], sent(&publish).frame()[41]];
        publish.data[3..].copy_from_slice(&checksum);
        let frame = sent(&publish).frame();
        assert_eq!(frame[40..42], [0xff, 0xff]);
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        assert_eq!(outcome, to_both(|to| copy(&publish, to).frame()));
    });
}

#[test]
fn ethernet_padding_behind_a_short_publish_does_no_harm() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"z");
        let mut frame = sent(&publish).frame();
        frame.resize(60, 0);
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        let expected = to_both(|to| {
            let mut frame = copy(&publish, to).frame();
            frame.resize(60, 0);
            frame
        });
        assert_eq!(outcome, expected);
    });
}

#[test]
fn a_subscriber_with_an_alias_of_its_own_gets_that_one() {
    on_each_target(|plane| {
        prepare(plane);
        let aliased = Offload {
            aliased: true,
            ..offload()
        };
        plane.admit(&PUBLISHER, 0, ALIAS + 1, TOPIC + 1);
        plane.offload(TOPIC + 1, aliased);
        plane.alias(TOPIC + 1, 2, SHORT, 0x6162);
        let publish = Publish {
            topic_id: ALIAS + 1,
            ..Publish::new(0, 0, 0, *b"which?")
        };
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        let to_bob = Publish::new(SHORT, 0x6162, 0, *b"which?");
        let to_bob = Datagram {
            identification: 0xbeef,
            ..Datagram::between(&BROKER, &BOB, to_bob.octets())
        };
        let expected: Outcome = [
            (ALICE.port, vec![copy(&publish, &ALICE).frame()]),
            (BOB.port, vec![to_bob.frame()]),
        ]
        .into();
        assert_eq!(outcome, expected);
        // The alias is of that topic alone.
        let publish = Publish::new(0, ALIAS, 0, *b"other topic");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, to_both(|to| copy(&publish, to).frame()));
    });
}

#[test]
fn a_subscriber_behind_the_publishers_port_gets_its_copy_too() {
    on_each_target(|plane| {
        prepare(plane);
        plane.subscriber(3, &BROKER, &PUBLISHER);
        plane.group(11, &[(PUBLISHER.port, 3)]);
        plane.admit(&PUBLISHER, 0, ALIAS + 1, TOPIC + 1);
        plane.offload(
            TOPIC + 1,
            Offload {
                group_q0: 11,
                ..offload()
            },
        );
        let publish = Publish::new(0, ALIAS + 1, 0, *b"echo");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(
            outcome,
            [(PUBLISHER.port, vec![copy(&publish, &PUBLISHER).frame()])].into()
        );
    });
}

#[test]
fn a_copy_for_a_subscriber_that_is_gone_goes_nowhere() {
    on_each_target(|plane| {
        prepare(plane);
        let gone = plane.key("subscriber", &[("rid", 2)]);
        plane.write(vec![p4runtime::v1::Update::delete(gone)]);
        let publish = Publish::new(0, ALIAS, 0, *b"x");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(
            outcome,
            [(ALICE.port, vec![copy(&publish, &ALICE).frame()])].into()
        );
    });
}

#[test]
fn one_modify_moves_a_topic_to_another_set_of_subscribers() {
    on_each_target(|plane| {
        prepare(plane);
        plane.group(11, &[(BOB.port, 2)]);
        let params = [
            ("group_q0", 11),
            ("group_q1", 11),
            ("copy_q0", 0),
            ("copy_q1", 0),
            ("ack_q1", 1),
            ("aliased", 0),
            ("translated", 0),
            ("generation", 4),
            ("copy_flags", 0),
            ("copy_topic_id", HOME.into()),
        ];
        let entry = plane.entry(
            "topic",
            &[("topic_index", TOPIC.into())],
            "offload",
            &params,
        );
        plane.write(vec![p4runtime::v1::Update::modify(entry)]);
        let publish = Publish::new(0, ALIAS, 0, *b"x");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(
            outcome,
            [(BOB.port, vec![copy(&publish, &BOB).frame()])].into()
        );
    });
}

#[test]
fn a_topic_with_one_subscriber_needs_no_group() {
    on_each_target(|plane| {
        prepare(plane);
        for (n, to, ack_q1) in [(1, ALICE, true), (2, PUBLISHER, false)] {
            let (alias, topic) = (ALIAS + n, TOPIC + u32::from(n));
            plane.subscriber(10 + n, &BROKER, &to);
            plane.admit(&PUBLISHER, 0, alias, topic);
            let offload = Offload {
                ack_q1,
                ..offload()
            };
            plane.offload_to_one(topic, to.port, 10 + n, offload);
            let publish = Publish::new(0, alias, 0, *b"only you");
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
            let expected = copy(&publish, &to).frame();
            assert_eq!(outcome, [(to.port, vec![expected])].into());

            // Retain: the broker's copy beside it.
            let publish = Publish::new(RETAIN, alias, 0, *b"keep");
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
            let mut ports = vec![BROKER.port, to.port];
            ports.sort_unstable();
            assert_eq!(outcome.keys().copied().collect::<Vec<_>>(), ports);
            assert_eq!(outcome[&to.port], [copy(&publish, &to).frame()]);

            // QoS 1: acknowledged here, or left to the broker.
            let publish = Publish::new(QOS_1, alias, 9, *b"only you");
            let frame = sent(&publish).frame();
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            if ack_q1 {
                assert_eq!(outcome[&to.port], [copy(&publish, &to).frame()]);
                let answer = Datagram::read(&outcome[&PUBLISHER.port][0]).expect("a PUBACK");
                assert_eq!(answer.payload[1], 0x0d);
            } else {
                assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
                assert_eq!(plane.path_count(Path::CopyOnly), 1);
            }
        }
        // A datagram that is bridged meanwhile is nobody's copy.
        let other = Datagram::between(&PUBLISHER, &BROKER, [2, 0x16]).frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&other));
        assert_eq!(outcome, [(BROKER.port, vec![other])].into());
    });
}

#[test]
fn a_publisher_that_the_broker_knows_by_no_session_publishes_at_qos_minus_one() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit_open(PREDEFINED, 9, TOPIC);
        plane.admit_open(SHORT, 0x6162, TOPIC);
        // Nobody has heard of Bob's address; the alias suffices.
        for (topic_id_type, topic_id) in [(PREDEFINED, 9), (SHORT, 0x6162)] {
            let publish = Publish::new(QOS_MINUS_ONE | topic_id_type, topic_id, 0, *b"beacon");
            let frame = Datagram::between(&BOB, &BROKER, publish.octets()).frame();
            let outcome = plane.exchange(BOB.port, &[frame]);
            let expected = to_both(|to| {
                Datagram {
                    identification: 0x1234,
                    ..copy(&publish, to)
                }
                .frame()
            });
            assert_eq!(outcome, expected);
        }
        let key = [("topic_id_type", 1), ("topic_id", 9)];
        assert_eq!(plane.direct_count("open_publication", &key).0, 1);
    });
}

#[test]
fn direct_counters_tell_who_published_what_to_whom() {
    on_each_target(|plane| {
        prepare(plane);
        let frames: Vec<_> = (0..5_u8)
            .map(|n| sent(&Publish::new(QOS_1, ALIAS, n.into(), [n])).frame())
            .collect();
        let octets = i64::try_from(frames[0].len() * 5).expect("small");
        plane.exchange(PUBLISHER.port, &frames);
        let publication = DataPlane::publication(&PUBLISHER, 0, ALIAS);
        assert_eq!(plane.direct_count("publication", &publication), (5, octets));
        assert_eq!(
            plane.direct_count("topic", &[("topic_index", TOPIC.into())]),
            (5, octets)
        );
        assert_eq!(plane.direct_count("subscriber", &[("rid", 1)]).0, 5);
        assert_eq!(plane.direct_count("subscriber", &[("rid", 2)]).0, 5);
    });
}

#[test]
fn copies_of_one_publisher_keep_their_order() {
    on_each_target(|plane| {
        prepare(plane);
        // BMv2 reads an interface through a ring that holds some 30 frames.
        let publishes: Vec<_> = (0..20_u16)
            .map(|n| Publish::new(0, ALIAS, 0, n.to_be_bytes()))
            .collect();
        let frames: Vec<_> = publishes
            .iter()
            .map(|publish| sent(publish).frame())
            .collect();
        let outcome = plane.exchange(PUBLISHER.port, &frames);
        for host in [ALICE, BOB] {
            let expected: Vec<_> = publishes
                .iter()
                .map(|publish| copy(publish, &host).frame())
                .collect();
            assert!(outcome[&host.port] == expected, "port {}", host.port);
        }
    });
}

#[test]
fn sim_does_the_same_on_network_interfaces() {
    if !system_tests::require("netns", system_tests::netns::available()) {
        return;
    }
    on_target(Target::SimOnVeth, |plane| {
        prepare(plane);
        let publish = Publish::new(QOS_1, ALIAS, 9, *b"21.5");
        let mut outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        let puback = outcome.remove(&PUBLISHER.port).expect("a PUBACK");
        assert_eq!(
            Datagram::read(&puback[0]).expect("a datagram").dst,
            PUBLISHER.socket()
        );
        assert_eq!(outcome, to_both(|to| copy(&publish, to).frame()));
    });
}
