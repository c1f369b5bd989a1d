//! Offload, as clients see it: `cargo bench -p system-tests --bench offload -- WHAT [--on SITE]`.
//!
//! WHAT is `latency`, `install`, `churn` or `moves`; SITE is where it is measured (`lab`). Everything is
//! real: the `topicswitch` binary in processes of its own, clients on UDP sockets. Both sides of a ratio
//! come from one run and take turns.

mod churn;
mod figures;
mod install;
mod lab;
mod latency;
mod moves;
mod speaker;

use std::time::Duration;

use lab::{Lab, Site};
use topicswitch::load::Machine;

/// What to measure, and how long.
pub(crate) struct Plan {
    what: String,
    site: Site,
    /// Of each measurement.
    pub(crate) time: Duration,
    /// PUBLISH a second, where there is a rate.
    pub(crate) rate: Option<f64>,
    /// Another `sim.spin_us` than the default.
    spin_us: Option<u64>,
}

const USAGE: &str = "\
cargo bench -p system-tests --bench offload -- WHAT [--on up|sim|bmv2] [--seconds N] [--rate N]
    [--spin-us N]
  latency  QoS 0 offloaded and through the broker, in turns; then who sees the packets
  install  SUBSCRIBE until its SUBACK, which waits for the switch
  churn    subscriptions changed in a second
  moves    a topic moved from group to group under load
  --spin-us: how long a worker of sim looks for the next frame before it sleeps (`sim.spin_us`)
SITE: up (one process, UDP sockets; the default), sim or bmv2 (processes in network namespaces)";

impl Plan {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut plan = Plan {
            what: String::new(),
            site: Site::Up,
            time: Duration::from_secs(10),
            rate: None,
            spin_us: None,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" => {}
                "--on" => plan.site = Site::named(&args.next()?)?,
                "--seconds" => plan.time = Duration::from_secs(args.next()?.parse().ok()?),
                "--rate" => plan.rate = Some(args.next()?.parse().ok()?),
                "--spin-us" => plan.spin_us = Some(args.next()?.parse().ok()?),
                _ if plan.what.is_empty() => plan.what = arg,
                _ => return None,
            }
        }
        Some(plan)
    }
}

fn main() {
    let plan = Plan::from_args(std::env::args().skip(1));
    let measure: Option<fn(&Lab, &Plan)> = match plan.as_ref().map(|plan| plan.what.as_str()) {
        Some("latency") => Some(latency::measure),
        Some("install") => Some(install::measure),
        Some("churn") => Some(churn::measure),
        Some("moves") => Some(moves::measure),
        _ => None,
    };
    let (Some(plan), Some(measure)) = (plan, measure) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    if plan.site.needs_namespaces() && !system_tests::netns::available() {
        eprintln!("this needs network namespaces: run it as root, with `ip` on PATH");
        std::process::exit(1);
    }
    if let Ok(machine) = Machine::here() {
        println!(
            "{}, {} cores, Linux {}, load average {}",
            machine.cpu, machine.cores, machine.kernel, machine.load_average
        );
    }
    let lab = Lab::start(plan.site, plan.spin_us);
    println!("{} on {:?}", plan.what, plan.site);
    measure(&lab, &plan);
}
