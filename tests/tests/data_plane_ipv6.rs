//! IPv6 beside IPv4, and subscribers of one family who hear publishers of the other.
//!
//! Frames are compared whole: every header field, every length, both checksums.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, Outcome, Path, on_each_target};
use system_tests::frame::{Checksum, Datagram};
use system_tests::hosts::{ALICE, BOB, BROKER, Host, PUBLISHER};
use system_tests::messages::{Publish, QOS_1, RETAIN, puback, tagged};

const TOPIC: u32 = 5;
const ALIAS: u16 = 7;
const HOME: u16 = 0x0901;
const GENERATION: u32 = 0x0a0b_0c0d;

/// Alice subscribes over IPv4, Bob over IPv6; the publisher may use either.
fn prepare(plane: &mut DataPlane) {
    plane.know(&BROKER);
    for broker in [BROKER, BROKER.v6()] {
        plane.serve(&broker, MAX_LENGTH);
    }
    for publisher in [PUBLISHER, PUBLISHER.v6()] {
        plane.admit(&publisher, 0, ALIAS, TOPIC);
    }
    plane.subscriber(1, &BROKER, &ALICE);
    plane.subscriber(2, &BROKER.v6(), &BOB.v6());
    plane.group(10, &[(ALICE.port, 1), (BOB.port, 2)]);
    plane.offload(TOPIC, both());
    plane.lease();
}

fn both() -> Offload {
    Offload {
        group_q0: 10,
        group_q1: 10,
        ack_q1: true,
        translated: true,
        generation: GENERATION,
        copy_topic_id: HOME,
        ..Offload::default()
    }
}

fn sent(from: &Host, publish: &Publish) -> Datagram {
    let to = if from.ip.is_ipv6() {
        BROKER.v6()
    } else {
        BROKER
    };
    Datagram {
        identification: 0xbeef,
        tos: 0xb8,
        ttl: 3,
        ..Datagram::between(from, &to, publish.octets())
    }
}

/// What comes of it for `to`.
fn copy(from: &Host, to: &Host, publish: &Publish) -> Vec<u8> {
    let broker = if to.ip.is_ipv6() { BROKER.v6() } else { BROKER };
    let copy = Publish {
        flags: 0,
        topic_id: HOME,
        msg_id: 0,
        ..publish.clone()
    };
    let same_family = from.ip.is_ipv6() == to.ip.is_ipv6();
    Datagram {
        // Neither an identification nor a flow label has a meaning in the other family.
        identification: if same_family { 0xbeef } else { 0 },
        tos: 0xb8,
        ..Datagram::between(&broker, to, copy.octets())
    }
    .frame()
}

fn copies(from: &Host, publish: &Publish) -> Outcome {
    [ALICE, BOB.v6()]
        .map(|to| (to.port, vec![copy(from, &to, publish)]))
        .into()
}

#[test]
fn each_subscriber_gets_a_copy_of_its_own_family() {
    on_each_target(|plane| {
        prepare(plane);
        for publisher in [PUBLISHER, PUBLISHER.v6()] {
            let publish = Publish::new(0, ALIAS, 0, *b"21.5");
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publisher, &publish).frame()]);
            assert_eq!(outcome, copies(&publisher, &publish));
        }
        assert_eq!(plane.path_count(Path::Offloaded), 2);
    });
}

#[test]
fn copies_are_right_for_every_payload_whatever_the_families() {
    const SEED: u64 = 31_415;
    on_each_target(|plane| {
        prepare(plane);
        let mut random = StdRng::seed_from_u64(SEED);
        for n in 0..80_usize {
            let publisher = [PUBLISHER, PUBLISHER.v6()][n % 2];
            let mut data = vec![0; random.random_range(0..1400)];
            random.fill_bytes(&mut data);
            let publish = Publish {
                long: random.random(),
                ..Publish::new(0, ALIAS, random.random(), data)
            };
            let outcome = plane.exchange(PUBLISHER.port, &[sent(&publisher, &publish).frame()]);
            assert_eq!(outcome, copies(&publisher, &publish), "seed {SEED}, {n}");
        }
    });
}

