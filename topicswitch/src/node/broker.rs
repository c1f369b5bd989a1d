//! A broker in this process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use broker::auth::Keys;
use broker::driver::{DatagramSocket, Driver, Handle, IoConfig, UdpSockets};
use broker::store::Store;
use broker::{Broker, Config, Policy, Restore};
use offload::BrokerEnd;
use tokio::sync::mpsc;

use super::Tasks;
use crate::config::StoreConfig;
use crate::contract::{Certificates, ContractServer};

/// How often the broker is asked while something waits for the network.
const POLL: Duration = Duration::from_millis(5);

/// A running broker.
pub struct BrokerNode {
    /// Answers questions.
    pub handle: Handle,
    /// The clients' keys; what replaces them here counts from then on.
    pub keys: Keys,
    /// Takes the broker's end of each controller's link.
    pub links: mpsc::Sender<BrokerEnd>,
}

impl BrokerNode {
    /// Starts a broker behind `socket`.
    ///
    /// # Errors
    /// A configuration that the broker refuses.
    pub fn start<S>(
        config: Config,
        store: &StoreConfig,
        socket: S,
        tasks: &Tasks,
    ) -> anyhow::Result<Self>
    where
        S: DatagramSocket + 'static,
    {
        Self::start_with(config, store, tasks, |broker, links| {
            Driver::new(broker, socket, links)
        })
    }

    /// Starts a broker that listens at UDP addresses of this machine. Returns where, ports filled in.
    ///
    /// # Errors
    /// A configuration that the broker refuses, or an address that cannot be used.
    pub fn listen(
        config: Config,
        store: &StoreConfig,
        listen: &[SocketAddr],
        io: &IoConfig,
        tasks: &Tasks,
    ) -> anyhow::Result<(Self, Vec<SocketAddr>)> {
        let sockets = UdpSockets::bind(listen, io, &config.advertise)?;
        let local = sockets.local_addrs().to_vec();
        let node = Self::start_with(config, store, tasks, |broker, links| {
            Driver::udp(broker, sockets, links)
        })?;
        Ok((node, local))
    }

    fn start_with(
        mut config: Config,
        store: &StoreConfig,
        tasks: &Tasks,
        driver: impl FnOnce(Broker, mpsc::Receiver<BrokerEnd>) -> (Driver, Handle),
    ) -> anyhow::Result<Self> {
        if config.offload.first_generation == 0 {
            // A tag that somebody made up, or one from before a restart, should name no generation
            // of this run.
            config.offload.first_generation = rand::random();
        }
        let keys = match &config.auth.keys {
            Some(path) => Keys::load(path)?,
            None => Keys::default(),
        };
        let policy = Policy::new(&config, keys.clone());
        let (broker, store) = open(config, policy, store)?;
        let (links, accepted) = mpsc::channel(1);
        let (driver, handle) = driver(broker, accepted);
        if let Some(store) = store {
            driver.set_store(store);
        }
        let shutdown = tasks.shutdown();
        tasks.spawn("broker", async move { Ok(driver.run(shutdown).await?) });
        Ok(BrokerNode {
            handle,
            keys,
            links,
        })
    }

    /// Waits until a controller is linked and the network holds what the broker wants.
    ///
    /// # Errors
    /// The broker stops first.
    pub async fn wait_until_installed(&self) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(POLL);
        loop {
            tick.tick().await;
            let status = self.handle.status().await?;
            if status.controller.is_some() && status.installed == status.revision {
                return Ok(());
            }
        }
    }

    /// Serves the contract at `address`, for controllers in other processes. Returns where.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve_contract(
        &self,
        address: SocketAddr,
        certificates: Option<Certificates>,
        tasks: &Tasks,
    ) -> anyhow::Result<SocketAddr> {
        let server = ContractServer::bind(address, certificates).await?;
        let local = server.local_addr();
        let (links, shutdown) = (self.links.clone(), tasks.shutdown());
        tasks.spawn("contract", async move {
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                served = server.serve(links) => served,
            }
        });
        Ok(local)
    }
}

/// A new broker, or the one that the store holds.
fn open(
    config: Config,
    policy: Policy,
    store: &StoreConfig,
) -> anyhow::Result<(Broker, Option<Store>)> {
    let now = Instant::now();
    let access = Box::new(policy);
    let Some(directory) = &store.directory else {
        let broker = Broker::with_access(config, access, now).context("broker")?;
        return Ok((broker, None));
    };
    let mut restore = Restore::new(config, access, now).context("broker")?;
    let store = Store::open(directory, store.sync, |key, value| {
        restore.entry(key, value)
    })?;
    let broker = restore.finish();
    let status = broker.status();
    tracing::info!(
        directory = %directory.display(),
        sessions = status.sessions,
        topics = status.topics,
        retained = status.retained,
        milliseconds = now.elapsed().as_millis() as u64,
        "the store is open"
    );
    Ok((broker, Some(store)))
}
