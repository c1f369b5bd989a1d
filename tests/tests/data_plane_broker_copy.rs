//! What the broker gets beside, or instead of, the subscribers: tagged copies, and nothing else.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use system_tests::data_plane::{
    DataPlane, MAX_LENGTH, Offload, Outcome, Path, RID_COPY, Target, on_each_target, on_target,
};
use system_tests::frame::{Checksum, Datagram, ones_complement_sum};
use system_tests::hosts::{ALICE, BOB, BROKER, Host, PUBLISHER};
use system_tests::messages::{PREDEFINED, Publish, QOS_1, QOS_MINUS_ONE, RETAIN, tagged};

const TOPIC: u32 = 0xa1b2_c3d4;
const GENERATION: u32 = 0x1122_3344;
const ALIAS: u16 = 7;
const HOME: u16 = 9;
/// Alice and the broker's copy.
const WITH_COPY: u16 = 10;
/// Alice alone.
const WITHOUT_COPY: u16 = 11;

fn prepare(plane: &mut DataPlane, offload: Offload) {
    plane.know(&BROKER);
    plane.serve(&BROKER, MAX_LENGTH);
    plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
    plane.subscriber(1, &BROKER, &ALICE);
    plane.group(WITH_COPY, &[(ALICE.port, 1), (BROKER.port, RID_COPY)]);
    plane.group(WITHOUT_COPY, &[(ALICE.port, 1)]);
    plane.offload(
        TOPIC,
        Offload {
            generation: GENERATION,
            copy_topic_id: HOME,
            ..offload
        },
    );
    plane.lease();
}

fn sent(publish: &Publish) -> Datagram {
    Datagram {
        identification: 0xbeef,
        ttl: 61,
        ..Datagram::between(&PUBLISHER, &BROKER, publish.octets())
    }
}

/// Alice's copy.
fn copy(publish: &Publish) -> Vec<u8> {
    let copy = Publish {
        flags: 0,
        topic_id: HOME,
        msg_id: 0,
        ..publish.clone()
    };
    Datagram {
        identification: 0xbeef,
        ..Datagram::between(&BROKER, &ALICE, copy.octets())
    }
    .frame()
}

/// The broker's: what was sent, behind the tag, and nothing of it changed but lengths and checksums.
fn tagged_copy(publish: &Publish) -> Datagram {
    Datagram {
        payload: tagged(TOPIC, GENERATION, &publish.octets()),
        ..sent(publish)
    }
}

fn alice_and_broker(publish: &Publish) -> Outcome {
    [
        (ALICE.port, vec![copy(publish)]),
        (BROKER.port, vec![tagged_copy(publish).frame()]),
    ]
    .into()
}

fn copying() -> Offload {
    Offload {
        group_q0: WITH_COPY,
        group_q1: WITH_COPY,
        copy_q0: true,
        copy_q1: true,
        ..Offload::default()
    }
}

#[test]
fn the_tagged_copy_is_the_publish_itself_behind_a_forwarder_encapsulation() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let publish = Publish::new(QOS_1, ALIAS, 0x0102, *b"21.5");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, alice_and_broker(&publish));
        // Octet by octet, once.
        let payload = &outcome[&BROKER.port][0][42..];
        let expected = [
            14, 0xfe, 0, 0x54, 0x53, 1, 0xa1, 0xb2, 0xc3, 0xd4, 0x11, 0x22, 0x33, 0x44, //
            11, 0x0c, 0x20, 0, 7, 1, 2, b'2', b'1', b'.', b'5',
        ];
        assert_eq!(payload, expected);
        assert_eq!(plane.path_count(Path::Offloaded), 1);
    });
}

#[test]
fn the_codec_reads_the_tag_of_the_copy() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        let received = Datagram::read(&outcome[&BROKER.port][0]).expect("a datagram");
        let frame = mqttsn::Frame::decode(&received.payload).expect("MQTT-SN");
        let layer = frame.layers().next().expect("one encapsulation");
        let tag = mqttsn::Tag::from_encapsulation(&layer).expect("a tag");
        assert_eq!(
            tag,
            mqttsn::Tag {
                topic_index: TOPIC,
                generation: GENERATION
            }
        );
        assert_eq!(frame.message(), publish.octets());
    });
}

#[test]
fn tagged_copies_are_right_for_every_payload_and_both_forms_of_the_length() {
    const SEED: u64 = 314_159;
    on_each_target(|plane| {
        prepare(plane, copying());
        let mut random = StdRng::seed_from_u64(SEED);
        let mut cases: Vec<(usize, bool)> = [0, 1, 2, 247, 248, 249, 250]
            .into_iter()
            .flat_map(|length| [(length, false), (length, true)])
            .collect();
        cases.extend((0..40).map(|_| (random.random_range(0..1400), random.random())));
        for (length, long) in cases {
            let mut data = vec![0; length];
            random.fill_bytes(&mut data);
            let publish = Publish {
                long,
                ..Publish::new(QOS_1, ALIAS, random.random(), data)
            };
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
            assert_eq!(
                outcome,
                alice_and_broker(&publish),
                "seed {SEED}, {length}, long {long}"
            );
        }
    });
}

