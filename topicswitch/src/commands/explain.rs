//! `topicswitch explain TOPIC`

use anyhow::{Context, bail};

use crate::cli::ExplainArgs;
use crate::config::{Config, DEFAULT_STATUS};
use crate::explain::Explanation;
use crate::status;

/// Prints what the processes at the status addresses know of a topic.
///
/// # Errors
/// A name that no topic can have; nobody answers, or neither a broker nor a controller does.
pub async fn run(args: ExplainArgs, config: Config) -> anyhow::Result<()> {
    if args.topic.is_empty() || mqttsn::topic::has_wildcards(&args.topic) {
        bail!(
            "`{}` is no topic name: a name has at least one character and no wildcards",
            args.topic
        );
    }
    let default = config.status.unwrap_or(DEFAULT_STATUS);
    let (mut broker, mut controller) = (None, None);
    for at in status::addresses(&args.at, default) {
        let mut parts = status::fetch_explanation(at, &args.topic).await?;
        for (name, part) in parts.iter_mut() {
            if let Some(error) = part.get("error").and_then(|error| error.as_str()) {
                bail!("the {name} at {at}: {error}");
            }
        }
        let read =
            |what: &'static str| move || format!("what the {what} at {at} says is unknown here");
        if let Some(part) = parts.remove("broker") {
            broker = Some(serde_json::from_value(part).with_context(read("broker"))?);
        }
        if let Some(part) = parts.remove("controller") {
            let part: crate::explain::ControllerAccount =
                serde_json::from_value(part).with_context(read("controller"))?;
            // Of several controllers the primary one knows.
            if controller.is_none() || part.mastership["state"] == "primary" {
                controller = Some(part);
            }
        }
    }
    if broker.is_none() && controller.is_none() {
        bail!("neither a broker nor a controller answers there: give their --at, each");
    }
    let explanation = Explanation::of(&args.topic, broker.as_ref(), controller.as_ref());
    if args.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print!("{}", explanation.text());
    }
    Ok(())
}
