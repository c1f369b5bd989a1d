//! `topicswitch sim …`

use anyhow::{Context, bail};
use sim::ports::{Port, PortConfig};
use sim::runtime::RuntimeConfig;
use sim::server::DeviceConfig;

use crate::cli::{SimCommand, SimRunArgs};
use crate::config::{Config, SimConfig};
use crate::node::{Program, SwitchNode, Tasks};
use crate::status::{self, Parts};

/// Runs one of the commands.
///
/// # Errors
/// As the command.
pub async fn run(command: SimCommand, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    match command {
        SimCommand::Run(args) => run_switch(args, config, tasks).await,
        SimCommand::Stf(args) => super::stf::run(&args),
    }
}

async fn run_switch(args: SimRunArgs, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    let mut sim = config.sim;
    sim.device_id = args.device_id.unwrap_or(sim.device_id);
    sim.cpu_port = args.cpu_port.unwrap_or(sim.cpu_port);
    sim.workers = args.workers.unwrap_or(sim.workers);
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
    let switch = SwitchNode::start(runtime_config(&sim), open_ports(&ports)?)?;
    if let Some(program) = program {
        switch.load(program, sim.device_id).await?;
    }
    let at = switch
        .serve(args.p4runtime.unwrap_or(sim.p4runtime), &tasks)
        .await?;
    let names: Vec<String> = ports.iter().map(ToString::to_string).collect();
    tracing::info!(p4runtime = %at, device_id = sim.device_id, ports = names.join(" "), "switch ready");
    if let Some(address) = args.status.or(config.status) {
        let parts = Parts::default().with("switch", switch.status());
        status::serve(address, parts, tasks.shutdown()).await?;
    }
    tasks.finish().await
}

/// How the switch is to be, as configured.
pub fn runtime_config(sim: &SimConfig) -> RuntimeConfig {
    RuntimeConfig {
        cpu_port: sim.cpu_port,
        workers: sim.workers.get(),
        device: DeviceConfig {
            device_id: sim.device_id,
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
