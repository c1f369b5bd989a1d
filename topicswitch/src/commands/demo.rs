//! `topicswitch demo`

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use crate::cli::DemoArgs;
use crate::demo;

/// Runs the demo and prints what it found.
///
/// # Errors
/// A demo that could not be run, was interrupted, or in which a message was lost or duplicated.
pub async fn run(args: DemoArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (report, explanation) = tokio::select! {
        report = demo::run(args.messages, |step| eprintln!("demo: {step}")) => report?,
        () = shutdown.cancelled() => bail!("interrupted"),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("\n{report}");
        println!(
            "`topicswitch explain {}` while offload was on (QoS 0 only):\n",
            explanation.topic
        );
        print!("{}", explanation.at_qos(0).text());
    }
    if !report.is_exact() {
        bail!(
            "{} messages were lost and {} duplicated",
            report.lost,
            report.duplicated
        );
    }
    Ok(())
}
