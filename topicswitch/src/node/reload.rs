//! SIGHUP: the configuration file and the key file are read again, and what can change while the
//! broker runs does (see `broker::Broker::reload`). What cannot is said in the log, and so is a file
//! that is wrong: then everything stays as it is.

use anyhow::Context;
use broker::Policy;
use broker::auth::Keys;
use broker::driver::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{BrokerNode, Tasks};
use crate::config::Config;
use crate::contract::Certificates;

/// Reads a broker's configuration again.
struct Reloader {
    /// As the file said last.
    last: Config,
    handle: Handle,
    keys: Keys,
}

/// SIGHUP, listened to. To be had before anything is served: until then the signal ends the process.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Hangup(signal(SignalKind::hangup()).context("SIGHUP")?))
    }
}

/// Reloads at each SIGHUP until shutdown. `config` is as its file said it, without flags; what the
/// contract is served with is read again too.
pub fn reload_on_hangup(
    Hangup(mut hangup): Hangup,
    config: Config,
    node: &BrokerNode,
    certificates: Option<Certificates>,
    tasks: &Tasks,
) {
    let shutdown = tasks.shutdown();
    let mut reloader = Reloader {
        last: config,
        handle: node.handle.clone(),
        keys: node.keys.clone(),
    };
    tasks.spawn("reload", async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = hangup.recv() => {}
            }
            if let Some(certificates) = &certificates {
                match certificates.reload() {
                    Ok(()) => tracing::info!("the contract's certificates were read again"),
                    Err(error) => tracing::error!("the contract's certificates stay: {error}"),
                }
            }
            match reloader.reload().await {
                Ok(stay) if stay.is_empty() => tracing::info!("the configuration was read again"),
                Ok(stay) => tracing::warn!(
                    needs_restart = stay.join(", "),
                    "the configuration was read again; some of it changes only with a restart"
                ),
                Err(error) => tracing::error!("nothing changes: {error:#}"),
            }
        }
    });
}

impl Reloader {
    /// What has changed in the file but cannot while the broker runs.
    async fn reload(&mut self) -> anyhow::Result<Vec<&'static str>> {
        let file = self.last.file.clone();
        let file = file.context("there is no configuration file: start with --config FILE")?;
        let config = Config::load(&file)?;
        let mut next = config.broker.clone();
        let mut stay = Vec::new();
        let Config { broker, .. } = &self.last;
        let (offload_changed, group_changed) = (
            next.offload != broker.offload,
            next.advertise != broker.advertise,
        );
        if offload_changed {
            stay.push("broker.offload");
        }
        let elsewhere = Config {
            broker: broker.clone(),
            ..config.clone()
        };
        if elsewhere != self.last {
            stay.push("what is not under broker");
        }
        let running = self.handle.look(|broker| broker.config().clone()).await?;
        // Flags and the surroundings have changed it since the file was read.
        next.offload = running.offload;
        if next.auth.keys == broker.auth.keys {
            next.auth.keys = running.auth.keys;
        }
        let keys = match &next.auth.keys {
            Some(path) => Keys::load(path)?,
            None => Keys::default(),
        };
        let policy = Box::new(Policy::new(&next, self.keys.clone()));
        // The keys first: who is reviewed is reviewed by them.
        self.keys.replace(&keys);
        let reload = move |broker: &mut broker::Broker, now| broker.reload(now, next, policy);
        let fixed = self.handle.change(reload).await??;
        stay.extend(fixed.into_iter().filter(|_| group_changed));
        self.last = config;
        Ok(stay)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use broker::Broker;
    use broker::driver::{ChannelSocket, Driver};
    use tokio::sync::mpsc;

    use super::*;

    struct Fixture {
        _directory: tempfile::TempDir,
        file: PathBuf,
        reloader: Reloader,
        _network: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("topicswitch.yaml");
            std::fs::write(&file, text).unwrap();
            let config = Config::load(&file).unwrap();
            let (network, from_network) = mpsc::channel(1);
            let (to_network, _) = mpsc::channel(1);
            let local = SocketAddr::from(([127, 0, 0, 1], 1884));
            let socket = ChannelSocket::new(local, from_network, to_network);
            let now = std::time::Instant::now();
            let broker = Broker::new(config.broker.clone(), now).unwrap();
            let (_links, accepted) = mpsc::channel(1);
            let (_driver, handle) = Driver::new(broker, socket, accepted);
            Fixture {
                _directory: directory,
                file,
                reloader: Reloader {
                    last: config,
                    handle,
                    keys: Keys::default(),
                },
                _network: network,
            }
        }

        async fn reload(&mut self, text: &str) -> anyhow::Result<Vec<&'static str>> {
            std::fs::write(&self.file, text).unwrap();
            self.reloader.reload().await
        }

        async fn predefined(&self) -> Vec<u16> {
            let look =
                |broker: &Broker| broker.config().predefined_topics.keys().copied().collect();
            self.reloader.handle.look(look).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_can_change_does_and_what_cannot_is_named() {
        let mut fixture = Fixture::new("broker: {predefined_topics: {1: a}}");
        let stay = fixture
            .reload("broker: {predefined_topics: {2: b}}")
            .await
            .unwrap();
        assert!(stay.is_empty(), "{stay:?}");
        assert_eq!(fixture.predefined().await, [2]);
        let stay = fixture
            .reload("{contract: '127.0.0.1:1', broker: {offload: {enabled: true}, advertise: {group: '225.1.1.1:1'}}}")
            .await
            .unwrap();
        assert_eq!(
            stay,
            [
                "broker.offload",
                "what is not under broker",
                "advertise.group and advertise.hops"
            ]
        );
        // Said once; the file has not changed since.
        let text = std::fs::read_to_string(&fixture.file).unwrap();
        assert!(fixture.reload(&text).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_wrong_file_changes_nothing() {
        let mut fixture = Fixture::new("broker: {predefined_topics: {1: a}}");
        let wrong = "broker: {predefined_topics: {2: 'b/#'}}";
        let error = fixture.reload(wrong).await.unwrap_err();
        assert!(error.to_string().contains("predefined topic 2"), "{error}");
        assert_eq!(fixture.predefined().await, [1]);
        let missing = "broker: {predefined_topics: {2: b}, auth: {keys: /nowhere/keys}}";
        let error = fixture.reload(missing).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/keys"), "{error}");
        assert_eq!(fixture.predefined().await, [1]);
    }

    #[tokio::test]
    async fn keys_that_are_added_count_at_once_for_all_who_share_them() {
        let mut fixture = Fixture::new("{}");
        let shared = fixture.reloader.keys.clone();
        let keys = fixture.file.with_file_name("keys");
        std::fs::write(&keys, format!("pump:{}\n", "00".repeat(16))).unwrap();
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let text = format!("broker: {{auth: {{keys: '{}'}}}}", keys.display());
        fixture.reload(&text).await.unwrap();
        assert!(shared.contains("pump"));
    }
}
