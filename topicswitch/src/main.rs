//! The one binary: wires the crates together. All logic is in them and in this crate's library.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use topicswitch::cli::{Cli, Command};
use topicswitch::commands;
use topicswitch::config::{Config, LogFormat};
use topicswitch::node::Tasks;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "topicswitch: {}",
                controller::target::error_chain(error.as_ref())
            );
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let mut config = match &cli.config {
        Some(file) => Config::load(file)?,
        None => Config::default(),
    };
    if let Some(filter) = &cli.log {
        config.log.filter.clone_from(filter);
    }
    if let Some(format) = cli.log_format {
        config.log.format = format;
    }
    start_logging(&cli.command, &config)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(run(cli.command, config))
}

async fn run(command: Command, config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone())?;
    let tasks = Tasks::new(shutdown.clone());
    match command {
        Command::Up(args) => commands::up::run(args, config, tasks).await,
        Command::Broker(args) => commands::broker::run(args, config, tasks).await,
        Command::Controller(args) => commands::controller::run(args, config, tasks).await,
        Command::Sim(command) => commands::sim::run(command, config, tasks).await,
        Command::Pub(args) => until(shutdown, commands::pub_::run(args)).await,
        Command::Sub(args) => commands::sub::run(args, shutdown).await,
        Command::Bench(args) => until(shutdown, commands::bench::run(args)).await,
        Command::Status(args) => until(shutdown, commands::status::run(args, config)).await,
        Command::Explain(args) => until(shutdown, commands::explain::run(args, config)).await,
        Command::Demo(args) => commands::demo::run(args, shutdown).await,
        Command::Config(command) => commands::config::run(&command),
    }
}

/// Gives up `work` when a signal comes.
async fn until(
    shutdown: CancellationToken,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        result = work => result,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    }
}

/// The first SIGINT or SIGTERM asks for a clean end, the second one ends at once.
fn watch_signals(shutdown: CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if shutdown.is_cancelled() {
                std::process::exit(code);
            }
            tracing::info!("shutting down; the signal again ends at once");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// Logs go to standard error, so that what a command prints can be piped.
fn start_logging(command: &Command, config: &Config) -> anyhow::Result<()> {
    // The tools say what they have to say themselves; only trouble is added.
    let quiet = matches!(
        command,
        Command::Pub(_)
            | Command::Sub(_)
            | Command::Bench(_)
            | Command::Status(_)
            | Command::Explain(_)
            | Command::Demo(_)
            | Command::Config(_)
    );
    let filter = match config.log.filter.as_str() {
        // It kills its controllers, and tells.
        "info" if matches!(command, Command::Demo(_)) => "error",
        "info" if quiet => "warn",
        // Clients of P4Runtime that TLS refuses: nobody else tells of them.
        "info" => "info,tonic::transport::server::io_stream=debug",
        other => other,
    };
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("log filter `{filter}` (a level, or TARGET=LEVEL,…)"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}
