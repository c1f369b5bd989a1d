//! How many messages one core reads and writes. The design asks for 20 million PUBLISH a second
//! with 100 octets of payload.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqttsn::packet::{Publish, Subscribe};
use mqttsn::{Alias, Frame, MsgId, Packet, Qos, Tag, TopicRef};

fn publish(data: &[u8]) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos: Qos::One,
        retain: false,
        alias: Alias::normal(7),
        msg_id: MsgId(42),
        data,
    })
}

fn codec(criterion: &mut Criterion) {
    let data = [0x5A; 100];
    let mut datagram = [0; 107];
    assert_eq!(publish(&data).encode(&mut datagram), Ok(107));
    let mut tagged = Tag {
        topic_index: 7,
        generation: 9,
    }
    .to_encapsulation()
    .to_vec();
    tagged.extend(datagram);
    let subscribe = Packet::Subscribe(Subscribe {
        dup: false,
        qos: Qos::One,
        msg_id: MsgId(42),
        topic: TopicRef::Name("building/3/floor/+/temperature"),
    });
    let mut subscribe_datagram = [0; 64];
    let length = subscribe
        .encode(&mut subscribe_datagram)
        .expect("room enough");

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode PUBLISH, 100 octets", |bencher| {
        bencher.iter(|| Packet::decode(black_box(&datagram)));
    });
    group.bench_function("decode PUBLISH with tag, 100 octets", |bencher| {
        bencher.iter(|| {
            let frame = Frame::decode(black_box(&tagged))?;
            let tag = frame
                .layers()
                .next()
                .and_then(|layer| Tag::from_encapsulation(&layer));
            frame.packet().map(|packet| (tag, packet))
        });
    });
    group.bench_function("encode PUBLISH, 100 octets", |bencher| {
        let mut buffer = [0; 128];
        let packet = publish(&data);
        bencher.iter(|| black_box(&packet).encode(black_box(&mut buffer)));
    });
    group.bench_function("decode SUBSCRIBE, 30 octets", |bencher| {
        bencher.iter(|| Packet::decode(black_box(&subscribe_datagram[..length])));
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
