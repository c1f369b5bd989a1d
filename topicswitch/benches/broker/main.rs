//! Our broker measured from outside, as a process on loopback; beside it RSMB where
//! `PEER_RSMB` names its binary (`broker_mqtts`), in the same run and taking turns.
//!
//! `cargo bench -p topicswitch --bench broker -- [SCENARIO…] [--json FILE] [--seconds S] [--rounds N]`

mod compare;
mod peer;
mod scale;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use topicswitch::load::Machine;

use compare::{Bench, SCENARIOS};
use peer::{Kind, Placement};

/// Measures the broker from outside.
#[derive(Debug, Parser)]
struct Args {
    /// Which to run; all when none is named.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SCENARIOS.iter().map(|s| s.0)))]
    scenarios: Vec<String>,
    /// Also write everything to this file, as JSON.
    #[arg(long, value_name = "FILE", env = "BENCH_JSON")]
    json: Option<PathBuf>,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 1.0, env = "BENCH_SECONDS")]
    seconds: f64,
    /// Measurements of each broker, taking turns.
    #[arg(long, default_value_t = 3, env = "BENCH_ROUNDS", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Sessions of the scenario `sessions`, with ten subscriptions each.
    #[arg(long, default_value_t = 100_000)]
    sessions: usize,
    /// RSMB's `broker_mqtts`.
    #[arg(long, value_name = "FILE", env = "PEER_RSMB")]
    peer_rsmb: Option<PathBuf>,
    /// Given by cargo; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let begun = Instant::now();
    let machine = Machine::here()?;
    println!(
        "{}, {} cores, Linux {}, load average {}",
        machine.cpu, machine.cores, machine.kernel, machine.load_average
    );
    let placement = Placement::of_this_machine()?;
    println!("{placement}");
    let peer = args.peer_rsmb.map(|binary| Kind::Rsmb { binary });
    match &peer {
        Some(peer) => println!("Beside ours: {}.", peer.describe()),
        None => println!(
            "Ours alone. For the comparison with RSMB build its MQTT-SN broker and run: \
             PEER_RSMB=/path/to/broker_mqtts make bench"
        ),
    }
    let mut bench = Bench {
        placement,
        peer,
        seconds: Duration::try_from_secs_f64(args.seconds)?,
        rounds: args.rounds.into(),
        sessions: args.sessions,
        report: serde_json::Map::new(),
    };
    for (name, scenario) in SCENARIOS {
        if args.scenarios.is_empty() || args.scenarios.iter().any(|wanted| wanted == name) {
            scenario(&mut bench)?;
        }
    }
    let after = Machine::here()?;
    println!(
        "\n{:.0} s in all; load average {}",
        begun.elapsed().as_secs_f64(),
        after.load_average
    );
    if let Some(file) = args.json {
        let report = serde_json::json!({
            "machine": machine,
            "load_average_after": after.load_average,
            "rounds": args.rounds,
            "seconds": args.seconds,
            "scenarios": bench.report,
        });
        std::fs::write(&file, format!("{report:#}\n"))?;
        println!("{} written", file.display());
    }
    Ok(())
}