#[test]
fn a_checksum_of_zero_stays_zero_behind_the_tag() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let publish = Publish::new(0, ALIAS, 0, *b"none");
        let datagram = Datagram {
            checksum: Checksum::None,
            ..sent(&publish)
        };
        let outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
        let expected = Datagram {
            checksum: Checksum::None,
            ..tagged_copy(&publish)
        }
        .frame();
        assert_eq!(outcome[&BROKER.port], [expected]);
    });
}

#[test]
fn a_checksum_computed_as_zero_is_sent_as_all_ones_behind_the_tag() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let mut publish = Publish::new(0, ALIAS, 0, *b"abc\0\0");
        let checksum = [
            tagged_copy(&publish).frame()[40],
            tagged_copy(&publish).frame()[41],
        ];
        publish.data[3..].copy_from_slice(&checksum);
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome[&BROKER.port][0][40..42], [0xff, 0xff]);
        assert_eq!(outcome, alice_and_broker(&publish));
    });
}

#[test]
fn a_payload_corrupted_on_the_way_still_fails_behind_the_tag() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let publish = Publish::new(0, ALIAS, 0, *b"corrupt me");
        let mut frame = sent(&publish).frame();
        frame[52] ^= 1;
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        let received = Datagram::read(&outcome[&BROKER.port][0]).expect("a datagram");
        assert!(
            matches!(received.checksum, Checksum::Flipped(_)),
            "{received:?}"
        );
    });
}

#[test]
fn copies_follow_the_flag_of_their_qos() {
    on_each_target(|plane| {
        // At QoS 0 the data plane serves everybody; at QoS 1 the broker has subscribers of its own.
        prepare(
            plane,
            Offload {
                group_q0: WITHOUT_COPY,
                copy_q0: false,
                ..copying()
            },
        );
        let publish = Publish::new(0, ALIAS, 0, *b"q0");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, [(ALICE.port, vec![copy(&publish)])].into());
        let publish = Publish::new(QOS_1, ALIAS, 1, *b"q1");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome, alice_and_broker(&publish));
    });
}

#[test]
fn a_retained_publish_is_always_copied_to_the_broker_and_never_acknowledged() {
    on_each_target(|plane| {
        let alone = Offload {
            group_q0: WITHOUT_COPY,
            group_q1: WITHOUT_COPY,
            ack_q1: true,
            ..Offload::default()
        };
        prepare(plane, alone);
        plane.admit_open(PREDEFINED, 9, TOPIC);
        for (flags, topic_id) in [
            (RETAIN, ALIAS),
            (QOS_1 | RETAIN, ALIAS),
            (QOS_MINUS_ONE | RETAIN | PREDEFINED, 9),
        ] {
            // The copy for a subscriber is not a retained one: it was subscribed already.
            let publish = Publish::new(flags, topic_id, 3, *b"keep");
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
            assert_eq!(outcome, alice_and_broker(&publish), "flags {flags:#04x}");
        }
        // Where the group holds the broker's copy already there is one, not two.
        plane.admit(&PUBLISHER, 0, ALIAS + 1, TOPIC + 1);
        let generation = GENERATION + 1;
        plane.offload(
            TOPIC + 1,
            Offload {
                generation,
                copy_topic_id: HOME,
                ..copying()
            },
        );
        let publish = Publish::new(QOS_1 | RETAIN, ALIAS + 1, 3, *b"keep");
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&publish).frame()]);
        assert_eq!(outcome[&BROKER.port].len(), 1);
        assert_eq!(outcome[&ALICE.port], [copy(&publish)]);
    });
}

#[test]
fn where_only_the_broker_wants_it_the_publish_itself_goes_there_untagged() {
    on_each_target(|plane| {
        prepare(
            plane,
            Offload {
                copy_q0: true,
                copy_q1: true,
                ..Offload::default()
            },
        );
        for flags in [0, QOS_1, RETAIN, QOS_1 | RETAIN] {
            let frame = sent(&Publish::new(flags, ALIAS, 3, *b"only you")).frame();
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        }
        assert_eq!(plane.path_count(Path::CopyOnly), 4);
    });
}

#[test]
fn a_topic_without_subscribers_ends_in_the_switch_but_for_retained_ones() {
    on_each_target(|plane| {
        prepare(plane, copying());
        plane.admit(&PUBLISHER, 0, ALIAS + 1, TOPIC + 1);
        plane.discard(TOPIC + 1, 1);
        let publish = sent(&Publish::new(0, ALIAS + 1, 0, *b"nobody")).frame();
        assert_eq!(plane.exchange(PUBLISHER.port, &[publish]), Outcome::new());
        for flags in [RETAIN, QOS_1 | RETAIN] {
            let frame = sent(&Publish::new(flags, ALIAS + 1, 3, *b"later")).frame();
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        }
    });
}

