//! A controller that is not primary: when it takes over, and what it says to the broker meanwhile. The
//! switch is in memory, and time is virtual.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use controller::target::Event;
use controller::target::fake::FakeSwitch;
use controller::{Config, Controller, ControllerError, Handle, LinkError, Mastership, Takeover};
use offload::{BrokerEnd, FromBroker, FromController, Intent, Revision};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

/// A controller that another one keeps from being primary.
struct Backup {
    switch: FakeSwitch,
    handle: Handle,
    links: mpsc::UnboundedReceiver<BrokerEnd>,
    task: JoinHandle<Result<(), ControllerError>>,
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backup {
    /// The highest election id is 9, whoever has it.
    async fn start(takeover: Takeover, vacant: bool) -> Self {
        let config = Config {
            name: "standby".into(),
            ports: vec![1, 2],
            takeover,
            takeover_ms: 3000,
            ..Config::default()
        };
        let switch = FakeSwitch::default();
        switch.state().contested = true;
        let (controller, handle) = Controller::of(config, switch.clone()).unwrap();
        let (offer, links) = mpsc::unbounded_channel();
        let connector = move || {
            let (broker, end) = offload::link();
            let sent = offer.send(broker).map(|()| end);
            std::future::ready(sent.map_err(|_| LinkError::from("the test is over")))
        };
        let task = tokio::spawn(controller.run(connector, CancellationToken::new()));
        let backup = Backup {
            switch,
            handle,
            links,
            task,
        };
        // Until it is connected nobody hears.
        backup.until(|why| why.contains("bids with")).await;
        backup.hears(vacant).await;
        backup
    }

    async fn hears(&self, vacant: bool) {
        let highest = Some(9);
        let event = Event::Backup { highest, vacant };
        self.switch.report(event).await;
    }

    /// Waits until it waits for that reason.
    async fn until(&self, is: impl Fn(&str) -> bool) {
        let asking = async {
            loop {
                let status = self.handle.status().await.unwrap();
                if matches!(&status.mastership, Mastership::Backup(why) if is(why)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap();
    }

    /// The next link, and its first word.
    async fn link(&mut self) -> (BrokerEnd, FromController) {
        let linking = async {
            let mut link = self.links.recv().await.unwrap();
            let word = link.rx.recv().await.unwrap();
            (link, word)
        };
        tokio::time::timeout(PATIENCE, linking).await.unwrap()
    }

    fn bid(&self) -> u128 {
        self.switch.state().election_id
    }

    /// Waits until it bids higher than the highest.
    async fn raised(&self) {
        let waiting = async {
            while self.bid() != 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    }
}

fn standby() -> FromController {
    FromController::Standby {
        controller: "standby".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn it_takes_over_when_nobody_is_primary_and_says_so_to_the_broker() {
    let mut backup = Backup::start(Takeover::WhenVacant, true).await;
    let (_watch, word) = backup.link().await;
    assert_eq!(word, standby());
    backup.raised().await;
    backup
        .until(|why| why.contains("bids with election id 10"))
        .await;
    backup.switch.report(Event::Primary).await;
    let (link, word) = backup.link().await;
    let hello = FromController::Hello {
        controller: "standby".into(),
        election_id: 10,
        reachable: Vec::new(),
    };
    assert_eq!(word, hello);
    let intent = Intent::from_changes(Revision(3), []);
    link.tx.send(FromBroker::Snapshot(intent)).unwrap();
    let mut link = link;
    while link.rx.recv().await.unwrap()
        != (FromController::Installed {
            revision: Revision(3),
        })
    {}
}

#[tokio::test(start_paused = true)]
async fn it_takes_over_when_the_broker_says_that_nobody_leads() {
    let mut backup = Backup::start(Takeover::WhenVacant, false).await;
    let (watch, word) = backup.link().await;
    assert_eq!(word, standby());
    watch.tx.send(FromBroker::Led(true)).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(backup.bid(), 0, "somebody leads");
    // Gone for a moment, and back.
    watch.tx.send(FromBroker::Led(false)).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    watch.tx.send(FromBroker::Led(true)).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(backup.bid(), 0, "it was back in time");
    watch.tx.send(FromBroker::Led(false)).unwrap();
    backup.raised().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_broker_to_ask_it_leaves_a_primary_alone() {
    let mut backup = Backup::start(Takeover::WhenVacant, false).await;
    let (watch, _) = backup.link().await;
    watch.tx.send(FromBroker::Led(false)).unwrap();
    drop(watch);
    backup.links.close();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(backup.bid(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_told_to_wait_waits() {
    let backup = Backup::start(Takeover::Never, true).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(backup.bid(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_told_to_lead_takes_over_from_a_primary() {
    let backup = Backup::start(Takeover::Always, false).await;
    backup.raised().await;
}
