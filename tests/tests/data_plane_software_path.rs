//! Where the data plane cannot keep the law for a packet, the packet itself goes to the broker.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, Outcome, Path, on_each_target};
use system_tests::frame::{Datagram, ones_complement_sum, udp_checksum};
use system_tests::hosts::{ALICE, BROKER, PUBLISHER};
use system_tests::messages::{DUP, PREDEFINED, Publish, QOS_1, QOS_2, RETAIN};

const TOPIC: u32 = 5;
const ALIAS: u16 = 7;

fn prepare(plane: &mut DataPlane) {
    plane.know(&BROKER);
    plane.serve(&BROKER, MAX_LENGTH);
    plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
    plane.subscriber(1, &BROKER, &ALICE);
    plane.group(10, &[(ALICE.port, 1)]);
    let offload = Offload {
        group_q0: 10,
        group_q1: 10,
        ack_q1: true,
        ..Offload::default()
    };
    plane.offload(TOPIC, offload);
    plane.lease();
}

fn frame(payload: impl Into<Vec<u8>>) -> Vec<u8> {
    Datagram::between(&PUBLISHER, &BROKER, payload).frame()
}

fn publish() -> Vec<u8> {
    Publish::new(0, ALIAS, 0, *b"21.5").octets()
}

/// The frames come out towards the broker as they went in, counted as `path` (or not at all).
fn all_untouched(plane: &mut DataPlane, frames: Vec<Vec<u8>>, path: Option<Path>) {
    let before = path.map(|path| plane.path_count(path));
    let sent = i64::try_from(frames.len()).expect("few");
    for frame in frames {
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
    }
    if let (Some(path), Some(before)) = (path, before) {
        assert_eq!(plane.path_count(path), before + sent, "{path:?}");
    }
    assert_eq!(plane.path_count(Path::Offloaded), 0);
}

/// Makes the IPv4 header checksum right again after a change.
fn with_ipv4_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let end = 14 + usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].fill(0);
    let checksum = !ones_complement_sum(&frame[14..end]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn every_other_message_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let mut frames = Vec::new();
        for msg_type in (0x00..=0xff).filter(|msg_type| *msg_type != 0x0c) {
            frames.push(frame([9, msg_type, 0, 0, 7, 0, 0, b'x', b'y']));
        }
        frames.push(frame([1, 0, 9, 0x04, 0, 0, 7, 0, 0]));
        frames.push(frame([]));
        frames.push(frame([2]));
        frames.push(frame([2, 0x16]));
        all_untouched(plane, frames, Some(Path::NotPublish));
    });
}

#[test]
fn a_publish_too_short_to_be_one_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let whole = publish();
        let mut frames: Vec<_> = (2..7).map(|length| frame(&whole[..length])).collect();
        frames.push(frame([1, 0x0c]));
        frames.push(frame([1, 0, 9, 0x0c, 0, 0, 7]));
        all_untouched(plane, frames, Some(Path::NotPublish));
        // Long enough for a short one, with the long form of the Length.
        let long = frame([1, 0, 8, 0x0c, 0, 0, ALIAS as u8, 0]);
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&long));
        assert_eq!(outcome, [(BROKER.port, vec![long])].into());
    });
}

#[test]
fn qos_2_and_repetitions_go_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let frames = [QOS_2, QOS_2 | DUP, QOS_1 | DUP, DUP]
            .map(|flags| frame(Publish::new(flags, ALIAS, 1, *b"21.5").octets()));
        all_untouched(plane, frames.to_vec(), Some(Path::Qos2OrDup));
    });
}

#[test]
fn an_unknown_alias_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let frames = [
            (0, ALIAS + 1),
            (0, 0),
            (0, 0xffff),
            (PREDEFINED, ALIAS),
            (3, ALIAS),
        ]
        .map(|(flags, topic_id)| frame(Publish::new(flags, topic_id, 1, *b"21.5").octets()));
        all_untouched(plane, frames.to_vec(), Some(Path::UnknownPublication));
    });
}

