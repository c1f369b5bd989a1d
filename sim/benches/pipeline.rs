//! How long one frame takes through the MQTT-SN program, and one write into a full table.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sim::control::{
    ActionCall, Control, EntryKey, MatchValue, MulticastGroup, Replica, TableAction, TableEntry,
    Write,
};
use sim::{OutputFn, Pipeline, Switch, SwitchConfig, Worker};

const BROKER_IP: u32 = 0x0a00_0001;
const CLIENT_IP: u32 = 0x0a00_0002;
const CLIENT_MAC: u64 = 0x0200_0000_0002;
const BROKER_MAC: u64 = 0x0200_0000_0001;
const CPU_PORT: u32 = 510;
/// Other entries in each of the large tables.
const OTHERS: u32 = 60_000;

fn be<const N: usize>(value: u64) -> [u8; N] {
    let bytes = value.to_be_bytes();
    std::array::from_fn(|i| bytes[8 - N + i])
}

fn insert(
    write: &mut Write<'_>,
    control: &Control,
    table: &str,
    key: &[u64],
    action: (&str, &[u64]),
) {
    let pipeline = control.pipeline();
    let handle = pipeline.table(table).expect("the program has the table");
    let matches = key
        .iter()
        .map(|value| MatchValue::Exact(value.to_be_bytes().to_vec()))
        .collect();
    let call = ActionCall {
        action: pipeline
            .table_info(handle)
            .action(action.0)
            .expect("the table has the action"),
        params: action
            .1
            .iter()
            .map(|value| value.to_be_bytes().to_vec())
            .collect(),
    };
    let entry = TableEntry::new(
        EntryKey {
            matches,
            priority: 0,
        },
        TableAction::Direct(call),
    );
    write.insert(handle, entry).expect("there is room");
}

/// The MQTT-SN program with one publication, a topic for each fan-out, and many others.
fn start() -> (Arc<Switch>, Control, Worker) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../p4src/compiled/mqttsn.json");
    let json = std::fs::read(path).expect("p4src is compiled");
    let switch = Switch::new(SwitchConfig::default());
    let control = switch.load(Arc::new(Pipeline::load(&json).expect("it loads")));
    let mut write = control.write(Duration::ZERO);
    let w = &mut write;
    insert(
        w,
        &control,
        "MqttsnIngress.smac",
        &[CLIENT_MAC, 0, 1],
        ("MqttsnIngress.mac_known", &[]),
    );
    insert(
        w,
        &control,
        "MqttsnIngress.dmac",
        &[BROKER_MAC, 0],
        ("MqttsnIngress.forward", &[2]),
    );
    let service = [u64::from(BROKER_IP), 1883];
    insert(
        w,
        &control,
        "MqttsnIngress.service",
        &service,
        ("MqttsnIngress.serve", &[1500]),
    );
    for (topic, replicas) in [(1u16, 1u16), (8, 8), (9, 1000)] {
        let key = [1, 0, u64::from(CLIENT_IP), 40_000, 0, u64::from(topic)];
        let admit = [u64::from(topic)];
        insert(
            w,
            &control,
            "MqttsnIngress.publication",
            &key,
            ("MqttsnIngress.admit", &admit),
        );
        let group = u64::from(topic) + 100;
        let offload = [group, group, 0, 0, 0, 0, 0, 7, 0, u64::from(topic)];
        let to_one = [11, 1, 1, 0, 7, 0, u64::from(topic)];
        // As the controller writes it.
        let action = match replicas {
            1 => ("MqttsnIngress.offload_to_one", &to_one[..]),
            _ => ("MqttsnIngress.offload", &offload[..]),
        };
        insert(
            w,
            &control,
            "MqttsnIngress.topic",
            &[u64::from(topic)],
            action,
        );
        let replicas = (1..=replicas)
            .map(|i| Replica {
                port: u32::from(i) % 500 + 10,
                instance: i,
            })
            .collect();
        w.insert_multicast_group(
            group as u16,
            MulticastGroup {
                replicas,
                metadata: vec![],
            },
        )
        .expect("a new group");
    }
    for i in 0..u64::from(OTHERS) {
        let deliver = [
            0x0200,
            0x0300 + i,
            u64::from(BROKER_IP),
            0x0b00_0000 + i,
            1883,
            40_000,
        ];
        let action = ("MqttsnEgress.deliver", &deliver[..]);
        insert(w, &control, "MqttsnEgress.subscriber", &[i + 1], action);
        let key = [2, 0, 0x0b00_0000 + i, 40_000, 0, 1];
        insert(
            w,
            &control,
            "MqttsnIngress.publication",
            &key,
            ("MqttsnIngress.admit", &[i + 10]),
        );
        let offload = [1, 1, 0, 0, 0, 0, 0, 7, 0, 1];
        let action = ("MqttsnIngress.offload", &offload[..]);
        insert(w, &control, "MqttsnIngress.topic", &[i + 10], action);
    }
    write.commit();
    let mut worker = switch.worker();
    // The lease: a packet-out, answered by a packet-in.
    let mut lease = be::<2>(2).to_vec();
    lease.resize(64, 0xff);
    let mut answers: Vec<(u32, Vec<u8>)> = Vec::new();
    worker.process(Duration::ZERO, CPU_PORT, &lease, &mut answers);
    assert_eq!(answers.len(), 1, "the lease is answered");
    assert_eq!(answers[0].0, CPU_PORT);
    (switch, control, worker)
}

