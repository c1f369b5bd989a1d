//! The data plane offloads only while its controller vouches for the entries.

use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, Path, on_each_target};
use system_tests::frame::Datagram;
use system_tests::hosts::{ALICE, BROKER, PUBLISHER};
use system_tests::messages::Publish;

const TOPIC: u32 = 5;
const ALIAS: u16 = 7;

/// A topic with one subscriber, offloadable but for the lease.
fn prepare(plane: &mut DataPlane) {
    plane.know(&BROKER);
    plane.serve(&BROKER, MAX_LENGTH);
    plane.admit(&PUBLISHER, 0, ALIAS, TOPIC);
    plane.subscriber(1, &BROKER, &ALICE);
    plane.group(10, &[(ALICE.port, 1)]);
    plane.offload(
        TOPIC,
        Offload {
            group_q0: 10,
            copy_topic_id: ALIAS,
            ..Offload::default()
        },
    );
}

/// Sends a PUBLISH; the one port that it, or its copy, came out of.
fn publish(plane: &mut DataPlane) -> u16 {
    let message = Publish::new(0, ALIAS, 0, *b"21.5").octets();
    let frame = Datagram::between(&PUBLISHER, &BROKER, message).frame();
    let outcome = plane.exchange(PUBLISHER.port, &[frame]);
    let ports: Vec<u16> = outcome.keys().copied().collect();
    assert!(matches!(ports[..], [_]), "one port of {outcome:?}");
    ports[0]
}

#[test]
fn a_switch_that_never_had_a_lease_offloads_nothing() {
    on_each_target(|plane| {
        prepare(plane);
        assert_eq!(publish(plane), BROKER.port);
        assert_eq!(plane.path_count(Path::NoLease), 1);
    });
}

#[test]
fn a_lease_is_echoed_with_the_switchs_clock_and_its_number() {
    on_each_target(|plane| {
        let first = plane.lease_until(0);
        let second = plane.lease_until(0);
        assert_eq!((first.request, second.request), (1, 2));
        assert!(second.timestamp > first.timestamp, "{first:?} {second:?}");
        assert_eq!(first.ingress_port, 510);
    });
}

#[test]
fn a_publish_is_offloaded_while_the_lease_holds_and_not_after() {
    on_each_target(|plane| {
        prepare(plane);
        let now = plane.lease_until(0).timestamp;
        // A deadline before now is a lease that has run out.
        plane.lease_until(now);
        assert_eq!(publish(plane), BROKER.port);
        plane.lease();
        assert_eq!(publish(plane), ALICE.port);
        let later = plane.lease_until(now).timestamp;
        assert!(later > now);
        assert_eq!(publish(plane), BROKER.port);
        assert_eq!(plane.path_count(Path::NoLease), 2);
        assert_eq!(plane.path_count(Path::Offloaded), 1);
    });
}

#[test]
fn a_lease_runs_out_by_itself() {
    on_each_target(|plane| {
        prepare(plane);
        let now = plane.lease_until(0).timestamp;
        plane.lease_until(now + 300_000);
        // However long it takes: one of these comes after the deadline, and then all do.
        let mut ports = Vec::new();
        while plane.path_count(Path::NoLease) < 3 {
            ports.push(publish(plane));
        }
        let offloaded = ports.iter().take_while(|port| **port == ALICE.port).count();
        assert!(
            ports[offloaded..].iter().all(|port| *port == BROKER.port),
            "{ports:?}"
        );
        assert!(
            plane.lease_until(0).timestamp >= now + 300_000,
            "no earlier than the deadline"
        );
    });
}

#[test]
fn without_a_lease_everything_else_works() {
    on_each_target(|plane| {
        prepare(plane);
        let pingreq = Datagram::between(&PUBLISHER, &BROKER, [2, 0x16]).frame();
        let outcome = plane.exchange(PUBLISHER.port, std::slice::from_ref(&pingreq));
        assert_eq!(outcome, [(BROKER.port, vec![pingreq])].into());
    });
}
