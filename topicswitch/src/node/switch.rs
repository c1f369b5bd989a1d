//! A software switch in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use serde_json::{Value, json};
use sim::ports::{DropReason, Port};
use sim::runtime::{PortReport, RunningRuntime, Runtime, RuntimeConfig};
use sim::server::{P4RuntimeService, ServerTls, connect_in_memory, serve_tcp, serve_tls};
use tokio::net::TcpListener;
use tonic::transport::Channel;

use super::{Program, Tasks};

/// A running switch. It stops when the last clone of its parts is dropped.
pub struct SwitchNode {
    running: Arc<RunningRuntime>,
}

impl SwitchNode {
    /// Starts a switch with these ports (number and port). It drops everything until somebody
    /// pushes a program.
    ///
    /// # Errors
    /// Ports that do not go together, or no thread to run them.
    pub fn start(config: RuntimeConfig, ports: Vec<(u32, Box<dyn Port>)>) -> anyhow::Result<Self> {
        let running = Runtime::new(config, ports)?.start()?;
        Ok(SwitchNode {
            running: Arc::new(running),
        })
    }

    /// Starts a switch that has its program before the first frame: a capture would otherwise have been
    /// read by then.
    ///
    /// # Errors
    /// As [`SwitchNode::start`], and what the switch says against the program.
    pub async fn start_with(
        program: Program,
        config: RuntimeConfig,
        ports: Vec<(u32, Box<dyn Port>)>,
    ) -> anyhow::Result<Self> {
        let device_id = config.device.device_id;
        let runtime = Runtime::new(config, ports)?;
        load(connect_in_memory(runtime.service()), program, device_id).await?;
        Ok(SwitchNode {
            running: Arc::new(runtime.start()?),
        })
    }

    /// The P4Runtime service.
    pub fn service(&self) -> P4RuntimeService {
        self.running.service()
    }

    /// A channel to the P4Runtime service that uses no socket.
    pub fn channel(&self) -> Channel {
        connect_in_memory(self.service())
    }

    /// Serves P4Runtime at `address`, over TLS if it is given. Returns where.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(
        &self,
        address: SocketAddr,
        tls: Option<ServerTls>,
        tasks: &Tasks,
    ) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve P4Runtime at {address}"))?;
        let local = listener.local_addr()?;
        let (service, shutdown) = (self.service(), tasks.shutdown());
        tasks.spawn("P4Runtime server", async move {
            let shutdown = shutdown.cancelled_owned();
            match tls {
                Some(tls) => serve_tls(service, listener, &tls, shutdown).await?,
                None => serve_tcp(service, listener, shutdown).await?,
            }
            Ok(())
        });
        Ok(local)
    }

    /// What the switch says of itself.
    pub fn status(&self) -> impl Fn() -> std::future::Ready<Value> + Send + Sync + 'static {
        let running = self.running.clone();
        move || std::future::ready(describe(&running))
    }
}

/// Sets the program of a switch.
async fn load(channel: Channel, program: Program, device_id: u64) -> anyhow::Result<()> {
    let mut client = p4runtime::client::Client::new(channel, device_id);
    // The lowest election id there is: any controller that comes is primary.
    let stream = client
        .open_stream(1, None)
        .await
        .context("cannot load the program")?;
    client
        .set_forwarding_pipeline_config(
            Action::VerifyAndCommit,
            program.p4info.message().clone(),
            program.json,
            0,
        )
        .await
        .context("the program was refused")?;
    drop(stream);
    Ok(())
}

fn describe(running: &RunningRuntime) -> Value {
    let ports: serde_json::Map<_, _> = running
        .ports()
        .iter()
        .map(|port| (port.number.to_string(), port_status(port)))
        .collect();
    json!({
        "uptime_s": running.now().as_secs(),
        "packets": switch_packets(running),
        "ports": ports,
    })
}

fn port_status(port: &PortReport) -> Value {
    let counters = &port.counters;
    let counts = counters.read();
    let drops = |of: &dyn Fn(DropReason) -> u64| -> serde_json::Map<_, _> {
        let counted = DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), of(*reason)));
        counted
            .filter(|(_, n)| *n > 0)
            .map(|(name, n)| (name.to_owned(), n.into()))
            .collect()
    };
    json!({
        "spec": port.spec.to_string(),
        "rx_frames": counts.rx_frames,
        "rx_bytes": counts.rx_bytes,
        "rx_drops": drops(&|reason| counters.rx_drops(reason)),
        "tx_frames": counts.tx_frames,
        "tx_bytes": counts.tx_bytes,
        "tx_drops": drops(&|reason| counters.tx_drops(reason)),
    })
}

fn switch_packets(running: &RunningRuntime) -> Value {
    let packets = running.switch().stats();
    let controllers = running.device().stats();
    json!({
        "received": packets.received,
        "emitted": packets.emitted,
        "dropped_no_pipeline": packets.dropped_no_pipeline,
        "dropped_ingress": packets.dropped_ingress,
        "dropped_egress": packets.dropped_egress,
        "dropped_no_group": packets.dropped_no_group,
        "dropped_no_session": packets.dropped_no_session,
        "controller_streams": controllers.streams,
        "packet_ins": controllers.packet_ins,
        "packet_ins_dropped": controllers.packet_ins_dropped,
        "packet_outs": controllers.packet_outs,
        "packet_outs_dropped": controllers.packet_outs_dropped,
        "updates": controllers.updates,
    })
}
