//! The demo's network: a switch with a UDP port for clients and the broker behind it, in this
//! process; controllers as processes of their own, so that they can be killed for real.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mqttsn::types::Qos;
use tokio_util::sync::CancellationToken;

use crate::commands::broker::broker_part;
use crate::config::{SimConfig, StoreConfig};
use crate::explain::Explanation;
use crate::node::{BrokerNode, EmbeddedSwitch, Tasks};
use crate::status::{self, Parts};

/// Switch and broker.
pub(super) struct Lab {
    /// Where clients send to.
    pub clients: SocketAddr,
    p4runtime: SocketAddr,
    contract: SocketAddr,
    broker: BrokerNode,
    /// Where it says what it does.
    status: SocketAddr,
    _switch: EmbeddedSwitch,
    tasks: Tasks,
}

impl Lab {
    /// Starts them on free ports of the loopback interface.
    ///
    /// # Errors
    /// Whatever cannot be started.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let tasks = Tasks::new(CancellationToken::new());
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let mut embedded = EmbeddedSwitch::start(any, &[], &SimConfig::default())?;
        let mut config = broker::Config::default();
        config.offload.enabled = true;
        let socket = embedded.take_broker_socket(&mut config)?;
        let broker = BrokerNode::start(config, &StoreConfig::default(), socket, &tasks)?;
        let status = free_address()?;
        let parts = broker_part(Parts::default(), &broker);
        status::serve(status, parts, tasks.shutdown()).await?;
        Ok(Lab {
            clients: embedded.clients(),
            p4runtime: embedded.switch().serve(any.into(), None, &tasks).await?,
            contract: broker.serve_contract(any.into(), None, &tasks).await?,
            broker,
            status,
            _switch: embedded,
            tasks,
        })
    }

    /// The broker's counters.
    ///
    /// # Errors
    /// The broker has stopped.
    pub(super) async fn broker_stats(&self) -> anyhow::Result<broker::Stats> {
        Ok(self.broker.handle.stats().await?)
    }

    /// Waits until the switch holds what the broker wants; with `offload`, until every topic that
    /// has subscribers bypasses the broker at QoS 0 and the lease is granted.
    ///
    /// # Errors
    /// It takes longer than `patience`.
    pub(super) async fn wait_until_in_force(
        &self,
        patience: Duration,
        offload: bool,
    ) -> anyhow::Result<()> {
        let grants_before = self.broker_stats().await?.grants;
        let deadline = Instant::now() + patience;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            let (status, topics, stats) = self
                .broker
                .handle
                .look(|broker| (broker.status(), broker.topics(), broker.stats().clone()))
                .await?;
            let installed = status.controller.is_some() && status.installed == status.revision;
            let bypass = topics
                .iter()
                .filter(|topic| !topic.subscribers.is_empty())
                .all(|topic| topic.is_wholly_offloaded(Qos::Zero));
            // The second grant after the first reading of the clock: the lease is running.
            if installed && (!offload || (bypass && stats.grants >= grants_before + 2)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the switch does not hold what the broker wants after {patience:?} \
                     (revision {} of {}, controller {:?})",
                    status.installed,
                    status.revision,
                    status.controller
                );
            }
        }
    }

    /// Stops switch and broker.
    ///
    /// # Errors
    /// A part that failed meanwhile.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.tasks.shutdown().cancel();
        self.tasks.finish().await
    }
}

/// A controller in a process of its own; killed when dropped.
pub(super) struct Controller {
    child: Child,
    status: SocketAddr,
}

/// Where nobody listens on the loopback interface.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Controller {
    /// Starts a controller that offloads, or one that only bridges.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(super) fn start(lab: &Lab, election_id: u64, offload: bool) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot find this program's own file")?;
        let status = free_address()?;
        let mut command = Command::new(binary);
        command
            .args(["--log", "error", "controller"])
            .args(["--switch", &lab.p4runtime.to_string()])
            .args(["--broker", &lab.contract.to_string()])
            .args(["--election-id", &election_id.to_string()])
            .args(["--ports", EmbeddedSwitch::PORTS])
            .args(["--status", &status.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if !offload {
            command.arg("--no-offload");
        }
        let child = command.spawn().context("cannot start a controller")?;
        Ok(Controller { child, status })
    }

    /// What it and the broker say of a topic, to somebody who asks as `topicswitch explain` does.
    ///
    /// # Errors
    /// One of them does not answer.
    pub(super) async fn explain(&self, lab: &Lab, topic: &str) -> anyhow::Result<Explanation> {
        Explanation::ask(topic, &[lab.status, self.status]).await
    }

    /// SIGKILL: no goodbye of any kind.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub(super) fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()
    }

    /// Ends a controller that is no longer needed, and waits for its end.
    ///
    /// # Errors
    /// The process cannot be killed or waited for.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        tokio::task::spawn_blocking(move || self.child.wait().map(drop)).await??;
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
