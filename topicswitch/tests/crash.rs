//! A broker that is killed at random moments under load, again and again, and the promises it made.
//!
//! The clients never learn that the broker was away: they repeat what is not answered (MQTT-SN 1.2
//! §6.13) and go on. `TOPICSWITCH_CRASH_ROUNDS` and `TOPICSWITCH_CRASH_SEED` ask for more and others.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the functions its cases share"
)]

#[path = "crash/client.rs"]
mod client;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use client::Client;
use mqttsn::types::{Alias, Qos};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = "
log: { filter: warn }
broker:
  t_retry_ms: 300
  n_retry: 1000
  max_subscriptions: 100000
  max_topic_ids: 60000
  max_queued_messages: 1000000
  max_queued_octets: 1000000000
";

/// The real broker; killed when dropped.
struct Killable(Child);

impl Killable {
    fn start(directory: &Path, at: SocketAddr) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_topicswitch"))
            .arg("--config")
            .arg(directory.join("config.yaml"))
            .args(["broker", "--listen", &at.to_string(), "--store"])
            .arg(directory.join("store"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Killable(child)
    }

    /// `kill -9`; it must still be running.
    fn kill(&mut self) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "the broker ended by itself: {ended:?}");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where nobody listens, and no client will: outside of the ports that the system gives out.
fn free_address() -> SocketAddr {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    (start..)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|at| UdpSocket::bind(at).is_ok())
        .unwrap()
}

/// What the broker has acknowledged.
#[derive(Default)]
struct Promises {
    /// Messages under `load/`, with their QoS.
    published: Mutex<Vec<(Qos, Vec<u8>)>>,
    more: Condvar,
    /// `churn/N` with a topic id and a retained message.
    registered: Mutex<Vec<(u32, u16)>>,
    /// `own/N` that the client is subscribed to.
    subscribed: Mutex<BTreeSet<u32>>,
    /// `own/N` that it is not subscribed to any more.
    unsubscribed: Mutex<BTreeSet<u32>>,
}

impl Promises {
    fn publish(&self, qos: Qos, data: Vec<u8>) {
        self.published.lock().unwrap().push((qos, data));
        self.more.notify_all();
    }

    /// Waits until so many more messages are acknowledged.
    fn wait_for_more(&self, messages: usize) {
        let published = self.published.lock().unwrap();
        let goal = published.len() + messages;
        let waited = self
            .more
            .wait_timeout_while(published, PATIENCE, |published| published.len() < goal);
        assert!(
            !waited.unwrap().1.timed_out(),
            "nothing is acknowledged any more"
        );
    }
}

fn publisher(number: u32, at: SocketAddr, stop: Arc<AtomicBool>, promises: Arc<Promises>) {
    let mut client = Client::new(at);
    client.connect(&format!("publisher-{number}"), false);
    let ids: Vec<u16> = (0..4)
        .map(|topic| client.register(&format!("load/{number}/{topic}")))
        .collect();
    for message in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let qos = if message % 2 == 0 { Qos::One } else { Qos::Two };
        let data = format!("{number}-{message}").into_bytes();
        client.publish(Alias::normal(ids[message % 4]), qos, false, &data);
        promises.publish(qos, data);
    }
}

fn churner(at: SocketAddr, stop: Arc<AtomicBool>, promises: Arc<Promises>) -> Client {
    let mut client = Client::new(at);
    client.connect("churner", false);
    for number in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = client.register(&format!("churn/{number}"));
        let data = format!("retained-{number}").into_bytes();
        client.publish(Alias::normal(id), Qos::One, true, &data);
        promises.registered.lock().unwrap().push((number, id));
        client.subscribe(&format!("own/{number}"), Qos::One);
        if number % 3 == 0 {
            client.unsubscribe(&format!("own/{number}"));
            promises.unsubscribed.lock().unwrap().insert(number);
        } else {
            promises.subscribed.lock().unwrap().insert(number);
        }
        // Leaves the processor to the others.
        client.listen(Duration::from_millis(10));
    }
    client
}

/// Receives until told to stop, and returns the client with all that it has heard.
fn subscriber(mut client: Client, stop: Arc<AtomicBool>) -> JoinHandle<Client> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            client.listen(Duration::from_millis(20));
        }
        client
    })
}

/// Somebody new gets every retained message that was acknowledged.
fn check_retained(at: SocketAddr, promises: &Promises) {
    let expected = promises.registered.lock().unwrap().clone();
    let mut client = Client::new(at);
    client.connect("checker", true);
    client.subscribe("churn/+", Qos::One);
    for (number, _) in expected {
        let data = format!("retained-{number}");
        wait_for(&mut client, data.as_bytes(), "somebody new");
    }
    client.disconnect();
}

