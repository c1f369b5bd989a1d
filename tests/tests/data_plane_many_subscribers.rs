//! Fan-out to thousands: one PUBLISH, and each subscriber gets the one copy that the broker would have
//! sent it. Frames are compared whole.
//!
//! Subscribers are dealt out to forty ports: BMv2 queues 64 packets for a port and drops the next
//! (docs/data-plane.md, "How many copies").

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use system_tests::data_plane::{
    DataPlane, MAX_LENGTH, Offload, Outcome, Path, on_each_target_with_ports,
};
use system_tests::frame::Datagram;
use system_tests::hosts::{BROKER, Host, PUBLISHER};
use system_tests::messages::{PREDEFINED, Publish, QOS_1, RETAIN, puback, tagged};

/// Behind port 1 lives the broker, behind port 2 the publisher.
const FIRST_PORT: u16 = 3;
const LAST_PORT: u16 = 42;
const ALIAS: u16 = 7;
const HOME: u16 = 0x0901;
/// What every fifth subscriber calls the topic.
const OWN: u16 = 0x0077;

/// Subscriber `n`, with replication id n + 1: every third over IPv6.
fn subscriber(n: u16) -> Host {
    let ports = LAST_PORT - FIRST_PORT + 1;
    let [high, low] = n.to_be_bytes();
    Host {
        port: FIRST_PORT + n % ports,
        mac: [2, 0, 0, 1, high, low],
        ip: match n % 3 {
            0 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, n)),
            _ => IpAddr::V4(Ipv4Addr::new(10, 1, high, low)),
        },
        udp: 20_000 + n,
        vid: 0,
    }
}

fn has_own_alias(n: u16) -> bool {
    n % 5 == 1
}

fn sent(from: &Host, publish: &Publish) -> Vec<u8> {
    let broker = if from.ip.is_ipv6() {
        BROKER.v6()
    } else {
        BROKER
    };
    Datagram::between(from, &broker, publish.octets()).frame()
}

/// What subscriber `n` gets of it.
fn copy(from: &Host, publish: &Publish, n: u16) -> Vec<u8> {
    let to = subscriber(n);
    let broker = if to.ip.is_ipv6() { BROKER.v6() } else { BROKER };
    let (flags, topic_id) = match has_own_alias(n) {
        true => (PREDEFINED, OWN),
        false => (0, HOME),
    };
    let copy = Publish {
        flags,
        topic_id,
        msg_id: 0,
        ..publish.clone()
    };
    let same_family = from.ip.is_ipv6() == to.ip.is_ipv6();
    Datagram {
        identification: if same_family { 0x1234 } else { 0 },
        ..Datagram::between(&broker, &to, copy.octets())
    }
    .frame()
}

/// Topics 1 and 2 with the first `count` subscribers, of one group; QoS 1 of topic 2 is for the
/// first half alone, and for the broker.
fn prepare(plane: &mut DataPlane, count: u16) {
    plane.know(&BROKER);
    for broker in [BROKER, BROKER.v6()] {
        plane.serve(&broker, MAX_LENGTH);
    }
    for publisher in [PUBLISHER, PUBLISHER.v6()] {
        plane.admit(&publisher, 0, ALIAS, 1);
        plane.admit(&publisher, 0, ALIAS + 1, 2);
    }
    let mut replicas = Vec::new();
    for n in 0..count {
        let to = subscriber(n);
        let broker = if to.ip.is_ipv6() { BROKER.v6() } else { BROKER };
        plane.subscriber(n + 1, &broker, &to);
        if has_own_alias(n) {
            plane.alias(1, n + 1, PREDEFINED, OWN);
            plane.alias(2, n + 1, PREDEFINED, OWN);
        }
        replicas.push((to.port, u32::from(n) + 1));
    }
    plane.group(10, &replicas);
    replicas.truncate(usize::from(count / 2));
    replicas.push((BROKER.port, system_tests::data_plane::RID_COPY));
    plane.group(11, &replicas);
    let offload = Offload {
        group_q0: 10,
        group_q1: 10,
        ack_q1: true,
        aliased: true,
        translated: true,
        generation: 3,
        copy_topic_id: HOME,
        ..Offload::default()
    };
    plane.offload(1, offload);
    let mixed = Offload {
        group_q1: 11,
        copy_q1: true,
        ack_q1: false,
        generation: 4,
        ..offload
    };
    plane.offload(2, mixed);
    plane.lease();
}

