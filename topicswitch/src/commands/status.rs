//! `topicswitch status`

use anyhow::bail;
use serde_json::{Map, Value};

use crate::cli::StatusArgs;
use crate::config::{Config, DEFAULT_STATUS};
use crate::{overview, status};

/// Prints what the processes at the status addresses say.
///
/// # Errors
/// Somebody does not answer; what the others say is printed before.
pub async fn run(args: StatusArgs, config: Config) -> anyhow::Result<()> {
    let default = config.status.unwrap_or(DEFAULT_STATUS);
    let (mut all, mut silent) = (Map::new(), Vec::new());
    for at in status::addresses(&args.at, default) {
        match status::fetch(at).await {
            Ok(Value::Object(parts)) => {
                for (name, part) in parts {
                    // Two controllers, say.
                    let name = match all.contains_key(&name) {
                        true => format!("{name} at {at}"),
                        false => name,
                    };
                    all.insert(name, part);
                }
            }
            Ok(_) => silent.push(format!("what answers at {at} is no topicswitch")),
            Err(error) => silent.push(format!("{error:#}")),
        }
    }
    let all = Value::Object(all);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else if args.all {
        print!("{}", status::readable(&all));
    } else {
        print!("{}", overview::text(&all));
    }
    if !silent.is_empty() {
        bail!(silent.join("\ntopicswitch: "));
    }
    Ok(())
}
