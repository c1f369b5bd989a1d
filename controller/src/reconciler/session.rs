//! From one connection to the switch to its loss: as a standby, then as primary.

use std::sync::Arc;
use std::time::Duration;

use offload::{ControllerEnd, FromBroker, FromController};
use tokio::sync::mpsc;

use super::primary::Primary;
use super::waiting::{answering, now, receive, some, until};
use super::{Connector, FIRST_BACKOFF, LAST_BACKOFF, LinkError};
use crate::config::Config;
use crate::device::Device;
use crate::standby::Standby;
use crate::status::{Mastership, Query};
use crate::target::{Event, Target, TargetError};

/// What ended a connection.
pub(super) enum Ended {
    /// The switch did, or the network.
    Lost(TargetError),
    /// This controller is to bid with that election id.
    TakeOver(u128),
}

impl From<TargetError> for Ended {
    fn from(error: TargetError) -> Self {
        Ended::Lost(error)
    }
}

/// What a standby hears.
enum Heard {
    Switch(Option<Event>),
    Broker(Option<FromBroker>),
    Linked(Result<ControllerEnd, LinkError>),
    Due,
}

/// The time from one connection to its loss.
pub(super) struct Session<'a, T> {
    pub(super) config: Arc<Config>,
    pub(super) address: String,
    pub(super) election_id: u128,
    pub(super) target: Arc<T>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) queries: &'a mut mpsc::Receiver<Query>,
    pub(super) standby: &'a mut Standby,
}

pub(super) fn stream_ended() -> TargetError {
    TargetError::Lost("its stream has ended".into())
}

impl<T: Target> Session<'_, T> {
    /// Ends with what ended the connection.
    pub(super) async fn run(&mut self, connector: &mut impl Connector) -> Ended {
        self.standby.start_over();
        loop {
            if let Err(ended) = self.wait_until_primary(connector).await {
                return ended;
            }
            tracing::info!(
                switch = self.address,
                election_id = self.election_id,
                "primary"
            );
            let work = self.start();
            let device = match work.await {
                Ok(device) => device,
                Err(TargetError::NotPrimary(why)) => {
                    self.standby.displaced();
                    tracing::warn!(switch = self.address, why, "not primary after all");
                    continue;
                }
                Err(error) => return error.into(),
            };
            let target = self.target.clone();
            let mut primary =
                Primary::new(self.config.clone(), self.address.clone(), target, device);
            let ended = primary.run(&mut self.events, self.queries, connector).await;
            match (primary.has_led(), &ended) {
                (true, _) => self.standby.settled(),
                (false, Ok(_)) => self.standby.displaced(),
                (false, Err(_)) => {}
            }
            match ended {
                Ok((highest, vacant)) => {
                    tracing::warn!(switch = self.address, "another controller took over");
                    self.standby.start_over();
                    self.standby.backup(now(), highest, vacant);
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn wait_until_primary(&mut self, connector: &mut impl Connector) -> Result<(), Ended> {
        // Tells who leads: see `Standby`.
        let mut watch: Option<ControllerEnd> = None;
        let mut linking = None;
        let mut pause = Duration::ZERO;
        loop {
            if self.standby.watches() && watch.is_none() && linking.is_none() {
                let (wait, connect) = (pause, connector.connect());
                pause = (pause * 2).clamp(FIRST_BACKOFF, LAST_BACKOFF);
                linking = Some(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    connect.await
                }));
            }
            let deadline = self.standby.next_deadline();
            let hearing = async {
                tokio::select! {
                    biased;
                    event = self.events.recv() => Heard::Switch(event),
                    told = receive(&mut watch) => Heard::Broker(told),
                    link = some(&mut linking) => {
                        linking = None;
                        Heard::Linked(link)
                    }
                    () = until(deadline) => Heard::Due,
                }
            };
            let why = self.standby.describe(self.election_id);
            let mastership = Mastership::Backup(why);
            let heard = answering(self.queries, &self.address, mastership, hearing).await;
            match heard {
                Heard::Switch(Some(Event::Primary)) => return Ok(()),
                Heard::Switch(Some(Event::Backup { highest, vacant })) => {
                    self.standby.backup(now(), highest, vacant);
                    let why = self.standby.describe(self.election_id);
                    tracing::info!(switch = self.address, why, "backup");
                }
                Heard::Switch(Some(_)) => {}
                Heard::Switch(None) => return Err(stream_ended().into()),
                Heard::Broker(Some(FromBroker::Led(led))) => self.standby.led(now(), Some(led)),
                Heard::Broker(Some(_)) => {}
                Heard::Broker(None) => {
                    watch = None;
                    self.standby.led(now(), None);
                }
                Heard::Linked(Ok(link)) => {
                    pause = FIRST_BACKOFF;
                    let controller = self.config.name.clone();
                    if link.tx.send(FromController::Standby { controller }).is_ok() {
                        watch = Some(link);
                    }
                }
                Heard::Linked(Err(error)) => {
                    let error = crate::target::error_chain(&*error);
                    if self.standby.unlinked(error.clone()) {
                        tracing::warn!(%error, "a standby has no link to the broker; it tries again");
                    }
                }
                Heard::Due => {}
            }
            if let Some(election_id) = self.standby.due(now()) {
                return Err(Ended::TakeOver(election_id));
            }
        }
    }

    /// Loads the program and reads back what the switch holds.
    async fn start(&mut self) -> Result<Device, TargetError> {
        let mastership = Mastership::Primary;
        let target = self.target.clone();
        let reading = async {
            let loaded = target.prepare().await?;
            if loaded {
                tracing::info!("the program is loaded");
            }
            target.read().await
        };
        let rows = answering(self.queries, &self.address, mastership, reading).await?;
        tracing::info!(rows = rows.len(), "the switch is read back");
        let mut device = Device::new(self.config.clone(), self.target.sizes());
        device.set_election_id(self.election_id);
        device.adopt(rows);
        Ok(device)
    }
}
