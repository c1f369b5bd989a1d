//! The reconciler against a switch in memory: links, leases, activity, queries. Time is virtual.
#![allow(clippy::unwrap_used)] // Helpers outside of test functions.

mod bench;

use std::net::IpAddr;
use std::time::Duration;

use bench::{Bench, answer, call, config, mac, normal, port, topic};
use controller::tables::{Key, Value, smac};
use controller::target::Event;
use controller::target::fake::FakeSwitch;
use controller::{Config, Controller, Handle, LinkError, Mastership, Takeover, TopicState};
use offload::{
    Activity, BrokerEnd, Change, ControllerEnd, Delta, FromBroker, FromController, Generation,
    Intent, Revision, SessionId, ShareMember, TopicIndex,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_millis(300);

/// A running controller with its switch, and the broker's side of it.
struct Running {
    switch: FakeSwitch,
    handle: Handle,
    links: mpsc::UnboundedReceiver<BrokerEnd>,
    link: Option<BrokerEnd>,
    intent: Intent,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), controller::ControllerError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

impl Running {
    fn start(config: Config) -> Self {
        let switch = FakeSwitch::default();
        let (controller, handle) = Controller::of(config, switch.clone()).unwrap();
        let (offer, links) = mpsc::unbounded_channel();
        let connector = move || {
            let (broker, controller) = offload::link();
            let sent = offer.send(broker);
            std::future::ready(
                sent.map(|()| controller)
                    .map_err(|_| LinkError::from("the test is over")),
            ) as std::future::Ready<Result<ControllerEnd, LinkError>>
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(controller.run(connector, shutdown.clone()));
        let intent = Bench::new(bench::config()).intent;
        Self {
            switch,
            handle,
            links,
            link: None,
            intent,
            shutdown,
            task,
        }
    }

    /// Takes the link that the controller opens, up to its Hello; who can be reached, as that says.
    async fn link(&mut self) -> Vec<IpAddr> {
        self.link = self.links.recv().await;
        match self.hear().await {
            FromController::Hello { reachable, .. } => reachable,
            other => panic!("{other:?} before Hello"),
        }
    }

    fn say(&self, message: FromBroker) {
        self.link.as_ref().unwrap().tx.send(message).unwrap();
    }

    async fn hear(&mut self) -> FromController {
        let rx = &mut self.link.as_mut().unwrap().rx;
        let heard = tokio::time::timeout(Duration::from_secs(60), rx.recv());
        heard.await.expect("it says nothing").expect("it hung up")
    }

    async fn hear_until(&mut self, is: impl Fn(&FromController) -> bool) -> FromController {
        loop {
            let message = self.hear().await;
            if is(&message) {
                return message;
            }
        }
    }

    async fn installed(&mut self, revision: Revision) {
        let installed = FromController::Installed { revision };
        self.hear_until(|message| *message == installed).await;
    }

    async fn snapshot(&mut self) {
        self.say(FromBroker::Snapshot(self.intent.clone()));
        self.installed(self.intent.revision).await;
    }

    fn change(&mut self, changes: Vec<Change>) -> Revision {
        let base = self.intent.revision;
        let delta = Delta {
            base,
            revision: Revision(base.0 + 1),
            changes,
        };
        self.intent.apply(&delta).unwrap();
        self.say(FromBroker::Delta(delta.clone()));
        delta.revision
    }

    /// The next request for a lease.
    async fn request(&mut self) -> u64 {
        let is = |message: &FromController| matches!(message, FromController::RequestLease { .. });
        match self.hear_until(is).await {
            FromController::RequestLease { request } => request,
            _ => unreachable!("it was looked for"),
        }
    }

    /// Linked, with everybody up to client 3 learned.
    async fn ready(config: Config) -> Self {
        let mut running = Self::start(config);
        running.link().await;
        running.snapshot().await;
        let learned = (1..=3).flat_map(call).chain([answer()]).collect();
        running.switch.report(Event::Learned(learned)).await;
        running
            .until(|state| {
                let endpoints = state
                    .rows
                    .keys()
                    .filter(|key| matches!(key, Key::Endpoint(_)));
                endpoints.count() == 3
            })
            .await;
        running
    }

    /// Waits until the state of the switch is so.
    async fn until(&self, is: impl Fn(&controller::target::fake::State) -> bool) {
        for _ in 0..10_000 {
            if is(&self.switch.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the switch never gets there: {:#?}", self.switch.state());
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_the_switchs_time_at_the_reading_plus_what_the_broker_grants() {
    let mut running = Running::ready(config()).await;
    running.switch.state().clock_us = 7_000_000;
    running.request().await;
    let request = running.request().await; // The one before was not answered.
    running.switch.state().clock_us = 7_050_000;
    let lease = LEASE;
    running.say(FromBroker::Grant { request, lease });
    running.until(|state| state.deadline_us == 7_300_000).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_thing_written_to_the_lease_ends_the_one_of_a_controller_before() {
    let mut running = Running::start(config());
    running.switch.state().deadline_us = 99;
    running.link().await;
    running.snapshot().await;
    running.request().await;
    assert_eq!(running.switch.state().deadlines[0], 0);
}

#[tokio::test(start_paused = true)]
async fn no_lease_is_asked_for_before_the_snapshot_is_installed() {
    let mut running = Running::start(config());
    running.link().await;
    running.switch.stall(true);
    running.say(FromBroker::Snapshot(running.intent.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(running.switch.state().deadlines.is_empty());
    running.switch.stall(false);
    running.installed(running.intent.revision).await;
    running.request().await;
}

#[tokio::test(start_paused = true)]
async fn no_lease_is_asked_for_while_a_write_is_overdue() {
    let mut running = Running::ready(config()).await;
    let request = running.request().await;
    running.say(FromBroker::Grant {
        request,
        lease: LEASE,
    });
    running.switch.stall(true);
    let change = Change::Topic(TopicIndex(1), Some(topic(1, &[1, 2])));
    let revision = running.change(vec![change]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = running.switch.state().deadlines.len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.switch.state().deadlines.len(), before);
    running.switch.stall(false);
    running.installed(revision).await;
    running.request().await;
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_every_third_of_it() {
    let mut running = Running::ready(config()).await;
    let start = tokio::time::Instant::now();
    for _ in 0..10 {
        let request = running.request().await;
        let now = start.elapsed();
        running.switch.state().clock_us = now.as_micros() as u64;
        running.say(FromBroker::Grant {
            request,
            lease: LEASE,
        });
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed >= LEASE * 9 / 3 && elapsed < LEASE * 11 / 3,
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_broker_ends_the_renewals_and_a_new_link_brings_a_snapshot() {
    let mut running = Running::ready(config()).await;
    running.request().await;
    running.link = None;
    let reachable = running.link().await;
    assert!(!reachable.is_empty(), "it tells again whom it reaches");
    let renewals = running.switch.state().deadlines.len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.switch.state().deadlines.len(), renewals);
    running.snapshot().await;
    running.request().await;
}

#[tokio::test(start_paused = true)]
async fn a_delta_that_does_not_fit_leads_to_a_new_link() {
    let mut running = Running::ready(config()).await;
    running.say(FromBroker::Delta(Delta {
        base: Revision(500),
        revision: Revision(501),
        changes: Vec::new(),
    }));
    running.link().await;
    running.snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_was_lost_is_read_back_and_the_broker_asked_anew() {
    let mut running = Running::ready(config()).await;
    let change = Change::Topic(TopicIndex(1), Some(topic(1, &[1, 2])));
    let revision = running.change(vec![change]);
    running.installed(revision).await;
    running.until(|state| state.rows.len() > 20).await;
    let writes = running.switch.state().batches.len();
    running.switch.cut();
    running.link().await;
    running.snapshot().await;
    let state = running.switch.state();
    assert_eq!(
        state.batches.len(),
        writes,
        "{:?}",
        &state.batches[writes..]
    );
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_no_longer_primary_stops_and_comes_back_when_it_is() {
    let takeover = Takeover::Never;
    let mut running = Running::ready(Config {
        takeover,
        ..config()
    })
    .await;
    running.request().await;
    running
        .switch
        .report(Event::Backup {
            highest: Some(9),
            vacant: false,
        })
        .await;
    let link = running.link.as_mut().unwrap();
    while link.rx.recv().await.is_some() {}
    let Mastership::Backup(why) = running.handle.status().await.unwrap().mastership else {
        panic!("still primary");
    };
    assert!(why.contains('9'), "{why}");
    let renewals = running.switch.state().deadlines.len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.switch.state().deadlines.len(), renewals);
    running.switch.report(Event::Primary).await;
    running.link().await;
    running.snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn activity_is_the_most_recent_hit_of_the_sessions_publications() {
    let mut running = Running::ready(config()).await;
    let publishes = |id: u16| {
        let of = offload::Publication {
            session: SessionId(1),
            topic: TopicIndex(1),
        };
        Change::Publication(bench::publication(1, normal(id)), Some(of))
    };
    let topic = Change::Topic(TopicIndex(1), Some(topic(1, &[2])));
    let revision = running.change(vec![topic, publishes(7), publishes(8)]);
    running.installed(revision).await;
    {
        let mut state = running.switch.state();
        let rows: Vec<Key> = state
            .rows
            .keys()
            .filter(|key| matches!(key, Key::Publication(_)))
            .copied()
            .collect();
        state.hits.insert(rows[0], (1, Duration::from_secs(9)));
        state.hits.insert(rows[1], (3, Duration::from_secs(4)));
    }
    let sessions = vec![SessionId(1), SessionId(2)];
    running.say(FromBroker::AskActivity { query: 3, sessions });
    let is = |message: &FromController| matches!(message, FromController::Activity { .. });
    let expected = FromController::Activity {
        query: 3,
        sessions: vec![
            Activity {
                session: SessionId(1),
                idle: Some(Duration::from_secs(4)),
            },
            Activity {
                session: SessionId(2),
                idle: None,
            },
        ],
    };
    assert_eq!(running.hear_until(is).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_whose_rows_are_gone_was_perhaps_heard_until_they_went() {
    let mut running = Running::ready(config()).await;
    let of = offload::Publication {
        session: SessionId(1),
        topic: TopicIndex(1),
    };
    let key = bench::publication(1, normal(7));
    let publishes = Change::Publication(key, Some(of));
    let offloaded = Change::Topic(TopicIndex(1), Some(topic(1, &[2])));
    let revision = running.change(vec![offloaded, publishes.clone()]);
    running.installed(revision).await;
    // Nobody reads a row that is withdrawn.
    let revision = running.change(vec![Change::Publication(key, None)]);
    running.installed(revision).await;
    let revision = running.change(vec![Change::Topic(TopicIndex(1), None), publishes]);
    running.installed(revision).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sessions = vec![SessionId(1)];
    running.say(FromBroker::AskActivity { query: 4, sessions });
    let is = |message: &FromController| matches!(message, FromController::Activity { .. });
    let FromController::Activity { sessions, .. } = running.hear_until(is).await else {
        unreachable!("that was asked for");
    };
    let idle = sessions[0].idle.expect("its row was there until just now");
    assert!((3..=5).contains(&idle.as_secs()), "{idle:?}");
}

#[tokio::test(start_paused = true)]
async fn a_station_that_the_switch_calls_idle_is_forgotten() {
    let running = Running::ready(config()).await;
    let key = smac::Key {
        vid: 0,
        eth_src: mac(3),
        ingress_port: port(3),
    };
    running
        .until(|state| state.rows.contains_key(&Key::Smac(key)))
        .await;
    running.switch.report(Event::StationsIdle(vec![key])).await;
    running
        .until(|state| !state.rows.contains_key(&Key::Smac(key)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_share_group_is_told_as_offloaded_with_each_of_its_members() {
    let mut running = Running::ready(config()).await;
    let member = |generation| ShareMember {
        generation: Generation(generation),
        serve_q1: true,
        alias: None,
    };
    let mut shared = topic(5, &[1]);
    shared.name = "a/b".into();
    shared.shared = [(SessionId(2), member(12)), (SessionId(3), member(13))].into();
    let change = Change::Topic(TopicIndex(1), Some(shared.clone()));
    let revision = running.change(vec![change]);
    running.installed(revision).await;
    let status = running.handle.status().await.unwrap();
    assert_eq!((status.topics_offloaded, status.topics_wanted), (1, 1));
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.state, TopicState::Offloaded);
    assert_eq!(report.share_group, Some(1));
    assert_eq!(report.generation_installed, None);
    let rows = running.switch.state().rows.clone();
    let mut told = Vec::new();
    for member in &report.members {
        assert_eq!(member.shared, member.session != 1);
        let Some(selected) = &member.selected else {
            continue;
        };
        let id = selected.member_id.expect("on the switch");
        let Some(Value::ShareMember(offload)) = rows.get(&Key::ShareMember(id)) else {
            panic!("no member {id}");
        };
        assert_eq!(selected.groups[0], Some(offload.group_q0));
        assert_eq!(selected.groups[1], Some(offload.group_q1));
        assert_eq!(selected.generation_installed, Some(offload.generation));
        told.push((member.session, selected.generation, offload.generation));
    }
    assert_eq!(told, [(2, 12, 12), (3, 13, 13)]);

    // While the switch does not answer a member's change is under way.
    running.switch.stall(true);
    shared.shared.insert(SessionId(3), member(23));
    let revision = running.change(vec![Change::Topic(TopicIndex(1), Some(shared))]);
    let is_under_way = async {
        loop {
            let report = running.handle.explain("a/b").await.unwrap().unwrap();
            if report.state == TopicState::Pending {
                break report;
            }
            assert_eq!(report.state, TopicState::Offloaded);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let patience = Duration::from_secs(5);
    let report = tokio::time::timeout(patience, is_under_way).await.unwrap();
    let last = report.members.last().unwrap().selected.clone().unwrap();
    assert_eq!((last.generation, last.generation_installed), (23, Some(13)));
    running.switch.stall(false);
    running.installed(revision).await;
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.state, TopicState::Offloaded);
}

#[tokio::test(start_paused = true)]
async fn status_and_explain_tell_how_things_stand() {
    let mut running = Running::ready(config()).await;
    let mut named = topic(5, &[1, 2]);
    named.name = "a/b".into();
    let revision = running.change(vec![
        Change::Topic(TopicIndex(1), Some(named)),
        Change::Topic(TopicIndex(2), Some(topic(1, &[9]))),
    ]);
    running.installed(revision).await;
    let status = running.handle.status().await.unwrap();
    assert_eq!(status.mastership, Mastership::Primary);
    assert_eq!(status.revision_installed, Some(revision.0));
    assert_eq!((status.topics_offloaded, status.topics_wanted), (1, 2));
    assert_eq!(status.broker_port, Some(bench::BROKER_PORT));
    let report = running.handle.explain("a/b").await.unwrap().unwrap();
    assert_eq!(report.state, TopicState::Offloaded);
    assert_eq!(report.generation_installed, Some(5));
    assert_eq!(report.members.len(), 2);
    let report = running.handle.explain("2").await.unwrap().unwrap();
    assert!(matches!(report.state, TopicState::Software(why) if why.contains("unreachable")));
    assert_eq!(running.handle.explain("none").await.unwrap(), None);
    // What the reports are read from.
    let state = running.switch.state();
    assert!(
        state
            .rows
            .values()
            .any(|value| matches!(value, Value::Topic(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_the_run_and_leaves_the_switch_as_it_is() {
    let mut running = Running::ready(config()).await;
    let rows = running.switch.state().rows.len();
    running.shutdown.cancel();
    let ended = (&mut running.task).await.unwrap();
    assert!(ended.is_ok());
    assert!(running.switch.state().rows.len() >= rows);
    assert!(running.handle.status().await.is_err());
}
