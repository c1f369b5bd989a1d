//! What the traffic manager does: multicast, clones, resubmit, recirculate, drop, truncate.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::programs::{Bench, run, run_with};
use sim::control::{CloneSession, ControlError, MulticastGroup, Replica};
use sim::{Limits, SwitchConfig};

const FORWARD: u8 = 0;
const DROP: u8 = 1;
const MULTICAST: u8 = 2;
const CLONE_I2E: u8 = 3;
const CLONE_E2E: u8 = 4;
const RESUBMIT: u8 = 5;
const RECIRCULATE: u8 = 6;
const TRUNCATE: u8 = 8;
const ASSERT: u8 = 18;
const DROP_IN_EGRESS: u8 = 19;
const DROP_THEN_MULTICAST: u8 = 21;
const MULTICAST_THEN_DROP: u8 = 22;
const LOOP: u8 = 25;
const TRUNCATE_IN_EGRESS: u8 = 26;

/// What a frame that left says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    port: u32,
    instance_type: u8,
    kept: u8,
    rid: u16,
    length: u16,
    timestamp: u64,
    ingress_port: u16,
    op: u8,
    arg: u8,
    value: u16,
    payload: Vec<u8>,
}

fn two(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn send(bench: &mut Bench, op: u8, arg: u8, value: u16, payload: &[u8]) -> Vec<Seen> {
    let mut frame = vec![op, arg];
    frame.extend(value.to_be_bytes());
    frame.extend(payload);
    let out = bench.send_on(3, &frame);
    out.into_iter()
        .map(|(port, bytes)| {
            assert_eq!(
                u32::from(two(&bytes, 4)),
                port,
                "egress_port is where it left"
            );
            let mut timestamp = [0; 8];
            timestamp[2..].copy_from_slice(&bytes[8..14]);
            Seen {
                port,
                instance_type: bytes[0],
                kept: bytes[1],
                rid: two(&bytes, 2),
                length: two(&bytes, 6),
                timestamp: u64::from_be_bytes(timestamp),
                ingress_port: two(&bytes, 14),
                op: bytes[16],
                arg: bytes[17],
                value: two(&bytes, 18),
                payload: bytes[20..].to_vec(),
            }
        })
        .collect()
}

fn group(replicas: &[(u32, u16)]) -> MulticastGroup {
    MulticastGroup {
        replicas: replicas_of(replicas),
        metadata: vec![],
    }
}

fn replicas_of(replicas: &[(u32, u16)]) -> Vec<Replica> {
    replicas
        .iter()
        .map(|&(port, instance)| Replica { port, instance })
        .collect()
}

fn session(replicas: &[(u32, u16)], packet_length_bytes: u32) -> CloneSession {
    CloneSession {
        replicas: replicas_of(replicas),
        packet_length_bytes,
        class_of_service: 0,
    }
}

fn ports_and_rids(seen: &[Seen]) -> Vec<(u32, u16)> {
    seen.iter().map(|seen| (seen.port, seen.rid)).collect()
}

#[test]
fn a_unicast_packet_carries_the_intrinsic_metadata_of_v1model() {
    let mut bench = run("traffic");
    bench.now = Duration::from_micros(0x1234_5678);
    let seen = send(&mut bench, FORWARD, 0, 5, &[1, 2, 3]);
    let expected = Seen {
        port: 1,
        instance_type: 0,
        kept: 0,
        rid: 0,
        length: 7,
        timestamp: 0x1234_5678,
        ingress_port: 3,
        op: FORWARD,
        arg: 0,
        value: 5,
        payload: vec![1, 2, 3],
    };
    assert_eq!(seen, [expected]);
}

#[test]
fn drops_are_counted_by_reason() {
    let mut bench = run("traffic");
    for op in [DROP, DROP_IN_EGRESS, ASSERT, MULTICAST, CLONE_I2E] {
        let left = send(&mut bench, op, 0, 7, &[]);
        assert_eq!(left.len(), usize::from(op == CLONE_I2E), "operation {op}");
    }
    let stats = bench.switch.stats();
    assert_eq!((stats.received, stats.emitted), (5, 1));
    assert_eq!((stats.dropped_ingress, stats.dropped_egress), (1, 1));
    assert_eq!((stats.dropped_no_group, stats.dropped_no_session), (1, 1));
    assert_eq!(stats.dropped_assert, 1);
    assert_eq!(
        send(&mut bench, ASSERT, 1, 0, &[]).len(),
        1,
        "an assertion that holds"
    );
}

#[test]
fn a_multicast_packet_leaves_once_per_replica_with_its_rid() {
    let mut bench = run("traffic");
    let three = group(&[(1, 10), (2, 20), (1, 11)]);
    bench
        .control
        .write(bench.now)
        .insert_multicast_group(7, three.clone())
        .expect("group");
    let seen = send(&mut bench, MULTICAST, 0, 7, &[9]);
    assert_eq!(ports_and_rids(&seen), [(1, 10), (2, 20), (1, 11)]);
    assert!(
        seen.iter()
            .all(|seen| seen.instance_type == 5 && seen.payload == [9])
    );
    let two = group(&[(4, 1), (5, 1)]);
    bench
        .control
        .write(bench.now)
        .modify_multicast_group(7, two)
        .expect("group");
    assert_eq!(
        ports_and_rids(&send(&mut bench, MULTICAST, 0, 7, &[])),
        [(4, 1), (5, 1)]
    );
    bench
        .control
        .write(bench.now)
        .delete_multicast_group(7)
        .expect("group");
    assert_eq!(send(&mut bench, MULTICAST, 0, 7, &[]), []);
    assert_eq!(bench.control.multicast_groups(), []);
}

#[test]
fn a_group_may_have_thousands_of_replicas() {
    let mut bench = run("traffic");
    let many: Vec<(u32, u16)> = (0..5000).map(|i| (u32::from(i) % 500, i + 1)).collect();
    bench
        .control
        .write(bench.now)
        .insert_multicast_group(7, group(&many))
        .expect("group");
    assert_eq!(
        ports_and_rids(&send(&mut bench, MULTICAST, 0, 7, &[])),
        many
    );
}

#[test]
fn a_packet_goes_to_all_of_the_old_or_all_of_the_new_replicas() {
    let mut bench = run("traffic");
    let old = group(&[(1, 1), (2, 1), (3, 1)]);
    let new = group(&[(4, 2), (5, 2)]);
    bench
        .control
        .write(bench.now)
        .insert_multicast_group(7, old.clone())
        .expect("group");
    let control = bench.control.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut writes = 0u32;
        while !stopped.load(Ordering::Relaxed) || writes < 100 {
            let next = if writes.is_multiple_of(2) { &new } else { &old };
            control
                .write(Duration::ZERO)
                .modify_multicast_group(7, next.clone())
                .expect("the group exists");
            writes += 1;
        }
    });
    for _ in 0..3000 {
        let seen = ports_and_rids(&send(&mut bench, MULTICAST, 0, 7, &[]));
        assert!(
            seen == [(1, 1), (2, 1), (3, 1)] || seen == [(4, 2), (5, 2)],
            "half an update: {seen:?}"
        );
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer never fails");
}