#[test]
fn a_publish_that_would_be_too_long_with_its_tag_goes_to_the_broker_untouched() {
    on_each_target(|plane| {
        prepare(plane, copying());
        // 1500 octets: IPv4 and UDP 28, tag 14, PUBLISH 9 and its payload.
        let fits = Publish::new(0, ALIAS, 0, vec![b'x'; 1500 - 28 - 14 - 9]);
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&fits).frame()]);
        assert_eq!(outcome, alice_and_broker(&fits));
        let frame = sent(&Publish::new(
            0,
            ALIAS,
            0,
            vec![b'x'; 1500 - 28 - 14 - 9 + 1],
        ))
        .frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        assert_eq!(plane.path_count(Path::TooLong), 1);
    });
}

#[test]
fn the_longest_datagrams_go_to_the_broker_untouched() {
    // Only ports in memory carry them whole.
    on_target(Target::Sim, |plane| {
        prepare(plane, copying());
        for length in [1_501, 60_000, 65_521] {
            let frame = sent(&Publish::new(0, ALIAS, 0, vec![b'x'; length - 28 - 9])).frame();
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert!(
                outcome == [(BROKER.port, vec![frame])].into(),
                "{length} octets"
            );
        }
        assert_eq!(plane.path_count(Path::TooLong), 3);
    });
}

#[test]
fn a_forged_tag_is_dropped_and_counted() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let inner = Publish::new(0, ALIAS, 0, *b"forged").octets();
        for host in [PUBLISHER, ALICE, BOB] {
            let forged = Datagram::between(&host, &BROKER, tagged(TOPIC, GENERATION, &inner));
            assert_eq!(plane.exchange(host.port, &[forged.frame()]), Outcome::new());
        }
        // Whatever its version or length says.
        for (octet, value) in [(0, 15), (2, 3), (5, 2)] {
            let mut payload = tagged(TOPIC, GENERATION, &inner);
            payload[octet] = value;
            let forged = Datagram::between(&PUBLISHER, &BROKER, payload).frame();
            assert_eq!(plane.exchange(PUBLISHER.port, &[forged]), Outcome::new());
        }
        assert_eq!(plane.path_count(Path::ForgedTag), 6);
    });
}

#[test]
fn the_encapsulation_of_a_real_forwarder_reaches_the_broker() {
    on_each_target(|plane| {
        prepare(plane, copying());
        let mut payload = vec![6, 0xfe, 0x01, 0xaa, 0xbb, 0xcc];
        payload.extend(Publish::new(0, ALIAS, 0, *b"forwarded").octets());
        let frame = Datagram::between(&PUBLISHER, &BROKER, payload).frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        assert_eq!(plane.path_count(Path::ForgedTag), 0);
    });
}

/// IPv4 header checksum and length are right again after a change.
fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    let total_length = u16::try_from(frame.len() - 14).expect("small");
    frame[16..18].copy_from_slice(&total_length.to_be_bytes());
    frame[24..26].fill(0);
    let end = 14 + usize::from(frame[14] & 0x0f) * 4;
    let checksum = !ones_complement_sum(&frame[14..end]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn a_forged_tag_is_dropped_behind_options_in_fragments_in_vlans_and_over_ipv6() {
    on_each_target(|plane| {
        prepare(plane, copying());
        plane.serve(&BROKER.v6(), MAX_LENGTH);
        let inner = Publish::new(0, ALIAS, 0, *b"forged").octets();
        let forged = |from: &Host, to: &Host| {
            Datagram::between(from, to, tagged(TOPIC, GENERATION, &inner)).frame()
        };
        let mut frames = vec![
            forged(&PUBLISHER.tagged(42), &BROKER),
            forged(&PUBLISHER.v6(), &BROKER.v6()),
            forged(&PUBLISHER.v6().tagged(42), &BROKER.v6()),
        ];
        // Options: one word of them, and all that there can be.
        for words in [1_u8, 2, 10] {
            let mut frame = forged(&PUBLISHER, &BROKER);
            frame[14] = 0x45 + words;
            frame.splice(34..34, vec![1; usize::from(words) * 4]);
            frames.push(repaired(frame.clone()));
            // And the first fragment of such a packet.
            frame[20] = 0x20;
            frames.push(repaired(frame));
        }
        let mut fragment = forged(&PUBLISHER, &BROKER);
        fragment[20] = 0x20;
        frames.push(repaired(fragment));
        let mut fragment = forged(&PUBLISHER.v6(), &BROKER.v6());
        fragment[20] = 44;
        fragment.splice(54..54, [17, 0, 0, 1, 0, 0, 0, 7]);
        frames.push(fragment);
        let sent = i64::try_from(frames.len()).expect("few");
        for frame in frames {
            assert_eq!(
                plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame)),
                Outcome::new(),
                "{frame:02x?}"
            );
        }
        assert_eq!(plane.path_count(Path::ForgedTag), sent);
    });
}
