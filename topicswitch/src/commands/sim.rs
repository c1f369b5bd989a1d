//! `topicswitch sim …`

use anyhow::{Context, bail};
use sim::SwitchConfig;
use sim::ports::{Port, PortConfig};
use sim::runtime::RuntimeConfig;
use sim::server::{DeviceConfig, Fault, Left, ServerTls};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{SimCommand, SimRunArgs};
use crate::config::{Config, SimConfig, SimTlsConfig};
use crate::node::{Program, SwitchNode, Tasks};
use crate::status::{self, Parts};

/// Runs one of the commands.
///
/// # Errors
/// As the command.
pub async fn run(command: SimCommand, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    match command {
        SimCommand::Run(args) => run_switch(*args, config, tasks).await,
        SimCommand::Stf(args) => super::stf::run(&args),
    }
}

async fn run_switch(args: SimRunArgs, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    let mut sim = config.sim;
    sim.device_id = args.device_id.unwrap_or(sim.device_id);
    sim.cpu_port = args.cpu_port.unwrap_or(sim.cpu_port);
    sim.workers = args.workers.unwrap_or(sim.workers);
    sim.spin_us = args.spin_us.or(sim.spin_us);
    sim.profile = args.profile.unwrap_or(sim.profile);
    sim.compat = args.compat.unwrap_or(sim.compat);
    sim.updates_per_second = args.updates_per_second.or(sim.updates_per_second);
    sim.tls.cert = args.tls_cert.or(sim.tls.cert);
    sim.tls.key = args.tls_key.or(sim.tls.key);
    sim.tls.client_ca = args.tls_client_ca.or(sim.tls.client_ca);
    let tls = server_tls(&sim.tls)?;
    let program = match (&args.p4info, &args.json) {
        (None, None) => None,
        (p4info, json) => Some(Program::choose(p4info.as_deref(), json.as_deref())?),
    };
    let ports = if args.ports.is_empty() {
        port_configs(&sim)?
    } else {
        args.ports
    };
    if ports.is_empty() {
        bail!("a switch needs ports: give --port N=KIND:… (see --help) or sim.ports");
    }
    let mut runtime = runtime_config(&sim);
    for fault in &args.faults {
        tracing::warn!(%fault, "this switch fails on purpose");
    }
    runtime.device.faults = args.faults.clone();
    let opened = open_ports(&ports)?;
    let switch = match program {
        Some(program) => SwitchNode::start_with(program, runtime, opened).await?,
        None => SwitchNode::start(runtime, opened)?,
    };
    let at = switch
        .serve(args.p4runtime.unwrap_or(sim.p4runtime), tls, &tasks)
        .await?;
    restart_on_signal(&args.faults, &switch, &tasks)?;
    let names: Vec<String> = ports.iter().map(ToString::to_string).collect();
    tracing::info!(p4runtime = %at, device_id = sim.device_id, ports = names.join(" "), "switch ready");
    if let Some(address) = args.status.or(config.status) {
        let parts = Parts::default().with("switch", switch.status());
        status::serve(address, parts, tasks.shutdown()).await?;
    }
    tasks.finish().await
}

/// Restarts the switch at each SIGUSR1, if one of the faults is that.
fn restart_on_signal(faults: &[Fault], switch: &SwitchNode, tasks: &Tasks) -> anyhow::Result<()> {
    let wanted = |fault: &Fault| match fault {
        Fault::RestartOnSignal(left) => Some(*left),
        _ => None,
    };
    let Some(left) = faults.iter().find_map(wanted) else {
        return Ok(());
    };
    let mut signals = signal(SignalKind::user_defined1())?;
    let (service, shutdown) = (switch.service(), tasks.shutdown());
    tasks.spawn("restarts", async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = signals.recv() => {
                    tracing::warn!(pipeline_kept = left == Left::Pipeline, "restart on purpose");
                    service.device().restart(left);
                }
            }
        }
    });
    Ok(())
}

/// TLS of the P4Runtime server, as configured.
///
/// # Errors
/// A certificate without its key, the other way round, or a file that cannot be read.
pub fn server_tls(tls: &SimTlsConfig) -> anyhow::Result<Option<ServerTls>> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    match (&tls.cert, &tls.key) {
        (Some(certificate), Some(key)) => Ok(Some(ServerTls {
            certificate: read(certificate)?,
            key: read(key)?,
            client_ca: tls.client_ca.as_deref().map(read).transpose()?,
        })),
        (None, None) if tls.client_ca.is_none() => Ok(None),
        _ => bail!(
            "P4Runtime over TLS needs a certificate and its key: give --tls-cert and --tls-key, or \
             sim.tls.cert and sim.tls.key"
        ),
    }
}

/// How the switch is to be, as configured.
pub fn runtime_config(sim: &SimConfig) -> RuntimeConfig {
    let mut limits = sim.profile.limits();
    limits.updates_per_second = sim.updates_per_second.or(limits.updates_per_second);
    RuntimeConfig {
        switch: SwitchConfig {
            limits,
            ..SwitchConfig::default()
        },
        cpu_port: sim.cpu_port,
        workers: sim.workers.get(),
        spin: sim.spin_us.map(std::time::Duration::from_micros),
        device: DeviceConfig {
            device_id: sim.device_id,
            compat: sim.compat,
            ..DeviceConfig::default()
        },
        ..RuntimeConfig::default()
    }
}

/// The configured ports.
///
/// # Errors
/// One that cannot be read; a configuration file was checked for that already.
pub fn port_configs(sim: &SimConfig) -> anyhow::Result<Vec<PortConfig>> {
    sim.ports
        .iter()
        .map(|port| port.parse().with_context(|| format!("sim.ports: `{port}`")))
        .collect()
}

/// Opens all ports.
///
/// # Errors
/// The first that cannot be opened.
pub fn open_ports(ports: &[PortConfig]) -> anyhow::Result<Vec<(u32, Box<dyn Port>)>> {
    Ok(sim::ports::open_all(ports)?)
}
