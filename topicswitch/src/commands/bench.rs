//! `topicswitch bench`

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use mqttsn::types::Qos;

use crate::cli::BenchArgs;
use crate::load::{self, Machine, Pace, Settings};

/// Measures what the arguments say and prints it.
///
/// # Errors
/// Settings that cannot be, a broker that does not answer.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    let settings = settings(&args)?;
    // The generator keeps one thread busy and must not keep the runtime's.
    let outcome = tokio::task::spawn_blocking(move || {
        if let Some(cpu) = args.cpu {
            load::pin_to(&[cpu]).with_context(|| format!("CPU {cpu}"))?;
        }
        load::run(&settings).map_err(anyhow::Error::from)
    })
    .await
    .context("the generator")??;
    let machine = Machine::here()?;
    if args.json {
        let report = serde_json::json!({ "machine": machine, "outcome": outcome });
        println!("{report:#}");
    } else {
        println!(
            "{}, {} cores, Linux {}, load average {}",
            machine.cpu, machine.cores, machine.kernel, machine.load_average
        );
        print!("{outcome}");
    }
    Ok(())
}

fn settings(args: &BenchArgs) -> anyhow::Result<Settings> {
    let seconds = |name: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds).with_context(|| format!("--{name} {seconds}"))
    };
    let settings = Settings {
        publishers: args.publishers,
        subscribers: args.subscribers,
        topics: args.topics,
        size: args.size,
        qos: Qos::from_level(args.qos).context("QoS is 0, 1 or 2")?,
        pace: match args.rate {
            Some(rate) => Pace::Rate(rate),
            None => Pace::Window(args.window),
        },
        duration: seconds("duration", args.duration)?,
        warmup: seconds("warmup", args.warmup)?,
        persistent: args.persistent,
        burst: args.burst.into(),
        gso: args.gso,
        gro: args.gro,
        sleep: args.sleep,
        retry: seconds("retry", args.retry)?,
        broker_pid: args.broker_pid,
        ..Settings::new(address(&args.broker)?)
    };
    settings.check()?;
    Ok(settings)
}

fn address(broker: &str) -> anyhow::Result<SocketAddr> {
    broker
        .to_socket_addrs()
        .with_context(|| format!("broker `{broker}`: give HOST:PORT"))?
        .next()
        .with_context(|| format!("broker `{broker}` has no address"))
}
