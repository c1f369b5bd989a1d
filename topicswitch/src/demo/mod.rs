//! The main job, shown and checked: the same clients with offload off, with offload on, and with the
//! controller killed under way.

mod lab;
mod report;
mod workload;

use std::time::Duration;

use anyhow::{Context, ensure};

pub use report::{Latency, Report};

use self::lab::{Controller, Lab};
use self::workload::{TOPICS, Tally, Workload};
use crate::explain::Explanation;

/// Messages of the last phase: about 1.5 s of them, so that the lease runs out well before their end.
const FAILOVER_MESSAGES: u64 = 4_500;
/// How long the switch may take to hold all that the broker wants.
const SETTLE: Duration = Duration::from_secs(20);

/// One phase: what the clients saw, and what the broker did for it.
struct Phase {
    published: u64,
    tally: Tally,
    /// PUBLISH that reached the broker, tagged copies included.
    broker_received: u64,
    /// Deliveries that the broker made.
    broker_delivered: u64,
}

/// Runs the demo with about `messages` in each of the two main phases; `say` is told what goes on. With
/// the report comes what `topicswitch explain` says of one of its topics while it is offloaded.
///
/// # Errors
/// Anything that keeps the demo from being run to its end; losses and duplicates are in the report.
pub async fn run(messages: u64, say: impl Fn(&str)) -> anyhow::Result<(Report, Explanation)> {
    let lab = Lab::start().await?;
    say(&format!(
        "switch and broker are up; clients talk to {}",
        lab.clients
    ));

    let bridging = Controller::start(&lab, 1, false)?;
    lab.wait_until_in_force(SETTLE, false)
        .await
        .context("first controller")?;
    let mut clients = Workload::start(lab.clients).await?;
    say("offload off: every message crosses the broker");
    let software = phase(&lab, &mut clients, messages, true, || ()).await?;

    bridging.stop().await?;
    let mut offloading = Controller::start(&lab, 2, true)?;
    lab.wait_until_in_force(SETTLE, true)
        .await
        .context("second controller")?;
    say("offload on: the switch copies each message to its subscribers");
    let offload = phase(&lab, &mut clients, messages, true, || ()).await?;
    let explanation = offloading.explain(&lab, TOPICS[0].0).await?;

    say("the controller is killed (SIGKILL) while messages flow");
    let mut killed = Ok(());
    let failover = phase(&lab, &mut clients, FAILOVER_MESSAGES, false, || {
        killed = offloading.kill();
    })
    .await?;
    killed.context("cannot kill the controller")?;
    clients.finish().await?;
    lab.stop().await?;

    ensure!(
        offload.tally.delivered > offload.broker_delivered,
        "the switch delivered nothing while offload was on"
    );
    ensure!(
        failover.broker_delivered > 0,
        "the broker never took over from the switch"
    );
    Ok((Report::new(&software, &offload, &failover), explanation))
}

async fn phase(
    lab: &Lab,
    clients: &mut Workload,
    messages: u64,
    churn: bool,
    halfway: impl FnOnce() + Send,
) -> anyhow::Result<Phase> {
    let before = lab.broker_stats().await?;
    let (published, tally) = clients.run(messages, churn, halfway).await?;
    let after = lab.broker_stats().await?;
    let received = |stats: &broker::Stats| stats.publish_tagged + stats.publish_untagged;
    Ok(Phase {
        published,
        tally,
        broker_received: received(&after) - received(&before),
        broker_delivered: after.delivered - before.delivered,
    })
}
