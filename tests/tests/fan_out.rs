//! Fan-out through the whole system, over the kernel's sockets: of each message every subscriber gets
//! exactly one copy, under its own alias and at its QoS, in the family it uses.
//!
//! Two topics have the same subscribers, and so one multicast group. On BMv2 the controller is told
//! that 64 packets wait for a port and no more: topics with more subscribers stay with the broker.

use std::io::Write;
use std::time::Instant;

use system_tests::data_plane::Target;
use system_tests::network::{BROKER, BROKER_V6, Network, targets};
use system_tests::octets::Client;
use system_tests::system::DEADLINE;

const TOPICS: [&str; 2] = ["fan/a", "fan/b"];
/// Their predefined ids, by which every fifth subscriber knows them.
const PREDEFINED: [u16; 2] = [71, 72];
const QOS_1: u8 = 0x20;
/// Packets that wait for a port of BMv2.
const QUEUE: u16 = 64;
/// Requests under way at a time: sockets have room for so many answers.
const AT_ONCE: usize = 25;

/// How subscriber `n` subscribes: half of them over IPv6, half of either behind each of two ports.
struct Subscriber {
    client: Client,
    own_alias: bool,
    granted: u8,
}

impl Subscriber {
    fn new(network: &Network, n: usize) -> Self {
        let broker = [BROKER, BROKER_V6][n % 2];
        let host = match n % 4 {
            0 | 1 => &network.subscriber,
            _ => &network.publisher,
        };
        Subscriber {
            client: Client::new(host, broker),
            own_alias: n % 5 == 4,
            granted: if n % 7 == 5 { QOS_1 } else { 0 },
        }
    }

    fn send_subscribe(&self, topic: usize) {
        let request = match self.own_alias {
            true => [
                &[0x12, self.granted | 0x01, 0, 1],
                &PREDEFINED[topic].to_be_bytes()[..],
            ]
            .concat(),
            false => [&[0x12, self.granted, 0, 1], TOPICS[topic].as_bytes()].concat(),
        };
        self.client.send(&request);
    }

    fn subscribed(&self) {
        let suback = self.client.next();
        assert_eq!(suback[..2], [8, 0x13]);
        assert_eq!((suback[2], suback[7]), (self.granted, 0), "{suback:?}");
    }

    /// The one copy of a message comes next.
    fn expect(&self, n: usize, topic: usize, id: u16, qos: u8, data: &[u8]) {
        let copy = self.client.next();
        let qos = qos & self.granted;
        let (id_type, id) = match self.own_alias {
            true => (0x01, PREDEFINED[topic]),
            false => (0x00, id),
        };
        let [high, low] = id.to_be_bytes();
        assert_eq!(
            copy[1..5],
            [0x0c, qos | id_type, high, low],
            "subscriber {n}"
        );
        assert_eq!(copy[7..], *data, "subscriber {n}");
        let msg_id = [copy[5], copy[6]];
        assert_eq!(msg_id != [0, 0], qos != 0, "subscriber {n}");
        if qos != 0 {
            let [m1, m0] = msg_id;
            self.client.send(&[0x0d, high, low, m1, m0, 0]);
        }
    }
}

struct Publisher {
    client: Client,
    ids: [u16; 2],
    msg_id: u8,
    payload: u32,
}

impl Publisher {
    fn new(network: &Network, broker: &str) -> Self {
        let client = Client::connect(&network.publisher, broker, &format!("p{broker}"));
        let ids = TOPICS.map(|topic| {
            let register = [&[0x0a, 0, 0, 0, 1], topic.as_bytes()].concat();
            let answer = client.ask(&register, 0x0b);
            u16::from_be_bytes([answer[2], answer[3]])
        });
        Publisher {
            client,
            ids,
            msg_id: 0,
            payload: 0,
        }
    }

    /// Publishes, and sees each subscriber get it; how many messages (untagged, tagged) the broker saw.
    fn publish(
        &mut self,
        network: &Network,
        subscribers: &[Subscriber],
        topic: usize,
        qos: u8,
    ) -> (u64, u64) {
        let before = seen(network);
        self.payload += 1;
        let data = self.payload.to_be_bytes();
        let [high, low] = self.ids[topic].to_be_bytes();
        let mut publish = vec![0x0c, qos, high, low, 0, 0];
        if qos != 0 {
            self.msg_id = self.msg_id.wrapping_add(1).max(1);
            publish[5] = self.msg_id;
        }
        publish.extend(data);
        self.client.send(&publish);
        if qos != 0 {
            let puback = [7, 0x0d, high, low, 0, self.msg_id, 0];
            assert_eq!(self.client.next(), puback);
        }
        for (n, subscriber) in subscribers.iter().enumerate() {
            subscriber.expect(n, topic, self.ids[topic], qos, &data);
        }
        // Behind what it may have sent the broker.
        self.client.ping();
        let after = seen(network);
        (after.0 - before.0, after.1 - before.1)
    }
}

fn seen(network: &Network) -> (u64, u64) {
    let counters = &network.status()["broker"]["counters"];
    let count = |name: &str| counters[name].as_u64().expect("a counter");
    (count("publish_untagged"), count("publish_tagged"))
}

