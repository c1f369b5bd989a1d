//! A broker with many sessions and subscriptions: memory for each, size of its store, and how long it
//! takes to come back. `cargo bench -p broker --bench restart -- [SESSIONS [SUBSCRIPTIONS EACH]]`
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and says where"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use broker::store::{Store, Sync};
use broker::{AllowAll, Broker, Config, Restore};
use mqttsn::packet::{Connect, Subscribe};
use mqttsn::types::PROTOCOL_ID;
use mqttsn::{MsgId, Packet, Qos, Seconds, TopicRef};

fn config() -> Config {
    Config {
        max_sessions: 10_000_000,
        max_unconfirmed_sessions: 10_000_000,
        max_total_subscriptions: 100_000_000,
        max_topics: 100_000_000,
        max_name_octets: usize::MAX,
        ..Config::default()
    }
}

fn open(directory: &Path) -> (Store, Broker) {
    let now = Instant::now();
    let mut restore = Restore::new(config(), Box::new(AllowAll), now).unwrap();
    let store = Store::open(directory, Sync::Process, |k, v| restore.entry(k, v)).unwrap();
    (store, restore.finish())
}

/// Octets of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn each(octets: usize, number: u32) -> usize {
    octets / (number.max(1) as usize)
}

struct World {
    store: Store,
    broker: Broker,
    bytes: Vec<u8>,
}

impl World {
    fn say(&mut self, client: u32, packet: &Packet<'_>) {
        self.bytes.resize(packet.encoded_len(), 0);
        packet.encode(&mut self.bytes).unwrap();
        let [a, b, c, d] = client.to_be_bytes();
        let from = SocketAddr::from(([10, a ^ b, c, d], 4000));
        self.broker
            .handle_datagram(Instant::now(), from, &self.bytes);
    }

    fn commit(&mut self) {
        if let Some(changes) = self.broker.take_changes() {
            self.store.commit(&changes).unwrap();
        }
        while self.broker.poll_transmit().is_some() {}
    }
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let sessions: u32 = numbers.next().unwrap_or(100_000);
    let subscriptions: u32 = numbers.next().unwrap_or(10);
    let directory = tempfile::tempdir().unwrap();
    let (store, broker) = open(directory.path());
    let mut world = World {
        store,
        broker,
        bytes: Vec::new(),
    };

    let (start, empty) = (Instant::now(), resident());
    for client in 0..sessions {
        let client_id = format!("client-{client}");
        let connect = Packet::Connect(Connect {
            will: false,
            clean_session: false,
            protocol_id: PROTOCOL_ID,
            duration: Seconds(600),
            client_id: &client_id,
        });
        world.say(client, &connect);
        if client % 64 == 63 {
            world.commit();
        }
    }
    world.commit();
    let connected = resident();
    println!(
        "{sessions} sessions in {:.1?}: {} octets each",
        start.elapsed(),
        each(connected - empty, sessions)
    );

    let start = Instant::now();
    for client in 0..sessions {
        for number in 0..subscriptions {
            // One filter of its own, and others that a hundred clients share.
            let filter = match number {
                0 => format!("site/{client}/command"),
                _ => format!("site/room-{}/sensor-{number}", client / 100),
            };
            let subscribe = Subscribe {
                dup: false,
                qos: Qos::One,
                msg_id: MsgId(number as u16 + 1),
                topic: TopicRef::Name(&filter),
            };
            world.say(client, &Packet::Subscribe(subscribe));
        }
        if client % 8 == 7 {
            world.commit();
        }
    }
    world.commit();
    let total = sessions * subscriptions;
    let status = world.broker.status();
    println!(
        "{total} subscriptions to {} topics in {:.1?}: {} octets each",
        status.topics,
        start.elapsed(),
        each(resident() - connected, total)
    );
    assert_eq!(status.sessions, sessions as usize);
    println!("store: {} octets", world.store.status().octets);
    drop(world);

    let start = Instant::now();
    let (_store, broker) = open(directory.path());
    println!("back after {:.2?}", start.elapsed());
    assert_eq!(broker.status().sessions, sessions as usize);
}