/// A PUBLISH of so many bytes of data to a topic.
fn publish(topic: u16, data: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(be::<6>(BROKER_MAC));
    frame.extend(be::<6>(CLIENT_MAC));
    frame.extend([8, 0]);
    // A PUBLISH of more than 255 bytes has a length of three.
    let prefix = if data + 7 > 255 { 9 } else { 7 };
    let (mqttsn, udp) = (prefix + data, prefix + 8 + data);
    frame.extend([0x45, 0]);
    frame.extend((udp + 20).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(CLIENT_IP.to_be_bytes());
    frame.extend(BROKER_IP.to_be_bytes());
    frame.extend(40_000u16.to_be_bytes());
    frame.extend(1883u16.to_be_bytes());
    frame.extend(udp.to_be_bytes());
    frame.extend([0x12, 0x34]);
    match prefix {
        7 => frame.push(mqttsn as u8),
        _ => {
            frame.push(1);
            frame.extend(mqttsn.to_be_bytes());
        }
    }
    frame.extend([0x0c, 0x00]);
    frame.extend(topic.to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + usize::from(data), 0x55);
    frame
}

fn packets(c: &mut Criterion) {
    let (_switch, _control, mut worker) = start();
    let mut bridged = publish(1, 100);
    // Another UDP port: not a service.
    bridged[36] ^= 1;
    let cases = [
        ("PUBLISH to 1 subscriber", publish(1, 100), 1),
        ("PUBLISH of 1400 bytes to 1 subscriber", publish(1, 1400), 1),
        ("PUBLISH to 8 subscribers", publish(8, 100), 8),
        ("PUBLISH to 1000 subscribers", publish(9, 100), 1000),
        (
            "PUBLISH of 1400 bytes to 1000 subscribers",
            publish(9, 1400),
            1000,
        ),
        ("bridged frame", bridged, 1),
    ];
    let mut group = c.benchmark_group("packets");
    for (name, frame, copies) in cases {
        let mut out: Vec<(u32, Vec<u8>)> = Vec::new();
        worker.process(Duration::from_millis(1), 1, &frame, &mut out);
        assert_eq!(out.len(), copies, "{name}");
        group.throughput(Throughput::Elements(copies as u64));
        group.bench_function(name, |b| {
            let mut now = Duration::from_millis(1);
            b.iter(|| {
                now += Duration::from_nanos(500);
                let mut out = OutputFn(|port, head: &[u8], payload: &[u8]| {
                    black_box((port, head, payload));
                });
                worker.process(now, 1, black_box(&frame), &mut out);
            });
        });
    }
    group.finish();
}

/// Lookups: a frame of fourteen bytes through a program of one table.
fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookups");
    for (name, program, table, entries) in [
        (
            "lpm, 10 000 prefixes of 24 lengths",
            "lpm",
            "I.t",
            prefixes(),
        ),
        (
            "ternary, 10 000 entries of 20 masks",
            "ternary",
            "I.t",
            masks(),
        ),
        ("range, 1 000 disjoint ranges", "range", "I.t", ranges()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/programs/lookup_{program}.json"));
        let json = std::fs::read(path).expect("it is compiled");
        let switch = Switch::new(SwitchConfig::default());
        let control = switch.load(Arc::new(Pipeline::load(&json).expect("it loads")));
        let handle = control.pipeline().table(table).expect("the table");
        let info = control.pipeline().table_info(handle);
        let action = info.action("I.send").expect("the action");
        let mut write = control.write(Duration::ZERO);
        for (i, (value, priority)) in entries.into_iter().enumerate() {
            let call = ActionCall {
                action,
                params: vec![vec![(i % 200) as u8 + 1]],
            };
            let key = EntryKey {
                matches: vec![value],
                priority,
            };
            let entry = TableEntry::new(key, TableAction::Direct(call));
            write.insert(handle, entry).expect("there is room");
        }
        write.commit();
        let mut worker = switch.worker();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            let mut key = 0u32;
            b.iter(|| {
                key = key.wrapping_add(0x9E37_79B9);
                let mut frame = [0; 14];
                frame[..4].copy_from_slice(&key.to_be_bytes());
                let mut out = OutputFn(|port, head: &[u8], payload: &[u8]| {
                    black_box((port, head, payload));
                });
                worker.process(Duration::ZERO, 1, black_box(&frame), &mut out);
            });
        });
    }
    group.finish();
}

