//! Order per publisher and destination, with several workers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use broker::driver::{IoConfig, Outbound};
use broker::{AdvertiseConfig, Source, Via};
use mqttsn::packet::{Connect, Subscribe};
use mqttsn::{MsgId, Packet, Qos, Seconds, TopicRef};

use crate::clients::{Client, DEADLINE, Running, publish};

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 3;
const TOPIC: [u8; 2] = *b"ab";

fn several() -> IoConfig {
    IoConfig {
        workers: 4,
        ..IoConfig::default()
    }
}

/// Publisher and number of a message.
fn data(publisher: usize, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [publisher as u8, a, b, c, d]
}

fn parse(datagram: &[u8]) -> (usize, u32) {
    let Ok(Packet::Publish(publish)) = Packet::decode(datagram) else {
        panic!("no PUBLISH: {datagram:?}");
    };
    let [publisher, rest @ ..] = publish.data else {
        panic!("no data");
    };
    (
        (*publisher).into(),
        u32::from_be_bytes(rest.try_into().unwrap()),
    )
}

#[test]
fn concurrent_publishers_over_loopback_keep_their_order_and_lose_nothing() {
    const MESSAGES: u32 = 2_000;
    /// On their way per publisher: what fits every socket's buffer.
    const WINDOW: u32 = 16;
    let running = Running::start(&["127.0.0.1:0"], &several());
    let at = running.at[0];
    let subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|number| Client::connect(at, &format!("s{number}")))
        .collect();
    for subscriber in &subscribers {
        subscriber.subscribe(TOPIC);
    }
    // How much of each publisher has come to each subscriber.
    let come: [[AtomicU32; PUBLISHERS]; SUBSCRIBERS] = Default::default();
    std::thread::scope(|scope| {
        for (subscriber, come) in subscribers.iter().zip(&come) {
            scope.spawn(move || {
                for _ in 0..PUBLISHERS as u32 * MESSAGES {
                    let (publisher, number) = parse(&subscriber.receive());
                    let expected = come[publisher].fetch_add(1, Ordering::Relaxed);
                    assert_eq!(number, expected, "of publisher {publisher}");
                }
            });
        }
        for publisher in 0..PUBLISHERS {
            let come = &come;
            scope.spawn(move || {
                let client = Client::connect(at, &format!("p{publisher}"));
                let start = Instant::now();
                for number in 0..MESSAGES {
                    let slowest = || {
                        let of = |come: &[AtomicU32; PUBLISHERS]| {
                            come[publisher].load(Ordering::Relaxed)
                        };
                        come.iter().map(of).min().unwrap()
                    };
                    while slowest() + WINDOW <= number {
                        assert!(start.elapsed() < DEADLINE, "stuck at {number}");
                        std::thread::yield_now();
                    }
                    client.publish(TOPIC, &data(publisher, number));
                }
            });
        }
    });
    let io = running.handle.io();
    assert_eq!((io.dropped, io.lost_by_system), (0, 0), "{io:?}");
    running.stop();
}

/// Keeps what it is given, by destination.
#[derive(Default)]
struct Recorder(Mutex<HashMap<SocketAddr, Vec<Vec<u8>>>>);

impl Outbound for Recorder {
    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let mut sent = self.0.lock().unwrap();
        sent.entry(to).or_default().push(datagram.to_vec());
    }
}

/// A client behind DTLS.
fn dtls(number: u8) -> Source<'static> {
    Source {
        via: Via::Dtls,
        address: ([10, 0, 0, number], 4000).into(),
        identity: None,
    }
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len()];
    packet.encode(&mut bytes).unwrap();
    bytes
}

#[test]
fn concurrent_threads_of_another_transport_keep_their_order_and_lose_nothing() {
    const MESSAGES: u32 = 3_000;
    let recorder = Arc::new(Recorder::default());
    let mut ingress = None;
    let running = Running::start_with(
        &["127.0.0.1:0"],
        &several(),
        &AdvertiseConfig::default(),
        |driver| {
            assert!(driver.set_dtls(Arc::clone(&recorder) as Arc<dyn Outbound>));
            ingress = Some(driver.ingress());
        },
    );
    let ingress = ingress.unwrap();
    for number in 0..(PUBLISHERS + SUBSCRIBERS) as u8 {
        let connect = Packet::Connect(Connect {
            will: false,
            clean_session: true,
            protocol_id: 1,
            duration: Seconds(0),
            client_id: &format!("c{number}"),
        });
        ingress.handle(dtls(number), &encode(&connect));
        if usize::from(number) >= PUBLISHERS {
            let subscribe = Packet::Subscribe(Subscribe {
                dup: false,
                qos: Qos::Zero,
                msg_id: MsgId(1),
                topic: TopicRef::Short(TOPIC),
            });
            ingress.handle(dtls(number), &encode(&subscribe));
        }
    }
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let ingress = ingress.clone();
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let bytes = encode(&publish(TOPIC, &data(publisher, number)));
                    ingress.handle(dtls(publisher as u8), &bytes);
                }
            });
        }
    });
    // All that was handed in has left, by this or that thread: `handle` came back from every call.
    let sent = recorder.0.lock().unwrap();
    for number in PUBLISHERS..PUBLISHERS + SUBSCRIBERS {
        let mut next = [0; PUBLISHERS];
        // CONNACK and SUBACK come first.
        for datagram in &sent[&dtls(number as u8).address][2..] {
            let (publisher, number) = parse(datagram);
            assert_eq!(number, next[publisher]);
            next[publisher] += 1;
        }
        assert_eq!(next, [MESSAGES; PUBLISHERS]);
    }
    drop(sent);
    running.stop();
}
