//! `topicswitch explain TOPIC`

use anyhow::bail;

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
    let explanation = Explanation::ask(&args.topic, &status::addresses(&args.at, default)).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print!("{}", explanation.text());
    }
    Ok(())
}
