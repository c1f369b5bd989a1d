//! 802.1Q: frames keep to their VLAN, and copies carry the tag of their subscriber's.

use p4runtime::v1;
use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, Outcome, Path, on_each_target};
use system_tests::frame::Datagram;
use system_tests::hosts::{ALICE, BOB, BROKER, Host, PUBLISHER};
use system_tests::messages::{Publish, QOS_1, RETAIN, puback, tagged};

const TOPIC: u32 = 5;
const ALIAS: u16 = 7;
const GENERATION: u32 = 9;
const VLAN: u16 = 42;
const PORTS: [u16; 4] = [1, 2, 3, 4];

/// The broker and the publisher are in the VLAN; Alice is in another, Bob in none.
fn prepare(plane: &mut DataPlane) -> [Host; 4] {
    let hosts = [
        BROKER.tagged(VLAN),
        PUBLISHER.tagged(VLAN),
        ALICE.tagged(7),
        BOB,
    ];
    let [broker, publisher, alice, bob] = hosts;
    plane.know(&broker);
    plane.serve(&broker, MAX_LENGTH);
    plane.admit(&publisher, 0, ALIAS, TOPIC);
    plane.subscriber(1, &broker, &alice);
    plane.subscriber(2, &broker, &bob);
    plane.group(10, &[(ALICE.port, 1), (BOB.port, 2)]);
    let offload = Offload {
        group_q0: 10,
        group_q1: 10,
        ack_q1: true,
        generation: GENERATION,
        copy_topic_id: ALIAS,
        ..Offload::default()
    };
    plane.offload(TOPIC, offload);
    plane.lease();
    hosts
}

/// The frame of a copy as the broker would send it in the subscriber's VLAN.
fn copy(to: &Host, publish: &Publish) -> Vec<u8> {
    let copy = Publish {
        flags: 0,
        msg_id: 0,
        ..publish.clone()
    };
    let broker = Host {
        vid: to.vid,
        ..BROKER
    };
    Datagram::between(&broker, to, copy.octets()).frame()
}

#[test]
fn each_copy_carries_the_tag_of_its_subscribers_vlan_or_none() {
    on_each_target(|plane| {
        let [broker, publisher, alice, bob] = prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let frame = Datagram::between(&publisher, &broker, publish.octets()).frame();
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        let expected: Outcome = [alice, bob]
            .map(|to| (to.port, vec![copy(&to, &publish)]))
            .into();
        assert_eq!(outcome, expected);
    });
}

#[test]
fn an_untagged_publisher_is_heard_in_a_vlan_and_ipv6_there_too() {
    on_each_target(|plane| {
        prepare(plane);
        plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
        plane.serve(&BROKER.v6(), MAX_LENGTH);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5");
        let frame = Datagram::between(&PUBLISHER, &BROKER, publish.octets()).frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(
            outcome[&ALICE.port],
            [copy(&ALICE.tagged(7), &publish)],
            "pushed"
        );
        let bob = BOB.v6().tagged(8);
        plane.subscriber(3, &BROKER.v6(), &bob);
        plane.group(11, &[(BOB.port, 3)]);
        let other = Offload {
            group_q0: 11,
            translated: true,
            copy_topic_id: ALIAS,
            ..Offload::default()
        };
        plane.admit(&PUBLISHER, 0, ALIAS + 1, TOPIC + 1);
        plane.offload(TOPIC + 1, other);
        let publish = Publish::new(0, ALIAS + 1, 0, *b"21.5");
        let frame = Datagram::between(&PUBLISHER, &BROKER, publish.octets()).frame();
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        let received = Datagram::read(&outcome[&BOB.port][0]).expect("a datagram");
        assert_eq!(received.tag, Some(8));
        assert_eq!(received.dst, bob.socket());
    });
}

#[test]
fn the_same_client_in_another_vlan_has_no_publication() {
    on_each_target(|plane| {
        let [broker, ..] = prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5").octets();
        for vid in [0, 7, VLAN + 1] {
            let publisher = PUBLISHER.tagged(vid);
            let frame = Datagram::between(&publisher, &broker, publish.clone()).frame();
            let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
            // The broker's address is not known there, so the frame is flooded, as it came.
            assert_eq!(outcome.keys().collect::<Vec<_>>(), [&1, &3, &4]);
            assert!(outcome.values().all(|frames| frames[..] == [frame.clone()]));
        }
        assert_eq!(plane.path_count(Path::UnknownPublication), 3);
    });
}

