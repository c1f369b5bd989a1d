//! Many sessions and subscriptions: memory for each, and the restart with all of them.

use std::time::Instant;

use serde_json::json;
use topicswitch::load::{Population, ProcessUse, populate};

use crate::compare::Bench;
use crate::peer::{Broker, Kind};

/// Filters of each session.
const SUBSCRIPTIONS: usize = 10;

pub(crate) fn sessions(bench: &mut Bench) -> anyhow::Result<()> {
    println!(
        "\n{} sessions with {SUBSCRIPTIONS} subscriptions each, all different and with a wildcard",
        bench.sessions
    );
    let mut report = serde_json::Map::new();
    for kind in [Kind::OURS, Kind::STORED] {
        let measured = population(bench, &kind)?;
        report.insert(kind.name().to_owned(), measured);
    }
    bench.report.insert("sessions".to_owned(), report.into());
    Ok(())
}

fn population(bench: &Bench, kind: &Kind) -> anyhow::Result<serde_json::Value> {
    let broker = Broker::start(kind, &bench.placement)?;
    let mut population = Population {
        broker: broker.address,
        sessions: bench.sessions,
        subscriptions: 0,
        clean: false,
    };
    let empty = ProcessUse::of(broker.pid())?;
    let begun = Instant::now();
    populate(&mut population)?;
    let connected = ProcessUse::of(broker.pid())?;
    let connected_in = begun.elapsed();
    population.subscriptions = SUBSCRIPTIONS;
    let begun = Instant::now();
    populate(&mut population)?;
    let subscribed = ProcessUse::of(broker.pid())?;
    let subscribed_in = begun.elapsed();

    let subscriptions = (bench.sessions * SUBSCRIPTIONS) as f64;
    let per_session = (connected.resident - empty.resident.min(connected.resident)) as f64
        / bench.sessions as f64;
    let per_subscription =
        subscribed.resident.saturating_sub(connected.resident) as f64 / subscriptions;
    println!(
        "  {:<20} {per_session:.0} octets a session, {per_subscription:.0} a subscription, {:.0} MiB \
         in all; connected in {:.1} s, subscribed in {:.1} s ({:.1} us CPU each)",
        kind.name(),
        subscribed.resident as f64 / f64::from(1 << 20),
        connected_in.as_secs_f64(),
        subscribed_in.as_secs_f64(),
        (subscribed.cpu - connected.cpu).as_secs_f64() * 1e6 / subscriptions,
    );
    let mut measured = json!({
        "octets_per_session": per_session,
        "octets_per_subscription": per_subscription,
        "resident": subscribed.resident,
        "connect_seconds": connected_in.as_secs_f64(),
        "subscribe_seconds": subscribed_in.as_secs_f64(),
    });
    if matches!(kind, Kind::Ours { store: true, .. }) {
        let stored = broker.stored();
        let again = broker.restart(&bench.placement)?;
        let resident = ProcessUse::of(again.pid())?.resident;
        println!(
            "  {:<20} killed with SIGKILL, it answers again after {:.2} s ({:.0} MiB stored, {:.0} MiB \
             of memory)",
            "",
            again.started_in.as_secs_f64(),
            stored as f64 / f64::from(1 << 20),
            resident as f64 / f64::from(1 << 20),
        );
        measured["restart_seconds"] = json!(again.started_in.as_secs_f64());
        measured["stored_octets"] = json!(stored);
        measured["resident_after_restart"] = json!(resident);
    }
    Ok(measured)
}
