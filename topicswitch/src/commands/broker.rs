//! `topicswitch broker`

use anyhow::Context;
use tokio::net::UdpSocket;

use crate::cli::BrokerArgs;
use crate::config::Config;
use crate::node::{BrokerNode, Tasks};
use crate::status::{self, Parts};

/// Runs the broker alone until shutdown.
///
/// # Errors
/// What cannot be bound, or the socket's end.
pub async fn run(args: BrokerArgs, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    let listen = args.listen.unwrap_or(config.listen);
    let mut broker = config.broker;
    let contract = args
        .offload
        .map(|address| address.unwrap_or(config.contract));
    broker.offload.enabled |= contract.is_some();
    let offload = broker.offload.enabled;

    let socket = UdpSocket::bind(listen)
        .await
        .with_context(|| format!("cannot listen for MQTT-SN at {listen}"))?;
    let local = socket.local_addr()?;
    let node = BrokerNode::start(broker, socket, &tasks)?;
    if offload {
        let at = node
            .serve_contract(contract.unwrap_or(config.contract), &tasks)
            .await?;
        tracing::info!(listen = %local, contract = %at, "broker ready; a controller may connect");
    } else {
        tracing::info!(listen = %local, "broker ready");
    }
    if let Some(address) = args.status.or(config.status) {
        status::serve(
            address,
            broker_part(Parts::default(), &node),
            tasks.shutdown(),
        )
        .await?;
    }
    tasks.finish().await
}

/// What the broker says of itself.
pub fn broker_part(parts: Parts, node: &BrokerNode) -> Parts {
    let handle = node.handle.clone();
    parts.with("broker", move || {
        let handle = handle.clone();
        async move {
            let asked = handle
                .look(|broker| {
                    serde_json::json!({
                        "state": broker.status(),
                        "counters": broker.stats(),
                        "topics": broker.topics(),
                    })
                })
                .await;
            asked.unwrap_or_else(|gone| serde_json::json!({ "error": gone.to_string() }))
        }
    })
}