fn wait_for(client: &mut Client, what: &[u8], who: &str) {
    let text = String::from_utf8_lossy(what);
    assert!(client.listen_for(what), "{who} never got {text}");
}

/// Every message that was acknowledged is there, and none of QoS 2 more than once.
fn check_messages(client: &mut Client, granted: Qos, promises: &Promises, who: &str) {
    for (qos, data) in promises.published.lock().unwrap().iter() {
        wait_for(client, data, who);
        if *qos == Qos::Two && granted == Qos::Two {
            let data_text = String::from_utf8_lossy(data);
            assert_eq!(client.heard[data], 1, "{who} got {data_text} twice");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_broker_is_killed_under_load() {
    let number = |name, default| match std::env::var(name) {
        Ok(value) => value.parse().unwrap(),
        Err(_) => default,
    };
    let rounds = number("TOPICSWITCH_CRASH_ROUNDS", 8);
    let mut random = StdRng::seed_from_u64(number("TOPICSWITCH_CRASH_SEED", 1));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.yaml"), CONFIG).unwrap();
    let at = free_address();
    let mut broker = Killable::start(directory.path(), at);

    let promises = Arc::new(Promises::default());
    let (stop_load, stop_listening) = (Arc::default(), Arc::default());
    let mut absent = Client::new(at);
    absent.connect("absent", false);
    absent.subscribe("load/#", Qos::Two);
    absent.disconnect();
    let listeners: Vec<_> = [Qos::Two, Qos::Two, Qos::One]
        .into_iter()
        .enumerate()
        .map(|(n, qos)| {
            let mut client = Client::new(at);
            client.connect(&format!("subscriber-{n}"), n == 1);
            client.subscribe("load/#", qos);
            (qos, subscriber(client, Arc::clone(&stop_listening)))
        })
        .collect();
    let publishers: Vec<_> = (0..3)
        .map(|n| {
            let (stop, promises) = (Arc::clone(&stop_load), Arc::clone(&promises));
            std::thread::spawn(move || publisher(n, at, stop, promises))
        })
        .collect();
    let (stop, told) = (Arc::clone(&stop_load), Arc::clone(&promises));
    let churn = std::thread::spawn(move || churner(at, stop, told));

    for round in 0..rounds {
        promises.wait_for_more(random.random_range(20..3_000));
        broker.kill();
        broker = Killable::start(directory.path(), at);
        check_retained(at, &promises);
        if round % 8 == 7 {
            let published = promises.published.lock().unwrap().len();
            eprintln!("round {}: {published} messages acknowledged", round + 1);
        }
    }

    stop_load.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let mut churner = churn.join().unwrap();
    // Once more, with all that is under way.
    broker.kill();
    let _broker = Killable::start(directory.path(), at);
    stop_listening.store(true, Ordering::Relaxed);
    for (n, (qos, listener)) in listeners.into_iter().enumerate() {
        let mut client = listener.join().unwrap();
        check_messages(&mut client, qos, &promises, &format!("subscriber-{n}"));
    }
    absent.connect("absent", false);
    check_messages(&mut absent, Qos::Two, &promises, "the one who was away");

    // Topic ids mean what they meant, and subscriptions stand.
    let registered = promises.registered.lock().unwrap().clone();
    let mut other = Client::new(at);
    other.connect("other", true);
    other.subscribe("churn/+", Qos::One);
    let subscribed = promises.subscribed.lock().unwrap().clone();
    let unsubscribed = promises.unsubscribed.lock().unwrap().clone();
    for (number, id) in registered {
        let data = format!("anew-{number}").into_bytes();
        churner.publish(Alias::normal(id), Qos::One, true, &data);
        wait_for(&mut other, &data, "other");
        assert_eq!(other.topics[&data], format!("churn/{number}"));
        let id = other.register(&format!("own/{number}"));
        let data = format!("own-{number}").into_bytes();
        other.publish(Alias::normal(id), Qos::One, false, &data);
        if subscribed.contains(&number) {
            wait_for(&mut churner, &data, "churner");
        } else if unsubscribed.contains(&number) {
            assert!(
                !churner.heard.contains_key(&data),
                "own/{number} is unsubscribed"
            );
        }
    }
    let published = promises.published.lock().unwrap().len();
    eprintln!("{rounds} rounds, {published} messages acknowledged, none lost");
}