/// Connects subscribers until there are `count`, and subscribes them to both topics.
fn grow(network: &Network, subscribers: &mut Vec<Subscriber>, count: usize) {
    let from = subscribers.len();
    let new = (from..count).map(|n| Subscriber::new(network, n));
    subscribers.extend(new);
    for (chunk, first) in subscribers[from..]
        .chunks(AT_ONCE)
        .zip((from..).step_by(AT_ONCE))
    {
        for (subscriber, n) in chunk.iter().zip(first..) {
            subscriber.client.send_connect(&format!("s{n}"));
        }
        for subscriber in chunk {
            subscriber.client.accepted();
        }
        for topic in [0, 1] {
            for subscriber in chunk {
                subscriber.send_subscribe(topic);
            }
            for subscriber in chunk {
                subscriber.subscribed();
            }
        }
    }
}

fn configuration(target: Target) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let [a, b] = PREDEFINED;
    write!(
        file,
        "broker:\n  predefined_topics:\n    {a}: {:?}\n    {b}: {:?}\n",
        TOPICS[0], TOPICS[1]
    )
    .expect("it is written");
    if target == Target::Bmv2 {
        writeln!(file, "controller: {{max_copies_per_port: {QUEUE}}}").expect("it is written");
    }
    file
}

/// Everybody publishes to both topics at both QoS, the switch makes the copies, and nothing is left over.
fn check(network: &Network, publishers: &mut [Publisher], subscribers: &[Subscriber]) {
    // Not before: BMv2 may drop some of so many copies that the broker sends at a stroke.
    until(network, "in the data plane", |controller| {
        controller["topics_offloaded"] == TOPICS.len()
            && controller["refused"] == serde_json::json!([])
            && controller["revision_installed"] == controller["revision_wanted"]
    });
    let by_broker = subscribers.iter().any(|s| s.granted != 0);
    for publisher in &mut *publishers {
        for topic in [0, 1] {
            // Where everybody lives is learned while they speak; then the broker sees nothing more.
            let deadline = Instant::now() + DEADLINE;
            while publisher.publish(network, subscribers, topic, 0) != (0, 0) {
                assert!(Instant::now() < deadline, "{:#}", network.status());
            }
            for _ in 0..3 {
                let saw = publisher.publish(network, subscribers, topic, 0);
                assert_eq!(saw, (0, 0));
                let saw = publisher.publish(network, subscribers, topic, QOS_1);
                // Who was granted QoS 1 gets it from the broker.
                assert_eq!(saw, (0, u64::from(by_broker)));
            }
        }
    }
    for publisher in publishers {
        publisher.client.ping();
    }
    for subscriber in subscribers {
        subscriber.client.ping();
    }
    // Both topics use one group at QoS 0, and another one at QoS 1 if the broker serves some there. One
    // subscriber needs none.
    let groups = match (subscribers.len(), by_broker) {
        (1, _) => 0,
        (_, false) => 1,
        (_, true) => 2,
    };
    // The group of the flood is there always; what drains is there for a while.
    until(network, &format!("{groups} groups"), |controller| {
        controller["tables"]["multicast group"] == groups + 1
    });
}

/// Asks for the controller's status until it is as it should be.
fn until(network: &Network, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = network.controller_status();
        if is_so(&status["controller"]) {
            return;
        }
        assert!(Instant::now() < deadline, "not {what}: {status:#}");
        std::thread::yield_now();
    }
}

#[test]
fn each_of_up_to_two_thousand_subscribers_gets_each_message_once_and_the_switch_makes_the_copies() {
    for target in targets() {
        eprintln!("target: {target:?}");
        let config = configuration(target);
        let network = Network::configured_dual_stack(target, config.path());
        let mut subscribers = Vec::new();
        let mut publishers = [BROKER, BROKER_V6].map(|broker| Publisher::new(&network, broker));
        let counts = match target {
            Target::Bmv2 => &[1, 2, 100][..],
            _ => &[1, 2, 100, 2000],
        };
        for &count in counts {
            let started = Instant::now();
            grow(&network, &mut subscribers, count);
            let joined = started.elapsed();
            check(&network, &mut publishers, &subscribers);
            eprintln!(
                "{count}: joined in {joined:?}, {:?} in all",
                started.elapsed()
            );
        }
        if target == Target::Bmv2 {
            too_many(&network, &mut publishers, subscribers);
        }
    }
}

/// More than the switch can queue for a port: the broker serves them all, until some leave.
fn too_many(network: &Network, publishers: &mut [Publisher], mut subscribers: Vec<Subscriber>) {
    let few = subscribers.len();
    grow(network, &mut subscribers, 2 * usize::from(QUEUE) + 4);
    until(network, "refused", |controller| {
        controller["refused"]
            .to_string()
            .matches("max_copies_per_port")
            .count()
            == 2
    });
    // Nobody listens: BMv2 may drop what the broker sends at a stroke, too.
    for publisher in &*publishers {
        for id in publisher.ids {
            let before = seen(network);
            let [high, low] = id.to_be_bytes();
            publisher.client.send(&[0x0c, 0, high, low, 0, 0]);
            let deadline = Instant::now() + DEADLINE;
            while seen(network) != (before.0 + 1, before.1) {
                assert!(Instant::now() < deadline, "{:#}", network.status());
            }
        }
    }
    for subscriber in &subscribers {
        subscriber.client.ask(&[0x16], 0x17);
    }
    for subscriber in subscribers.drain(few..) {
        subscriber.client.ask(&[0x18], 0x18);
    }
    check(network, publishers, &subscribers);
}