#[test]
fn multicast_wins_over_a_drop_before_it_and_loses_to_one_behind_it() {
    let mut bench = run("traffic");
    bench
        .control
        .write(bench.now)
        .insert_multicast_group(7, group(&[(1, 1)]))
        .expect("group");
    assert_eq!(send(&mut bench, DROP_THEN_MULTICAST, 0, 7, &[]).len(), 1);
    assert_eq!(send(&mut bench, MULTICAST_THEN_DROP, 0, 7, &[]).len(), 0);
}

#[test]
fn an_ingress_clone_is_the_packet_as_it_arrived_with_the_fields_of_the_list() {
    let mut bench = run("traffic");
    let clones = session(&[(8, 80), (9, 90)], 0);
    bench
        .control
        .write(bench.now)
        .insert_clone_session(5, clones.clone())
        .expect("session");
    assert_eq!(bench.control.clone_session(5), Some(clones));
    let seen = send(&mut bench, CLONE_I2E, 4, 5, &[1, 2]);
    assert_eq!(
        ports_and_rids(&seen),
        [(8, 80), (9, 90), (1, 0)],
        "clones come first"
    );
    for clone in &seen[..2] {
        assert_eq!((clone.instance_type, clone.value), (1, 5));
        assert_eq!(
            clone.kept, 77,
            "the list's field is kept, the other is zero"
        );
        assert_eq!((clone.payload.as_slice(), clone.length), (&[1, 2][..], 6));
    }
    assert_eq!((seen[2].instance_type, seen[2].value), (0, 0xaaaa));
}

#[test]
fn an_egress_clone_is_the_packet_as_egress_left_it() {
    let mut bench = run("traffic");
    bench
        .control
        .write(bench.now)
        .insert_clone_session(9, session(&[(6, 60)], 0))
        .expect("session");
    let seen = send(&mut bench, CLONE_E2E, 0, 1, &[1]);
    assert_eq!(
        ports_and_rids(&seen),
        [(1, 0), (6, 60)],
        "the original goes on first"
    );
    let (original, clone) = (&seen[0], &seen[1]);
    assert_eq!(
        (original.instance_type, original.value, original.kept),
        (0, 0xcccc, 67)
    );
    assert_eq!(
        (clone.instance_type, clone.value, clone.kept),
        (2, 0xcccc, 33)
    );
    assert_eq!(clone.payload, [1]);
    assert_eq!(clone.length, 5 + 16, "egress had added a header");
}

#[test]
fn a_clone_session_may_cut_its_clones() {
    let mut bench = run("traffic");
    bench
        .control
        .write(bench.now)
        .insert_clone_session(5, session(&[(8, 1)], 22))
        .expect("session");
    let seen = send(&mut bench, CLONE_I2E, 4, 5, &[1, 2, 3, 4]);
    assert_eq!(seen[0].payload, [1, 2], "22 bytes in all");
    assert_eq!(seen[1].payload, [1, 2, 3, 4]);
}