#[test]
fn puback_and_the_brokers_copy_keep_the_publishers_tag() {
    on_each_target(|plane| {
        let [broker, publisher, ..] = prepare(plane);
        let publish = Publish::new(QOS_1, ALIAS, 3, *b"21.5");
        let frame = Datagram::between(&publisher, &broker, publish.octets()).frame();
        let outcome = plane.exchange(PUBLISHER.port, &[frame]);
        let answer = Datagram::between(&broker, &publisher, puback(ALIAS, 3)).frame();
        assert_eq!(outcome[&PUBLISHER.port], [answer]);

        let publish = Publish::new(RETAIN, ALIAS, 0, *b"keep");
        let datagram = Datagram::between(&publisher, &broker, publish.octets());
        let outcome = plane.exchange(PUBLISHER.port, &[datagram.frame()]);
        let copy = Datagram {
            payload: tagged(TOPIC, GENERATION, &publish.octets()),
            ..datagram
        };
        assert_eq!(outcome[&BROKER.port], [copy.frame()]);
    });
}

#[test]
fn an_address_is_learned_for_its_vlan_only() {
    on_each_target(|plane| {
        plane.enable_digest("mac_learned_t");
        plane.know(&ALICE.tagged(VLAN));
        let to_alice = |vid| Datagram::between(&BOB.tagged(vid), &ALICE, *b"hello").frame();
        let outcome = plane.exchange(BOB.port, &[to_alice(VLAN)]);
        assert_eq!(outcome, [(ALICE.port, vec![to_alice(VLAN)])].into());
        let outcome = plane.exchange(BOB.port, &[to_alice(VLAN + 1)]);
        assert_eq!(outcome.keys().collect::<Vec<_>>(), [&1, &2, &3]);
        let mut vids = Vec::new();
        while vids.len() < 2 {
            for message in plane.digest("mac_learned_t") {
                vids.push(message.get("vid").expect("a member").to_u64().expect("it"));
            }
        }
        assert_eq!(vids, [u64::from(VLAN), u64::from(VLAN) + 1]);
    });
}

#[test]
fn where_a_tagged_client_lives_is_told_with_its_vlan() {
    on_each_target(|plane| {
        plane.enable_digest("endpoint_learned_t");
        plane.answers(&BROKER, BROKER.port);
        let spoken = Datagram::between(&BROKER.tagged(VLAN), &PUBLISHER, [2, 0x17]).frame();
        plane.exchange(BROKER.port, &[spoken]);
        let learned = plane.digest("endpoint_learned_t");
        let vid = learned[0].get("vid").expect("a member").to_u64();
        assert_eq!(vid, Ok(u64::from(VLAN)));
    });
}

#[test]
fn a_named_vlan_is_flooded_to_its_ports_and_frames_of_others_are_dropped() {
    on_each_target(|plane| {
        plane.vlan(VLAN, &[1, 2, 3], &PORTS, 0x7f00);
        let frame = Datagram::between(&PUBLISHER.tagged(VLAN), &ALICE, *b"who are you").frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(
            outcome,
            [1, 3].map(|port| (port, vec![frame.clone()])).into()
        );
        assert_eq!(
            plane.exchange(BOB.port, std::slice::from_ref(&frame)),
            Outcome::new(),
            "its port is not in the VLAN"
        );
        assert_eq!(plane.path_count(Path::Vlan), 1);
        // An unnamed VLAN, and none, as ever.
        for vid in [0, VLAN + 1] {
            let frame = Datagram::between(&BOB.tagged(vid), &ALICE, *b"who are you").frame();
            let outcome = plane.exchange(BOB.port, &[frame]);
            assert_eq!(outcome.keys().collect::<Vec<_>>(), [&1, &2, &3]);
        }
        let key = plane.key("vlan", &[("vid", VLAN.into()), ("ingress_port", 4)]);
        plane.write(vec![v1::Update::delete(key)]);
        let outcome = plane.exchange(BOB.port, &[frame]);
        assert_eq!(outcome.keys().collect::<Vec<_>>(), [&1, &2, &3]);
    });
}

#[test]
fn what_has_two_tags_is_bridged_as_it_came() {
    on_each_target(|plane| {
        let [broker, publisher, ..] = prepare(plane);
        let publish = Publish::new(0, ALIAS, 0, *b"21.5").octets();
        let mut frame = Datagram::between(&publisher, &broker, publish).frame();
        frame.splice(12..12, [0x81, 0x00, 0x00, VLAN as u8]);
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&frame));
        assert_eq!(outcome, [(BROKER.port, vec![frame])].into());
    });
}
