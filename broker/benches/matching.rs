//! What it costs to find who subscribes, as subscriptions that do not match grow in number.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker::{Broker, Config};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mqttsn::packet::{Connect, Publish, Register, Subscribe};
use mqttsn::{Alias, MsgId, Packet, Qos, Seconds, TopicRef};

/// Subscriptions of one session.
const EACH: usize = 500;

/// Names registered before the publisher begins anew.
const NAMES: u16 = 4096;

fn address(number: usize) -> SocketAddr {
    let number = number as u32;
    SocketAddr::from((std::net::Ipv4Addr::from(0x0A00_0000 + number), 4000))
}

const PUBLISHER: usize = 1 << 20;
const SUBSCRIBER: usize = PUBLISHER + 1;

fn send(broker: &mut Broker, now: Instant, from: usize, packet: &Packet<'_>) {
    let mut bytes = vec![0; packet.encoded_len()];
    packet
        .encode(&mut bytes)
        .expect("the buffer is large enough");
    broker.handle_datagram(now, address(from), &bytes);
    while broker.poll_transmit().is_some() {}
}

fn connect(broker: &mut Broker, now: Instant, number: usize) {
    let connect = Connect {
        will: false,
        clean_session: true,
        protocol_id: 1,
        duration: Seconds(0),
        client_id: &format!("c{number}"),
    };
    send(broker, now, number, &Packet::Connect(connect));
}

fn subscribe(broker: &mut Broker, now: Instant, number: usize, filter: &str) {
    let subscribe = Subscribe {
        dup: false,
        qos: Qos::Zero,
        msg_id: MsgId(1),
        topic: TopicRef::Name(filter),
    };
    send(broker, now, number, &Packet::Subscribe(subscribe));
}

fn register(broker: &mut Broker, now: Instant, number: u16) {
    let name = format!("plant/7/{number}/state");
    let register = Register {
        topic_id: 0,
        msg_id: MsgId(1),
        topic_name: &name,
    };
    send(broker, now, PUBLISHER, &Packet::Register(register));
}

/// A broker with that many subscriptions of other topics, and one of `plant/+/+/state`.
fn broker(others: usize, now: Instant) -> Broker {
    let config = Config {
        max_sessions: usize::MAX,
        ..Config::default()
    };
    let mut broker = Broker::new(config, now).expect("the configuration is valid");
    for other in 0..others {
        let number = other / EACH;
        if other % EACH == 0 {
            connect(&mut broker, now, number);
        }
        let filter = format!("other/{number}/{}/+", other % EACH);
        subscribe(&mut broker, now, number, &filter);
    }
    connect(&mut broker, now, SUBSCRIBER);
    subscribe(&mut broker, now, SUBSCRIBER, "plant/+/+/state");
    broker
}

fn matching(criterion: &mut Criterion) {
    let now = Instant::now();
    for others in [1_000, 10_000, 100_000, 1_000_000] {
        let mut broker = broker(others, now);

        let mut group = criterion.benchmark_group("new_topic_name");
        group.bench_function(BenchmarkId::from_parameter(others), |bencher| {
            bencher.iter_custom(|names| {
                let mut total = Duration::ZERO;
                for first in (0..names).step_by(NAMES.into()) {
                    // Its topics go with its session.
                    connect(&mut broker, now, PUBLISHER);
                    let start = Instant::now();
                    for number in 0..(names - first).min(NAMES.into()) {
                        register(&mut broker, now, number as u16);
                    }
                    total += start.elapsed();
                }
                total
            });
        });
        group.finish();

        let mut group = criterion.benchmark_group("known_topic");
        connect(&mut broker, now, PUBLISHER);
        connect(&mut broker, now, SUBSCRIBER);
        subscribe(&mut broker, now, SUBSCRIBER, "ab");
        let publish = Packet::Publish(Publish {
            dup: false,
            qos: Qos::Zero,
            retain: false,
            alias: Alias::short(*b"ab"),
            msg_id: MsgId(0),
            data: &[7; 100],
        });
        let mut bytes = vec![0; publish.encoded_len()];
        publish
            .encode(&mut bytes)
            .expect("the buffer is large enough");
        group.bench_function(BenchmarkId::from_parameter(others), |bencher| {
            bencher.iter(|| {
                broker.handle_datagram(now, address(PUBLISHER), black_box(&bytes));
                let mut copies = 0;
                while let Some(transmit) = broker.poll_transmit() {
                    black_box(transmit);
                    copies += 1;
                }
                assert_eq!(copies, 1);
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = matching
}
criterion_main!(benches);