/// Each of `served` got its copy and nobody anything else; what came out of other ports.
fn check(outcome: Outcome, from: &Host, publish: &Publish, served: u16) -> Outcome {
    let mut rest = Outcome::new();
    let mut came = BTreeSet::new();
    for (port, frames) in outcome {
        if !(FIRST_PORT..=LAST_PORT).contains(&port) {
            rest.insert(port, frames);
            continue;
        }
        for frame in frames {
            let datagram = Datagram::read(&frame).expect("a datagram");
            let n = datagram.dst.port() - 20_000;
            assert_eq!(port, subscriber(n).port, "subscriber {n}");
            assert_eq!(frame, copy(from, publish, n), "subscriber {n}");
            assert!(came.insert(n), "subscriber {n} got it twice");
        }
    }
    assert_eq!(came, (0..served).collect(), "who was to get it");
    rest
}

#[test]
fn each_of_up_to_two_thousand_subscribers_gets_exactly_its_copy() {
    let ports: Vec<u16> = (1..=LAST_PORT).collect();
    for count in [1, 2, 100, 2000] {
        on_each_target_with_ports(&ports, |plane| {
            prepare(plane, count);
            let data = format!("one message for {count}");
            let mut offloaded = 0;
            for publisher in [PUBLISHER, PUBLISHER.v6()] {
                for alias in [ALIAS, ALIAS + 1] {
                    let publish = Publish::new(0, alias, 0, data.as_bytes());
                    let outcome = plane.exchange(2, &[sent(&publisher, &publish)]);
                    assert_eq!(check(outcome, &publisher, &publish, count), Outcome::new());
                    offloaded += 1;
                }

                // Acknowledged here, and stored by the broker if it is to be kept.
                let publish = Publish::new(QOS_1, ALIAS, 0x0102, data.as_bytes());
                let outcome = plane.exchange(2, &[sent(&publisher, &publish)]);
                let rest = check(outcome, &publisher, &publish, count);
                assert_eq!(rest.keys().collect::<Vec<_>>(), [&2]);
                let answer = Datagram::read(&rest[&2][0]).expect("a PUBACK");
                assert_eq!(answer.payload, puback(ALIAS, 0x0102));

                let publish = Publish::new(RETAIN, ALIAS, 0, data.as_bytes());
                let outcome = plane.exchange(2, &[sent(&publisher, &publish)]);
                let rest = check(outcome, &publisher, &publish, count);
                assert_eq!(rest.keys().collect::<Vec<_>>(), [&BROKER.port]);
                let stored = Datagram::read(&rest[&BROKER.port][0]).expect("the broker's copy");
                assert_eq!(stored.payload, tagged(1, 3, &publish.octets()));

                // The broker serves the other half.
                let publish = Publish::new(QOS_1, ALIAS + 1, 0x0103, data.as_bytes());
                let outcome = plane.exchange(2, &[sent(&publisher, &publish)]);
                let rest = check(outcome, &publisher, &publish, count / 2);
                assert_eq!(rest.keys().collect::<Vec<_>>(), [&BROKER.port]);
                let shared = Datagram::read(&rest[&BROKER.port][0]).expect("the broker's copy");
                assert_eq!(shared.payload, tagged(2, 4, &publish.octets()));
                offloaded += 3;
            }
            assert_eq!(plane.path_count(Path::Offloaded), offloaded);
        });
    }
}
