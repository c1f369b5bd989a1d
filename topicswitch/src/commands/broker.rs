//! `topicswitch broker`

use crate::cli::BrokerArgs;
use crate::config::Config;
use crate::contract::Certificates;
use crate::node::{BrokerNode, DtlsNode, Hangup, Tasks, reload_on_hangup};
use crate::status::{self, Parts};

/// Runs the broker alone until shutdown.
///
/// # Errors
/// What cannot be bound, or the socket's end.
pub async fn run(args: BrokerArgs, config: Config, tasks: Tasks) -> anyhow::Result<()> {
    let (hangup, file) = (Hangup::listen()?, config.clone());
    let listen = match args.listen.is_empty() {
        true => config.listen,
        false => args.listen,
    };
    let mut io = config.io;
    io.workers = args.workers.unwrap_or(io.workers);
    let mut store = config.store;
    store.directory = args.store.or(store.directory);
    let mut dtls = config.dtls;
    dtls.listen = args.dtls_listen.or(dtls.listen);
    dtls.certificate = args.dtls_cert.or(dtls.certificate);
    dtls.private_key = args.dtls_key.or(dtls.private_key);
    dtls.client_ca = args.dtls_client_ca.or(dtls.client_ca);
    dtls.check()?;
    let mut broker = config.broker;
    broker.auth.keys = args.keys.or(broker.auth.keys);
    let contract = args
        .offload
        .map(|address| address.unwrap_or(config.contract));
    broker.offload.enabled |= contract.is_some();
    let contract = match broker.offload.enabled {
        true => Some(contract.unwrap_or(config.contract)),
        false => None,
    };
    let certificates = match contract {
        Some(contract) => {
            let tls = args.contract_tls.over(config.contract_tls);
            let files = tls.files_for(&contract.to_string())?;
            files.map(Certificates::load).transpose()?
        }
        None => None,
    };

    let (node, local) = BrokerNode::listen(broker, &store, &listen, &io, &tasks)?;
    let local = local.iter().map(ToString::to_string).collect::<Vec<_>>();
    let local = local.join(" and ");
    let dtls = DtlsNode::start(&dtls, &node, &tasks).await?;
    if let Some(contract) = contract {
        let tls = certificates.is_some();
        let at = node
            .serve_contract(contract, certificates.clone(), &tasks)
            .await?;
        tracing::info!(listen = local, contract = %at, tls, "broker ready; a controller may connect");
    } else {
        tracing::info!(listen = local, "broker ready");
    }
    reload_on_hangup(hangup, file, &node, certificates, &tasks);
    if let Some(address) = args.status.or(config.status) {
        let parts = broker_part(Parts::default(), &node);
        let parts = dtls_part(parts, dtls.as_ref());
        status::serve(address, parts, tasks.shutdown()).await?;
    }
    tasks.finish().await
}

/// What the broker says of itself.
pub fn broker_part(parts: Parts, node: &BrokerNode) -> Parts {
    let handle = node.handle.clone();
    let explaining = handle.clone();
    let parts = parts.explaining("broker", move |topic| {
        let handle = explaining.clone();
        async move {
            match handle.explain(topic).await {
                Ok(account) => serde_json::json!(account),
                Err(gone) => serde_json::json!({ "error": gone.to_string() }),
            }
        }
    });
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
            let io = serde_json::json!(handle.io());
            let store = serde_json::json!(handle.store());
            let asked = asked.map(|mut part| {
                part["io"] = io;
                part["store"] = store;
                part
            });
            asked.unwrap_or_else(|gone| serde_json::json!({ "error": gone.to_string() }))
        }
    })
}

/// What DTLS says of itself, where there is DTLS.
pub fn dtls_part(parts: Parts, node: Option<&DtlsNode>) -> Parts {
    let Some(node) = node.cloned() else {
        return parts;
    };
    parts.with("dtls", move || {
        std::future::ready(serde_json::json!(node.stats()))
    })
}
