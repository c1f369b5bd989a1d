//! How long one frame takes through the switch alone, by the path it takes in the program: what an
//! offloaded PUBLISH costs above a frame that is only bridged.
//!
//! One frame is on its way at a time; sender and receiver are one thread on raw interfaces.
//!
//! `TOPICSWITCH_TARGET=sim|sim-veth|bmv2 cargo bench -p system-tests --bench switch_paths -- [--frames N]`
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use system_tests::data_plane::{DataPlane, MAX_LENGTH, Offload, on_each_target};
use system_tests::frame::Datagram;
use system_tests::hosts::{ALICE, BROKER, PUBLISHER};
use system_tests::messages::Publish;

/// Octets of data of each PUBLISH.
const DATA: usize = 100;
/// The paths take turns, so many frames each.
const TURN: usize = 200;
/// Publications and topics of the publisher: one that is served to one subscriber, one to a group
/// of one, and one that is left to the broker.
const TO_ONE: u16 = 7;
const TO_GROUP: u16 = 8;
const SOFTWARE: u16 = 9;

fn prepare(plane: &mut DataPlane) {
    for host in [BROKER, PUBLISHER, ALICE] {
        plane.know(&host);
    }
    plane.serve(&BROKER, MAX_LENGTH);
    plane.answers(&BROKER, BROKER.port);
    plane.place(&BROKER, &ALICE);
    for alias in [TO_ONE, TO_GROUP, SOFTWARE] {
        plane.admit(&PUBLISHER, 0, alias, alias.into());
    }
    plane.subscriber(1, &BROKER, &ALICE);
    plane.group(10, &[(ALICE.port, 1)]);
    let offload = Offload {
        group_q0: 10,
        group_q1: 10,
        ack_q1: true,
        generation: 3,
        ..Offload::default()
    };
    plane.offload_to_one(TO_ONE.into(), ALICE.port, 1, offload);
    plane.offload(TO_GROUP.into(), offload);
    plane.lease();
}

struct Path {
    name: &'static str,
    from: u16,
    to: u16,
    frame: Vec<u8>,
    took: Vec<Duration>,
}

fn paths() -> [Path; 5] {
    let path = |name, from, to, frame| Path {
        name,
        from,
        to,
        frame,
        took: Vec::new(),
    };
    let message = |alias| Publish::new(0, alias, 0, vec![0x55; DATA]).octets();
    let publish = |alias| Datagram::between(&PUBLISHER, &BROKER, message(alias)).frame();
    let (publisher, alice, broker) = (PUBLISHER.port, ALICE.port, BROKER.port);
    let other = Datagram::between(&PUBLISHER, &ALICE, message(TO_ONE)).frame();
    let answer = Datagram::between(&BROKER, &ALICE, message(SOFTWARE)).frame();
    [
        path("bridged, of no service", publisher, alice, other),
        path(
            "software path to the broker",
            publisher,
            broker,
            publish(SOFTWARE),
        ),
        path("from the broker", broker, alice, answer),
        path("offloaded to one", publisher, alice, publish(TO_ONE)),
        path(
            "offloaded to a group of one",
            publisher,
            alice,
            publish(TO_GROUP),
        ),
    ]
}

fn measure(plane: &mut DataPlane, frames: usize) {
    prepare(plane);
    let mut paths = paths();
    for turn in 0..frames.div_ceil(TURN) + 1 {
        for path in &mut paths {
            for _ in 0..TURN {
                let sent = Instant::now();
                plane.send(path.from, &path.frame);
                plane.recv(path.to);
                let took = sent.elapsed();
                // The first turn warms up.
                if turn > 0 {
                    path.took.push(took);
                }
            }
        }
    }
    println!(
        "{:?}, {frames} frames of each, one at a time",
        plane.target()
    );
    println!("| path | p10 | p50 | p99 |\n|---|---|---|---|");
    for path in &mut paths {
        path.took.sort_unstable();
        let took = &path.took;
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let [p10, p50, p99] = [0.1, 0.5, 0.99].map(at);
        println!(
            "| {} | {p10:.1} µs | {p50:.1} µs | {p99:.1} µs |",
            path.name
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let frames = arguments.iter().position(|argument| argument == "--frames");
    let frames = frames.and_then(|at| arguments.get(at + 1)?.parse().ok());
    on_each_target(|plane| measure(plane, frames.unwrap_or(6000)));
}
