//! `topicswitch controller`

use anyhow::ensure;
use controller::{Handle, Policy};

use crate::cli::ControllerArgs;
use crate::config::Config;
use crate::contract::RemoteBroker;
use crate::explain::ControllerAccount;
use crate::node::{self, Program, Tasks};
use crate::status::{self, Parts};

/// Runs a controller until shutdown.
///
/// # Errors
/// A wrong configuration or program; a switch or broker that is not there is waited for.
pub async fn run(args: ControllerArgs, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    let mut controller = config.controller;
    if let Some(switch) = args.switch {
        controller.switch = switch;
    }
    controller.tls.ca = args.tls_ca.or(controller.tls.ca);
    controller.tls.cert = args.tls_cert.or(controller.tls.cert);
    controller.tls.key = args.tls_key.or(controller.tls.key);
    controller.check()?;
    controller.device_id = args.device_id.unwrap_or(controller.device_id);
    controller.election_id = args.election_id.unwrap_or(controller.election_id);
    controller.takeover = args.takeover.unwrap_or(controller.takeover);
    controller.ports = args.ports.unwrap_or(controller.ports);
    controller.p4info = args.p4info.or(controller.p4info);
    controller.device_config = args.json.or(controller.device_config);
    if args.no_offload {
        controller.policy = Policy::Pinned(Vec::new());
    }
    ensure!(
        !controller.ports.is_empty(),
        "the controller must know the switch's ports: give --ports N,N,… or controller.ports"
    );
    let program = Program::choose(
        controller.p4info.as_deref(),
        controller.device_config.as_deref(),
    )?;
    let broker = args.broker.unwrap_or_else(|| config.contract.to_string());
    let tls = args.contract_tls.over(config.contract_tls);
    let remote = RemoteBroker::new(&broker, &tls)?;
    tracing::info!(switch = controller.switch, broker, "controller starts");
    let handle = node::run_controller(
        controller,
        program,
        node::Switch::Configured,
        node::Broker::Remote(Box::new(remote)),
        &tasks,
    )?;
    if let Some(address) = args.status.or(config.status) {
        let parts = controller_part(Parts::default(), &handle);
        status::serve(address, parts, tasks.shutdown()).await?;
    }
    tasks.finish().await
}

/// What the controller says of itself.
pub fn controller_part(parts: Parts, handle: &Handle) -> Parts {
    let handle = handle.clone();
    let explaining = handle.clone();
    let parts = parts.explaining("controller", move |topic| {
        let handle = explaining.clone();
        async move {
            match explain(&handle, &topic).await {
                Ok(account) => serde_json::json!(account),
                Err(stopped) => serde_json::json!({ "error": stopped.to_string() }),
            }
        }
    });
    parts.with("controller", move || {
        let handle = handle.clone();
        async move {
            match handle.status().await {
                Ok(status) => serde_json::to_value(status)
                    .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() })),
                Err(stopped) => serde_json::json!({ "error": stopped.to_string() }),
            }
        }
    })
}

async fn explain(handle: &Handle, topic: &str) -> Result<ControllerAccount, controller::Stopped> {
    let status = handle.status().await?;
    Ok(ControllerAccount {
        lease_remaining_ms: status.lease_remaining_ms,
        lease_why: status.lease_why,
        mastership: serde_json::json!(status.mastership),
        topic: handle.explain(topic).await?,
    })
}