#[test]
fn lengths_that_contradict_each_other_go_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let mut frames = Vec::new();
        // The message's own Length, in both forms.
        for wrong in [0, 7, 10, 12, 255] {
            let mut message = publish();
            message[0] = wrong;
            frames.push(frame(message));
        }
        for wrong in [0_u16, 7, 8, 12, 14, 256, 65_528, 65_535] {
            let mut message = Publish {
                long: true,
                ..Publish::new(0, ALIAS, 0, *b"21.5")
            }
            .octets();
            message[1..3].copy_from_slice(&wrong.to_be_bytes());
            frames.push(frame(message));
        }
        // A second message behind the first.
        frames.push(frame([publish(), publish()].concat()));
        // UDP's length.
        for wrong in [15_u16, 18, 20, 1000, 65_535] {
            let mut frame = frame(publish());
            frame[38..40].copy_from_slice(&wrong.to_be_bytes());
            frames.push(frame);
        }
        // IPv4's total length.
        for wrong in [0_u16, 19, 20, 38, 40, 1000, 65_535] {
            let mut frame = frame(publish());
            frame[16..18].copy_from_slice(&wrong.to_be_bytes());
            frames.push(with_ipv4_checksum(frame));
        }
        all_untouched(plane, frames, Some(Path::Length));
    });
}

#[test]
fn lengths_that_agree_only_modulo_65536_go_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        // UDP length 65,521 and IPv4 header make 65,541, which is 5 in 16 bits.
        let mut message = Publish {
            long: true,
            ..Publish::new(0, ALIAS, 0, *b"21.5")
        }
        .octets();
        message[1..3].copy_from_slice(&65_513_u16.to_be_bytes());
        let mut frame = frame(message);
        frame[38..40].copy_from_slice(&65_521_u16.to_be_bytes());
        frame[16..18].copy_from_slice(&5_u16.to_be_bytes());
        all_untouched(plane, vec![with_ipv4_checksum(frame)], Some(Path::Length));
    });
}

#[test]
fn a_frame_cut_short_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let whole = frame(Publish::new(0, ALIAS, 0, *b"a longer payload").octets());
        let cut = (49..whole.len())
            .map(|length| whole[..length].to_vec())
            .collect();
        all_untouched(plane, cut, Some(Path::Length));
        let cut = (42..49).map(|length| whole[..length].to_vec()).collect();
        all_untouched(plane, cut, Some(Path::NotPublish));
        let cut = (14..42).map(|length| whole[..length].to_vec()).collect();
        all_untouched(plane, cut, None);
    });
}

#[test]
fn fragments_and_ipv4_options_go_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let mut frames = Vec::new();
        // More fragments; an offset; both.
        for (high, low) in [(0x20, 0x00), (0x00, 0x01), (0x20, 0x01), (0x1f, 0xff)] {
            let mut frame = frame(publish());
            frame[20] = high;
            frame[21] = low;
            frames.push(with_ipv4_checksum(frame));
        }
        // One word of options: no operation.
        let mut with_options = frame(publish());
        with_options[14] = 0x46;
        let total_length = u16::try_from(with_options.len() - 14 + 4).expect("small");
        with_options[16..18].copy_from_slice(&total_length.to_be_bytes());
        with_options.splice(34..34, [1, 1, 1, 1]);
        frames.push(with_ipv4_checksum(with_options));
        // Not version 4; a header of 16 octets; not UDP.
        for (octet, value) in [(14, 0x55), (14, 0x44), (23, 6)] {
            let mut frame = frame(publish());
            frame[octet] = value;
            frames.push(frame);
        }
        all_untouched(plane, frames, None);
        // The first fragment and the one with options: no PUBLISH is looked for, but a forged tag.
        assert_eq!(plane.path_count(Path::NotPublish), 2);
    });
}

#[test]
fn answers_of_the_broker_and_of_other_services_are_bridged() {
    on_each_target(|plane| {
        prepare(plane);
        plane.know(&ALICE);
        let from_broker = Datagram::between(&BROKER, &ALICE, publish()).frame();
        let outcome = plane.exchange(BROKER.port, std::slice::from_ref(&from_broker));
        assert_eq!(outcome, [(ALICE.port, vec![from_broker])].into());
        let mut other_port = Datagram::between(&PUBLISHER, &BROKER, publish());
        other_port.dst.set_port(BROKER.udp + 1);
        all_untouched(plane, vec![other_port.frame()], None);
    });
}