#[test]
fn a_resubmitted_packet_begins_again_as_it_arrived() {
    let mut bench = run("traffic");
    let seen = send(&mut bench, RESUBMIT, 0, 1, &[7]);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].value, seen[0].kept), (1, 55));
    assert_eq!((seen[0].ingress_port, seen[0].length), (3, 5));
    assert_eq!(seen[0].payload, [7]);
}

#[test]
fn a_recirculated_packet_begins_again_as_it_was_deparsed() {
    let mut bench = run("traffic");
    let seen = send(&mut bench, RECIRCULATE, 2, 1, &[7]);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].arg, seen[0].kept), (0, 0));
    assert_eq!(
        seen[0].length,
        5 + 16,
        "with the header that the first pass added"
    );
    assert_eq!(seen[0].payload, [7]);
}

#[test]
fn a_packet_that_never_leaves_is_dropped_in_the_end() {
    let config = SwitchConfig {
        max_passes: 50,
        ..SwitchConfig::default()
    };
    let mut bench = run_with("traffic", config);
    assert_eq!(send(&mut bench, LOOP, 0, 0, &[]), []);
    assert_eq!(bench.switch.stats().dropped_too_many_passes, 1);
    assert_eq!(
        send(&mut bench, FORWARD, 0, 0, &[]).len(),
        1,
        "the next one is unharmed"
    );
}

#[test]
fn truncate_bounds_the_whole_packet() {
    let mut bench = run("traffic");
    for op in [TRUNCATE, TRUNCATE_IN_EGRESS] {
        let seen = send(&mut bench, op, 0, 23, &[1, 2, 3, 4, 5]);
        assert_eq!(seen[0].payload, [1, 2, 3]);
        let seen = send(&mut bench, op, 0, 100, &[1, 2]);
        assert_eq!(seen[0].payload, [1, 2], "it does not pad");
    }
}

#[test]
fn groups_and_sessions_have_limits_and_no_twins() {
    let limits = Limits {
        multicast_groups: Some(2),
        multicast_replicas: Some(3),
        replicas_per_group: Some(2),
        max_instance: Some(100),
        clone_sessions: Some(1),
        ..Limits::default()
    };
    let bench = run_with(
        "traffic",
        SwitchConfig {
            limits,
            ..SwitchConfig::default()
        },
    );
    let mut write = bench.control.write(bench.now);
    let full = |result| {
        assert!(
            matches!(result, Err(ControlError::Full { .. })),
            "{result:?}"
        )
    };
    let invalid = |result| {
        assert!(
            matches!(result, Err(ControlError::InvalidArgument(_))),
            "{result:?}"
        )
    };
    invalid(write.insert_multicast_group(0, group(&[])));
    invalid(write.insert_multicast_group(1, group(&[(1, 1), (1, 1)])));
    invalid(write.insert_multicast_group(1, group(&[(1, 101)])));
    full(write.insert_multicast_group(1, group(&[(1, 1), (2, 1), (3, 1)])));
    write
        .insert_multicast_group(1, group(&[(1, 1), (2, 1)]))
        .expect("fits");
    full(write.insert_multicast_group(2, group(&[(1, 1), (2, 1)])));
    write
        .insert_multicast_group(2, group(&[(1, 1)]))
        .expect("fits");
    full(write.insert_multicast_group(3, group(&[])));
    full(write.modify_multicast_group(2, group(&[(1, 1), (2, 2)])));
    write
        .modify_multicast_group(1, group(&[(1, 2)]))
        .expect("fewer");
    write
        .modify_multicast_group(2, group(&[(1, 1), (2, 2)]))
        .expect("now it fits");
    let twice = write.insert_multicast_group(2, group(&[]));
    assert!(matches!(twice, Err(ControlError::AlreadyExists(_))));
    assert!(matches!(
        write.delete_multicast_group(9),
        Err(ControlError::NotFound(_))
    ));
    invalid(write.insert_clone_session(0, session(&[], 0)));
    write
        .insert_clone_session(1, session(&[(1, 1)], 0))
        .expect("fits");
    full(write.insert_clone_session(2, session(&[], 0)));
}

#[test]
fn another_pipeline_starts_without_any_state() {
    let mut bench = run("traffic");
    bench
        .control
        .write(bench.now)
        .insert_multicast_group(7, group(&[(1, 1)]))
        .expect("group");
    assert_eq!(send(&mut bench, MULTICAST, 0, 7, &[]).len(), 1);
    let old = bench.control.clone();
    bench.control = bench.switch.load(old.pipeline().clone());
    assert_eq!(send(&mut bench, MULTICAST, 0, 7, &[]), []);
    assert!(
        old.multicast_group(7).is_some(),
        "the old one still answers"
    );
    assert_eq!(bench.control.multicast_group(7), None);
}

#[test]
fn a_switch_without_a_pipeline_drops_everything() {
    let switch = sim::Switch::new(SwitchConfig::default());
    let mut out: Vec<(u32, Vec<u8>)> = Vec::new();
    switch
        .worker()
        .process(Duration::ZERO, 1, &[1, 2, 3], &mut out);
    assert_eq!(out, []);
    assert_eq!(switch.stats().dropped_no_pipeline, 1);
    assert!(switch.control().is_none());
}