#[test]
fn a_checksum_that_computes_to_zero_is_sent_as_all_ones_in_both_families() {
    on_each_target(|plane| {
        prepare(plane);
        for publisher in [PUBLISHER, PUBLISHER.v6()] {
            for to in [ALICE, BOB.v6()] {
                // The last word makes up for whatever the sum is without it.
                let mut publish = Publish::new(0, ALIAS, 0, [0, 0, 0]);
                let plain = copy(&publisher, &to, &publish);
                let udp = plain.len() - (8 + 10);
                let without = u16::from_be_bytes([plain[udp + 6], plain[udp + 7]]);
                publish.data[1..].copy_from_slice(&without.to_be_bytes());
                let expected = copy(&publisher, &to, &publish);
                assert_eq!(expected[udp + 6..udp + 8], [0xff, 0xff]);
                let outcome = plane.exchange(PUBLISHER.port, &[sent(&publisher, &publish).frame()]);
                assert_eq!(outcome[&to.port], [expected]);
            }
        }
    });
}

#[test]
fn a_payload_corrupted_on_the_way_still_fails_at_the_receiver_in_both_families() {
    on_each_target(|plane| {
        prepare(plane);
        for publisher in [PUBLISHER, PUBLISHER.v6()] {
            let publish = Publish::new(0, ALIAS, 0, *b"corrupt me");
            let damage = Checksum::Flipped(0x1010);
            let damaged = Datagram {
                checksum: damage,
                ..sent(&publisher, &publish)
            };
            let outcome = plane.exchange(PUBLISHER.port, &[damaged.frame()]);
            for to in [ALICE, BOB.v6()] {
                let received = Datagram::read(&outcome[&to.port][0]).expect("a datagram");
                assert_ne!(received.checksum, Checksum::Right, "{received:?}");
            }
        }
    });
}

#[test]
fn without_a_checksum_a_publish_cannot_become_ipv6_and_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let unsummed = |from: &Host| {
            Datagram {
                checksum: Checksum::None,
                ..sent(from, &publish)
            }
            .frame()
        };
        let over_ipv4 = unsummed(&PUBLISHER);
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&over_ipv4));
        assert_eq!(outcome, [(BROKER.port, vec![over_ipv4])].into());
        assert_eq!(plane.path_count(Path::Translation), 1);
        // Over IPv6 it is no datagram at all; whoever receives it says so.
        let over_ipv6 = unsummed(&PUBLISHER.v6());
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&over_ipv6));
        assert_eq!(outcome, [(BROKER.port, vec![over_ipv6])].into());
        assert_eq!(plane.path_count(Path::Checksum), 1);
    });
}

#[test]
fn a_publish_that_would_outgrow_the_mtu_as_ipv6_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        // IPv4 and UDP headers and a PUBLISH of the long form take 37 octets.
        let fits = Publish::new(0, ALIAS, 0, vec![b'x'; 1500 - 20 - 37]);
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&PUBLISHER, &fits).frame()]);
        assert_eq!(outcome, copies(&PUBLISHER, &fits));
        let grows = Publish::new(0, ALIAS, 0, vec![b'x'; 1500 - 20 - 37 + 1]);
        let frame = sent(&PUBLISHER, &grows).frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        assert_eq!(plane.path_count(Path::Translation), 1);
        // From IPv6 to IPv4 it shrinks; one that fits goes to both.
        let full = Publish::new(0, ALIAS, 0, vec![b'x'; 1500 - 20 - 37]);
        let outcome = plane.exchange(PUBLISHER.port, &[sent(&PUBLISHER.v6(), &full).frame()]);
        assert_eq!(outcome, copies(&PUBLISHER.v6(), &full));
    });
}

#[test]
fn the_publisher_over_ipv6_gets_its_puback_and_one_with_a_wrong_checksum_does_not() {
    on_each_target(|plane| {
        prepare(plane);
        for long in [false, true] {
            let publish = Publish {
                long,
                ..Publish::new(QOS_1, ALIAS, 0x1234, *b"21.5")
            };
            let datagram = sent(&PUBLISHER.v6(), &publish);
            let mut outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
            let answer = Datagram {
                identification: 0xbeef,
                tos: 0xb8,
                ..Datagram::between(&BROKER.v6(), &PUBLISHER.v6(), puback(ALIAS, 0x1234))
            };
            assert_eq!(outcome.remove(&PUBLISHER.port), Some(vec![answer.frame()]));
            assert_eq!(outcome, copies(&PUBLISHER.v6(), &publish));
            let wrong = Datagram {
                checksum: Checksum::Flipped(1),
                ..datagram
            };
            let outcome = plane.exchange(PUBLISHER.port, &[wrong.frame()]);
            assert_eq!(outcome, [(BROKER.port, vec![wrong.frame()])].into());
        }
        assert_eq!(plane.path_count(Path::Checksum), 2);
    });
}