/// Whether the data plane may offload this frame of the publisher: the rules once more, written
/// from the design and not from the program.
fn may_offload(frame: &[u8]) -> bool {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    if frame.len() < 49 || word(12) != 0x0800 || frame[14] != 0x45 || frame[23] != 17 {
        return false;
    }
    let is_fragment = word(20) & 0x3fff != 0;
    let to_service = frame[30..34] == [10, 0, 0, 1] && word(36) == BROKER.udp;
    let from_client = frame[26..30] == [10, 0, 0, 2] && word(34) == PUBLISHER.udp;
    let (total, udp) = (usize::from(word(16)), usize::from(word(38)));
    if is_fragment || !to_service || !from_client || total != udp + 20 || total + 14 > frame.len() {
        return false;
    }
    let message = &frame[42..];
    let (length, rest) = match message {
        [0x01, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [length, rest @ ..] => (usize::from(*length), rest),
        [] => return false,
    };
    let header = message.len() - rest.len() + 6;
    let &[0x0c, flags, t1, t0, _, _, ..] = rest else {
        return false;
    };
    let checksum = word(40);
    let checked = flags & 0x60 != QOS_1
        || checksum == 0
        // What is behind the datagram in the frame counts as its payload here.
        || udp + 34 == frame.len()
            && udp_checksum(PUBLISHER.ip, BROKER.ip, &frame[34..]) == checksum;
    length + 8 == udp
        && length >= header
        && flags & DUP == 0
        && flags & 0x60 != QOS_2
        && flags & 0x60 != 0x60
        && flags & 0x03 == 0
        && [t1, t0] == ALIAS.to_be_bytes()
        && checked
}

#[test]
fn a_publish_with_random_octets_changed_is_offloaded_exactly_when_the_rules_say_so() {
    const SEED: u64 = 27_182;
    on_each_target(|plane| {
        prepare(plane);
        let mut random = StdRng::seed_from_u64(SEED);
        let mut seen = BTreeMap::new();
        for n in 0..400 {
            let flags = [0, QOS_1][n % 2];
            let long = random.random_ratio(1, 4);
            let mut data = vec![0; random.random_range(0..40)];
            random.fill_bytes(&mut data);
            let mut frame = frame(
                Publish {
                    long,
                    ..Publish::new(flags, ALIAS, 1, data)
                }
                .octets(),
            );
            // Never the Ethernet addresses: it must still be for the broker.
            for _ in 0..random.random_range(0..3) {
                let octet = random.random_range(12..frame.len());
                frame[octet] = random.random();
            }
            let expected = may_offload(&frame);
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            if expected {
                let flags = frame[if frame[42] == 0x01 { 46 } else { 44 }];
                let copies = outcome
                    .get(&BROKER.port)
                    .map_or(&[][..], |frames| &frames[..]);
                assert_eq!(
                    outcome[&ALICE.port].len(),
                    1,
                    "seed {SEED}, {n}: {frame:02x?}"
                );
                if flags & RETAIN == 0 {
                    assert_eq!(copies, [[0_u8; 0]; 0], "seed {SEED}, {n}: {frame:02x?}");
                } else {
                    // The broker's, behind a tag.
                    assert_eq!(copies.len(), 1, "seed {SEED}, {n}: {frame:02x?}");
                    assert_eq!(copies[0][56..], frame[42..], "seed {SEED}, {n}");
                }
            } else {
                assert_eq!(
                    outcome,
                    [(BROKER.port, vec![frame])].into(),
                    "seed {SEED}, {n}"
                );
            }
            *seen.entry(expected).or_insert(0) += 1;
        }
        assert!(
            seen[&true] > 50 && seen[&false] > 50,
            "both happen: {seen:?}"
        );
    });
}

#[test]
fn random_frames_pass_and_never_break_the_switch() {
    const SEED: u64 = 1_618;
    on_each_target(|plane| {
        prepare(plane);
        let mut random = StdRng::seed_from_u64(SEED);
        for n in 0..300 {
            let mut frame = BROKER.mac.to_vec();
            frame.extend(PUBLISHER.mac);
            let ethertype: u16 = if random.random() {
                0x0800
            } else {
                random.random()
            };
            frame.extend(ethertype.to_be_bytes());
            let mut rest = vec![0; random.random_range(0..1400)];
            random.fill_bytes(&mut rest);
            if random.random() && rest.len() >= 20 {
                // Often enough something like IPv4 and UDP.
                rest[0] = 0x45;
                rest[6..8].fill(0);
                rest[9] = 17;
            }
            frame.extend(rest);
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert_eq!(
                outcome,
                [(BROKER.port, vec![frame])].into(),
                "seed {SEED}, {n}"
            );
        }
        let outcome: Outcome = plane.exchange(PUBLISHER.port, &[frame(publish())]);
        assert_eq!(
            outcome.keys().collect::<Vec<_>>(),
            [&ALICE.port],
            "it still works"
        );
    });
}
