//! What one PUBLISH of QoS 0 costs the broker, from the datagram to the last copy.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use broker::{Broker, Config};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mqttsn::packet::{Connect, Publish, Subscribe};
use mqttsn::{Alias, MsgId, Packet, Qos, Seconds, TopicRef};

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 4000))
}

fn send(broker: &mut Broker, now: Instant, from: SocketAddr, packet: &Packet<'_>) {
    let mut bytes = vec![0; packet.encoded_len()];
    packet
        .encode(&mut bytes)
        .expect("the buffer is large enough");
    broker.handle_datagram(now, from, &bytes);
    while broker.poll_transmit().is_some() {}
}

/// A broker with this many subscribers of the short topic `ab`.
fn broker(subscribers: u16, now: Instant) -> Broker {
    let mut broker = Broker::new(Config::default(), now).expect("the default is valid");
    for number in 0..=subscribers {
        let connect = Connect {
            will: false,
            clean_session: true,
            protocol_id: 1,
            duration: Seconds(0),
            client_id: &format!("c{number}"),
        };
        send(&mut broker, now, address(number), &Packet::Connect(connect));
        if number > 0 {
            let subscribe = Subscribe {
                dup: false,
                qos: Qos::Zero,
                msg_id: MsgId(1),
                topic: TopicRef::Short(*b"ab"),
            };
            let packet = Packet::Subscribe(subscribe);
            send(&mut broker, now, address(number), &packet);
        }
    }
    broker
}

fn forward(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut group = criterion.benchmark_group("forward_qos0");
    for subscribers in [1, 16, 256] {
        let mut broker = broker(subscribers, now);
        let publish = Packet::Publish(Publish {
            dup: false,
            qos: Qos::Zero,
            retain: false,
            alias: Alias::short(*b"ab"),
            msg_id: MsgId(0),
            data: &[7; 64],
        });
        let mut bytes = vec![0; publish.encoded_len()];
        publish
            .encode(&mut bytes)
            .expect("the buffer is large enough");
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter(|| {
                broker.handle_datagram(now, address(0), black_box(&bytes));
                while let Some(transmit) = broker.poll_transmit() {
                    black_box(transmit);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
