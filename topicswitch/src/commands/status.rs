//! `topicswitch status`

use crate::cli::StatusArgs;
use crate::config::{Config, DEFAULT_STATUS};
use crate::status;

/// Prints what the process at the status address says.
///
/// # Errors
/// Nobody answers there.
pub async fn run(args: StatusArgs, config: Config) -> anyhow::Result<()> {
    let at = args.at.or(config.status).unwrap_or(DEFAULT_STATUS);
    let status = status::fetch(at).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", status::readable(&status));
    }
    Ok(())
}
