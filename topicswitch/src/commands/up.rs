//! `topicswitch up`

use std::net::SocketAddr;

use anyhow::bail;

use crate::cli::UpArgs;
use crate::config::{Config, DEFAULT_STATUS};
use crate::node::{self, BrokerNode, DtlsNode, EmbeddedSwitch, Program, Tasks};
use crate::status::{self, Parts};

/// Broker, controller and switch in this process, until shutdown.
///
/// # Errors
/// What cannot be bound or started, or the first part that fails.
pub async fn run(args: UpArgs, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    let (hangup, file) = (node::Hangup::listen()?, config.clone());
    let listen = args.listen.map_or(config.listen, |listen| vec![listen]);
    let listen = match listen[..] {
        [SocketAddr::V4(listen)] => listen,
        [SocketAddr::V6(listen)] => bail!(
            "the embedded switch listens on IPv4 only, not {listen}; `topicswitch broker` takes IPv6"
        ),
        _ => bail!("the embedded switch listens at one address, not at {listen:?}"),
    };
    let more = if args.ports.is_empty() {
        super::sim::port_configs(&config.sim)?
    } else {
        args.ports
    };
    let mut embedded = EmbeddedSwitch::start(listen, &more, &config.sim)?;
    let clients = embedded.clients();

    let mut broker_config = config.broker;
    broker_config.offload.enabled = true;
    let socket = embedded.take_broker_socket(&mut broker_config)?;
    let mut store = config.store;
    store.directory = args.store.or(store.directory);
    let broker = BrokerNode::start(broker_config, &store, socket, &tasks)?;
    let dtls = DtlsNode::start(&config.dtls, &broker, &tasks).await?;

    node::reload_on_hangup(hangup, file, &broker, None, &tasks);

    let mut controller = config.controller;
    controller.device_id = config.sim.device_id;
    controller.ports = embedded.ports(&more)?;
    controller.broker_port = Some(embedded.broker_port());
    controller.switch = "the embedded switch".into();
    if args.no_offload {
        controller.policy = controller::Policy::Pinned(Vec::new());
    }
    let program = Program::choose(
        controller.p4info.as_deref(),
        controller.device_config.as_deref(),
    )?;
    let controller = node::run_controller(
        controller,
        program,
        node::Switch::Channel(embedded.switch().channel()),
        node::Broker::Local(broker.links.clone()),
        &tasks,
    )?;

    if let Some(address) = args.p4runtime {
        let tls = super::sim::server_tls(&config.sim.tls)?;
        let at = embedded.switch().serve(address, tls, &tasks).await?;
        tracing::info!(at = %at, "P4Runtime is served");
    }
    let parts = Parts::default().with("switch", embedded.switch().status());
    let parts = super::controller::controller_part(parts, &controller);
    let parts = super::broker::broker_part(parts, &broker);
    let parts = super::broker::dtls_part(parts, dtls.as_ref());
    let at = args.status.or(config.status);
    match status::serve(at.unwrap_or(DEFAULT_STATUS), parts, tasks.shutdown()).await {
        Ok(()) => {}
        // Asked for, it must work; by default a second `up` on this machine may live without it.
        Err(error) if at.is_some() => return Err(error),
        Err(error) => tracing::warn!("{error:#}"),
    }
    // Until the program is loaded the switch drops everything.
    let shutdown = tasks.shutdown();
    tokio::select! {
        installed = broker.wait_until_installed() => {
            installed?;
            tracing::info!(listen = %clients, "ready for MQTT-SN clients");
        }
        () = shutdown.cancelled() => {}
    }
    tasks.finish().await
}