fn prefixes() -> Vec<(MatchValue, u32)> {
    (0..10_000u32)
        .map(|i| {
            let prefix_len = 9 + i % 24;
            // Distinct for each length: its own bits first.
            let value = (i / 24).reverse_bits() & u32::MAX << (32 - prefix_len);
            let value = value.to_be_bytes().to_vec();
            (MatchValue::Lpm { value, prefix_len }, 0)
        })
        .collect()
}

fn masks() -> Vec<(MatchValue, u32)> {
    (0..10_000u32)
        .map(|i| {
            let mask = (0xffff_f000u32).rotate_right(i % 20);
            let value = ((i / 20) << 12).rotate_right(i % 20) & mask;
            let [value, mask] = [value, mask].map(|word| word.to_be_bytes().to_vec());
            (MatchValue::Ternary { value, mask }, 1 + i)
        })
        .collect()
}

fn ranges() -> Vec<(MatchValue, u32)> {
    (0..1_000u32)
        .map(|i| {
            let [low, high] =
                [i << 22, (i << 22) + 0x3f_ffff].map(|word| word.to_be_bytes().to_vec());
            (MatchValue::Range { low, high }, 1 + i)
        })
        .collect()
}

fn writes(c: &mut Criterion) {
    let (_switch, control, _worker) = start();
    let table = control
        .pipeline()
        .table("MqttsnIngress.topic")
        .expect("the table");
    let action = control
        .pipeline()
        .table_info(table)
        .action("MqttsnIngress.offload");
    let call = ActionCall {
        action: action.expect("the action"),
        params: [1u8, 1, 0, 0, 0, 0, 0, 7, 0, 1]
            .iter()
            .map(|v| vec![*v])
            .collect(),
    };
    let entry = |i: u32| {
        let key = EntryKey::exact([&i.to_be_bytes()[..]]);
        TableEntry::new(key, TableAction::Direct(call.clone()))
    };
    let mut group = c.benchmark_group("writes into a table of 60 000 entries");
    group.throughput(Throughput::Elements(1));
    group.bench_function("MODIFY, one a write", |b| {
        let mut i = 0;
        b.iter(|| {
            i = (i + 7919) % OTHERS;
            control
                .write(Duration::ZERO)
                .modify(table, entry(i + 10))
                .expect("it is there");
        });
    });
    group.throughput(Throughput::Elements(100));
    group.bench_function("MODIFY, a hundred a write", |b| {
        let mut i = 0;
        b.iter(|| {
            let mut write = control.write(Duration::ZERO);
            for _ in 0..100 {
                i = (i + 7919) % OTHERS;
                write.modify(table, entry(i + 10)).expect("it is there");
            }
        });
    });
    group.throughput(Throughput::Elements(2));
    group.bench_function("INSERT and DELETE, one a write each", |b| {
        b.iter(|| {
            let new = entry(1_000_000);
            let key = new.key.clone();
            control
                .write(Duration::ZERO)
                .insert(table, new)
                .expect("it is new");
            control
                .write(Duration::ZERO)
                .delete(table, &key)
                .expect("it is there");
        });
    });
    group.finish();
}

criterion_group!(benches, packets, lookups, writes);
criterion_main!(benches);