#[test]
fn the_brokers_copy_is_tagged_over_ipv6_too() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(RETAIN, ALIAS, 0, *b"keep");
        let datagram = sent(&PUBLISHER.v6(), &publish);
        let mut outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
        let tagged = Datagram {
            payload: tagged(TOPIC, GENERATION, &publish.octets()),
            ..datagram
        };
        assert_eq!(outcome.remove(&BROKER.port), Some(vec![tagged.frame()]));
        assert_eq!(outcome, copies(&PUBLISHER.v6(), &publish));
    });
}

#[test]
fn a_topic_with_one_subscriber_serves_it_in_its_family() {
    on_each_target(|plane| {
        prepare(plane);
        for (n, to, rid) in [(0_u16, ALICE, 1), (1, BOB.v6(), 2)] {
            let (alias, topic) = (ALIAS + 1 + n, TOPIC + 1 + u32::from(n));
            plane.offload_to_one(topic, to.port, rid, both());
            for publisher in [PUBLISHER, PUBLISHER.v6()] {
                plane.admit(&publisher, 0, alias, topic);
                let publish = Publish::new(0, alias, 0, *b"only you");
                let frame = sent(&publisher, &publish).frame();
                let outcome = plane.exchange(PUBLISHER.port, &[frame]);
                let expected = copy(&publisher, &to, &publish);
                assert_eq!(outcome, [(to.port, vec![expected])].into());
            }
        }
    });
}

#[test]
fn a_spoofed_ipv6_source_goes_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let frame = sent(&PUBLISHER.v6(), &publish).frame();
        let outcome = plane.exchange(ALICE.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame.clone()])].into());
        // One bit of the address.
        let mut other = frame;
        other[14 + 8 + 3] ^= 1;
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&other));
        assert_eq!(outcome, [(BROKER.port, vec![other])].into());
        assert_eq!(plane.path_count(Path::UnknownPublication), 2);
    });
}

#[test]
fn extension_headers_and_lengths_that_contradict_each_other_go_to_the_broker() {
    on_each_target(|plane| {
        prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let whole = sent(&PUBLISHER.v6(), &publish).frame();
        let mut frames = Vec::new();
        for wrong in [0_u16, 18, 20, 0xffff] {
            let mut frame = whole.clone();
            frame[18..20].copy_from_slice(&wrong.to_be_bytes());
            frames.push(frame);
        }
        // Hop-by-hop options: eight octets of padding.
        let mut options = whole.clone();
        options[20] = 0;
        options.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
        frames.push(options);
        // Not version 6, not UDP.
        for (octet, value) in [(14, 0x5b), (20, 6)] {
            let mut frame = whole.clone();
            frame[octet] = value;
            frames.push(frame);
        }
        for frame in frames {
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
        }
        assert_eq!(plane.path_count(Path::Length), 4);
    });
}

#[test]
fn where_an_ipv6_client_lives_is_told_and_neighbour_discovery_is_bridged() {
    on_each_target(|plane| {
        plane.enable_digest("endpoint_v6_learned_t");
        plane.answers(&BROKER.v6(), BROKER.port);
        plane.place(&BROKER.v6(), &ALICE.v6());
        for client in [ALICE, PUBLISHER] {
            let spoken = Datagram::between(&BROKER.v6(), &client.v6(), [2, 0x17]).frame();
            plane.exchange(BROKER.port, &[spoken]);
        }
        let learned = plane.digest("endpoint_v6_learned_t");
        let address = |name: &str| {
            let member = learned[0].get(name).expect("a member");
            std::net::IpAddr::V6(member.to_ipv6().expect("an address"))
        };
        assert_eq!(address("ip_src"), BROKER.v6().ip);
        assert_eq!(address("ip_dst"), PUBLISHER.v6().ip);
        // A neighbour solicitation, as far as a bridge looks at it: ICMPv6 to a multicast address.
        let mut solicitation = Datagram::between(&PUBLISHER.v6(), &BROKER.v6(), [0; 16]).frame();
        solicitation[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
        solicitation[20] = 58;
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&solicitation));
        assert_eq!(outcome.keys().collect::<Vec<_>>(), [&1, &3, &4]);
        assert!(
            outcome
                .values()
                .all(|frames| frames[..] == [solicitation.clone()])
        );
    });
}
