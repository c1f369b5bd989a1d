//! The target against BMv2 and DPDK's `testpmd`, in one run: the same program, the same entries, the
//! same veth pairs, and turns (A, B, C, A, B, C, …).
//!
//! `PEER_SIMPLE_SWITCH=path/to/simple_switch_grpc` and `PEER_TESTPMD=path/to/dpdk-testpmd` add the
//! peers; without them the target is measured alone. Needs root, `ip`, `ethtool` and `taskset`; everything
//! lives in a network namespace that ends with this process. The switch has one CPU, the generator the
//! other. `PEER_TURNS` says how many turns (3).
#![allow(missing_docs)]

mod bed;
mod control;
mod inside;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use bed::{Bed, Peer, Process};
use control::Controller;
use load::{Generator, Latency, Rate};

/// Windows tried for the greatest rate without loss.
const WINDOWS: [usize; 5] = [32, 64, 128, 256, 512];

/// What one turn of one peer gave.
struct Turn {
    peer: &'static str,
    rate: Rate,
    cpu_us: f64,
    latency: Latency,
    writes: Option<[Latency; 2]>,
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--switch") {
        return bed::serve(args.collect());
    }
    inside::run();
    let Some(bed) = Bed::new() else {
        println!(
            "SKIPPED: sim against BMv2 and DPDK needs root, `ip`, `ethtool`, `taskset` and two CPUs"
        );
        return;
    };
    let peer = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let mut peers = vec![Peer::Sim, Peer::SpinningSim];
    peers.extend(peer("PEER_SIMPLE_SWITCH").map(Peer::Bmv2));
    peers.extend(peer("PEER_TESTPMD").map(Peer::Testpmd));
    let turns = std::env::var("PEER_TURNS")
        .ok()
        .and_then(|n| n.parse().ok());
    let turns: usize = turns.unwrap_or(3);
    println!("\n## veth to veth, one subscriber, {turns} turns");
    let mut all = Vec::new();
    for _ in 0..turns {
        for peer in &peers {
            let turn = turn(&bed, peer);
            println!(
                "{:<13} {:>8.0} /s (window {}), {:.2} us CPU each; 1 k/s: p50 {:.0} us, p99 {:.0} us",
                turn.peer,
                turn.rate.per_second,
                turn.rate.window,
                turn.cpu_us,
                turn.latency.p50_us,
                turn.latency.p99_us,
            );
            if let Some([idle, loaded]) = &turn.writes {
                println!(
                    "           Write of one MODIFY: idle p50 {:.0} us, p99 {:.0} us; at that rate p50 {:.0} us, p99 {:.0} us",
                    idle.p50_us, idle.p99_us, loaded.p50_us, loaded.p99_us,
                );
            }
            all.push(turn);
        }
    }
    summary(&all);
}

/// Starts a peer, measures it and ends it.
fn turn(bed: &Bed, peer: &Peer) -> Turn {
    let process = Process::start(bed, peer);
    let controller = peer.device().map(|device| Controller::connect(device, 1));
    let mut generator = Generator::open("gen1", "gen2");
    generator.wait_for_switch();
    let mut best: Option<(Rate, f64)> = None;
    for window in WINDOWS {
        let cpu = process.cpu_seconds();
        let rate = generator.rate(window, Duration::from_millis(800));
        let cpu_us = (process.cpu_seconds() - cpu) * 1e6 / rate.frames.max(1) as f64;
        let better = best
            .as_ref()
            .is_none_or(|(b, _)| rate.per_second > b.per_second);
        if rate.lost == 0 && better {
            best = Some((rate, cpu_us));
        }
    }
    let (rate, cpu_us) = best.expect("no window is without loss");
    let latency = generator.latency(1000, 2000);
    let writes = controller
        .filter(|_| matches!(peer, Peer::Sim))
        .map(|mut controller| {
            let idle = controller.write_latency(300);
            let loaded = generator.while_loaded(rate.window, || controller.write_latency(300));
            [idle, loaded]
        });
    Turn {
        peer: peer.name(),
        rate,
        cpu_us,
        latency,
        writes,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn summary(all: &[Turn]) {
    let of = |peer: &str, what: &dyn Fn(&Turn) -> f64| {
        median(all.iter().filter(|t| t.peer == peer).map(what).collect())
    };
    println!(
        "\n| | lossless maximum | CPU each | p50 at 1 k/s | p99 at 1 k/s |\n|---|---|---|---|---|"
    );
    for peer in ["sim", "spinning sim", "bmv2", "testpmd"] {
        if !all.iter().any(|turn| turn.peer == peer) {
            continue;
        }
        println!(
            "| {peer} | {:.0} k/s | {:.2} us | {:.0} us | {:.0} us |",
            of(peer, &|t| t.rate.per_second) / 1e3,
            of(peer, &|t| t.cpu_us),
            of(peer, &|t| t.latency.p50_us),
            of(peer, &|t| t.latency.p99_us),
        );
        if !matches!(peer, "sim" | "spinning sim") {
            println!(
                "| sim : {peer} | {:.2} x | {:.2} x | {:.2} x | {:.2} x |",
                of("sim", &|t| t.rate.per_second) / of(peer, &|t| t.rate.per_second),
                of("sim", &|t| t.cpu_us) / of(peer, &|t| t.cpu_us),
                of("sim", &|t| t.latency.p50_us) / of(peer, &|t| t.latency.p50_us),
                of("sim", &|t| t.latency.p99_us) / of(peer, &|t| t.latency.p99_us),
            );
        }
    }
}
