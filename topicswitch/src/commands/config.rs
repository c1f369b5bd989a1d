//! `topicswitch config …`

use crate::cli::ConfigCommand;
use crate::config::Config;

/// Runs one of the commands.
///
/// # Errors
/// What is wrong with the file.
pub fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { file } => {
            Config::load(file)?;
            println!("{}: right", file.display());
            Ok(())
        }
    }
}
