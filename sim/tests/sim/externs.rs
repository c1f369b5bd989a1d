//! Counters, meters, registers, digests, hashes and randomness.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::programs::{Bench, run, run_with};
use sim::SwitchConfig;
use sim::control::{
    ControlError, CounterData, EntryKey, MeterConfig, MeterUnit, TableAction, TableEntry,
};

const DIGEST: u8 = 7;
const REGISTER_WRITE: u8 = 9;
const REGISTER_READ: u8 = 10;
const COUNT: u8 = 11;
const METER: u8 = 12;
const HASH: u8 = 13;
const RANDOM: u8 = 14;
const EXIT: u8 = 15;
const DIRECT: u8 = 16;
const WIDE_REGISTER: u8 = 24;

/// Op and value of what leaves.
fn ask(bench: &mut Bench, op: u8, arg: u8, value: u16) -> (u8, u16) {
    let mut frame = vec![op, arg];
    frame.extend(value.to_be_bytes());
    let out = bench.send(&frame);
    (out[16], u16::from_be_bytes([out[18], out[19]]))
}

#[test]
fn registers_keep_their_values_and_ignore_indices_beyond_the_end() {
    let mut bench = run("traffic");
    let register = bench
        .control
        .pipeline()
        .register("TestIngress.cells")
        .expect("register");
    ask(&mut bench, REGISTER_WRITE, 2, 0x1234);
    assert_eq!(ask(&mut bench, REGISTER_READ, 2, 0).1, 0x1235);
    assert_eq!(ask(&mut bench, REGISTER_READ, 1, 0).1, 0);
    ask(&mut bench, REGISTER_WRITE, 4, 0x1234);
    assert_eq!(
        ask(&mut bench, REGISTER_READ, 4, 0).1,
        0,
        "the destination is left alone"
    );
    assert_eq!(
        bench.control.register(register, 2),
        Ok(vec![0, 1, 0x12, 0x34])
    );
    bench
        .control
        .write_register(register, 2, &[5])
        .expect("it fits");
    assert_eq!(ask(&mut bench, REGISTER_READ, 2, 0).1, 5);
    assert!(matches!(
        bench.control.register(register, 4),
        Err(ControlError::NotFound(_))
    ));
    let too_wide = bench.control.write_register(register, 0, &[1, 0, 0, 0, 0]);
    assert!(matches!(too_wide, Err(ControlError::InvalidArgument(_))));
}

#[test]
fn registers_may_be_wider_than_a_word() {
    let mut bench = run("traffic");
    let register = bench
        .control
        .pipeline()
        .register("TestIngress.wide_cells")
        .expect("register");
    for value in [0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666, 0x7777] {
        ask(&mut bench, WIDE_REGISTER, 1, value);
    }
    let expected = [
        0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x66, 0x66, 0x77, 0x77,
    ];
    assert_eq!(bench.control.register(register, 1), Ok(expected.to_vec()));
    assert_eq!(bench.control.register(register, 0), Ok(vec![0; 12]));
}

#[test]
fn counters_count_packets_and_bytes() {
    let mut bench = run("traffic");
    let counter = bench
        .control
        .pipeline()
        .counter("TestIngress.counts")
        .expect("counter");
    bench.send(&[COUNT, 1, 0, 0]);
    bench.send(&[COUNT, 1, 0, 0, 1, 2, 3]);
    bench.send(&[COUNT, 9, 0, 0]);
    let at = |i| bench.control.counter(counter, i);
    assert_eq!(
        at(1),
        Ok(CounterData {
            packets: 2,
            bytes: 11
        })
    );
    assert_eq!(at(0), Ok(CounterData::default()));
    assert!(matches!(at(4), Err(ControlError::NotFound(_))));
    bench
        .control
        .write_counter(counter, 1, CounterData::default())
        .expect("write");
    assert_eq!(
        bench.control.counter(counter, 1),
        Ok(CounterData::default())
    );
}

#[test]
fn indirect_meters_mark_by_packets_or_bytes() {
    let mut bench = run("traffic");
    let pipeline = bench.control.pipeline().clone();
    let packets = pipeline.meter("TestIngress.packet_meters").expect("meter");
    let bytes = pipeline.meter("TestIngress.byte_meters").expect("meter");
    assert_eq!(pipeline.meter_info(packets).unit, MeterUnit::Packets);
    assert_eq!(pipeline.meter_info(bytes).unit, MeterUnit::Bytes);
    assert_eq!(
        ask(&mut bench, METER, 0, 0).1,
        0,
        "without a configuration it is green"
    );
    let config = MeterConfig {
        cir: 1,
        cburst: 1,
        pir: 2,
        pburst: 2,
    };
    bench
        .control
        .write_meter(packets, 0, Some(config))
        .expect("write");
    assert_eq!(bench.control.meter(packets, 0), Ok(Some(config)));
    let mut colors = |n: u16| [0; 4].map(|_| ask(&mut bench, METER, 0, n).1);
    assert_eq!(colors(0), [0, 1, 2, 2]);
    // A second later one committed and two peak tokens are back.
    bench.now = Duration::from_secs(1);
    assert_eq!([0; 4].map(|_| ask(&mut bench, METER, 0, 0).1), [0, 1, 2, 2]);
    let config = MeterConfig {
        cir: 4,
        cburst: 4,
        pir: 8,
        pburst: 8,
    };
    bench
        .control
        .write_meter(bytes, 3, Some(config))
        .expect("write");
    assert_eq!(
        [0; 4].map(|_| ask(&mut bench, METER, 3, 1).1),
        [0, 1, 2, 2],
        "4 bytes a frame"
    );
    assert_eq!(
        ask(&mut bench, METER, 7, 0).1,
        0,
        "beyond the end: the colour is left alone"
    );
    let backwards = MeterConfig {
        cir: 2,
        cburst: 1,
        pir: 1,
        pburst: 1,
    };
    assert!(
        bench
            .control
            .write_meter(packets, 0, Some(backwards))
            .is_err()
    );
    bench.control.write_meter(packets, 0, None).expect("write");
    assert_eq!(ask(&mut bench, METER, 0, 0).1, 0);
}

#[test]
fn direct_counters_and_meters_belong_to_their_entry() {
    let mut bench = run("traffic");
    let table = bench.table("direct_table");
    let key = |arg: u8| EntryKey::exact([&[arg][..]]);
    let entry = |bench: &Bench, arg: u8, value: u8| {
        let call = bench.call(table, "metered", &[&[value]]);
        TableEntry::new(key(arg), TableAction::Direct(call))
    };
    let mut write = bench.control.write(bench.now);
    write.insert(table, entry(&bench, 1, 11)).expect("insert");
    write.insert(table, entry(&bench, 2, 22)).expect("insert");
    write.commit();
    let config = MeterConfig {
        cir: 4,
        cburst: 4,
        pir: 8,
        pburst: 8,
    };
    bench
        .control
        .write_direct_meter(table, Some(&key(1)), Some(config))
        .expect("write");
    assert_eq!(
        bench.control.direct_meter(table, Some(&key(1))),
        Ok(Some(config))
    );
    assert_eq!(
        [0; 3].map(|_| ask(&mut bench, DIRECT, 1, 0)),
        [(0, 11), (1, 11), (2, 11)]
    );
    assert_eq!(ask(&mut bench, DIRECT, 2, 0), (0, 22));
    assert_eq!(ask(&mut bench, DIRECT, 3, 0), (0, 0xdead));
    let counter = |bench: &Bench, arg| bench.control.direct_counter(table, Some(&key(arg)));
    assert_eq!(
        counter(&bench, 1),
        Ok(CounterData {
            packets: 3,
            bytes: 12
        })
    );
    assert_eq!(
        counter(&bench, 2),
        Ok(CounterData {
            packets: 1,
            bytes: 4
        })
    );
    let default = bench.control.direct_counter(table, None);
    assert_eq!(
        default,
        Ok(CounterData {
            packets: 1,
            bytes: 4
        }),
        "misses count there"
    );
    // MODIFY keeps both.
    bench
        .control
        .write(bench.now)
        .modify(table, entry(&bench, 1, 12))
        .expect("modify");
    assert_eq!(
        counter(&bench, 1),
        Ok(CounterData {
            packets: 3,
            bytes: 12
        })
    );
    assert_eq!(ask(&mut bench, DIRECT, 1, 0), (2, 12));
    let zero = CounterData::default();
    bench
        .control
        .write_direct_counter(table, Some(&key(1)), zero)
        .expect("write");
    assert_eq!(counter(&bench, 1), Ok(zero));
    assert!(matches!(counter(&bench, 3), Err(ControlError::NotFound(_))));
    let aged = bench.table("aged");
    let none = bench.control.direct_counter(aged, None);
    assert!(matches!(none, Err(ControlError::Unsupported(_))));
}

#[test]
fn digests_wait_in_order_until_they_are_taken() {
    let mut bench = run_with(
        "traffic",
        SwitchConfig {
            digest_queue: 3,
            ..Default::default()
        },
    );
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    bench.switch.on_digest(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let pipeline = bench.control.pipeline().clone();
    let learned = pipeline.digest("learned_t").expect("digest");
    let other = pipeline.digest("other_t").expect("digest");
    let widths: Vec<u32> = pipeline
        .digest_info(learned)
        .fields
        .iter()
        .map(|f| f.width)
        .collect();
    assert_eq!(widths, [8, 16, 9]);
    for value in 0..5 {
        ask(&mut bench, DIGEST, 1, value);
    }
    assert_eq!(woken.load(Ordering::Relaxed), 3);
    assert_eq!(bench.control.digests_lost(learned), 2);
    let first = bench.control.take_digests(learned, 1);
    assert_eq!(first[0].fields, [vec![1], vec![0, 0], vec![0, 3]]);
    let rest = bench.control.take_digests(learned, 10);
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[1].fields, [vec![1], vec![0, 2], vec![0, 3]]);
    assert_eq!(bench.control.take_digests(learned, 10), []);
    // A packet may send two different digests.
    bench.now = Duration::from_micros(99);
    ask(&mut bench, DIGEST, 2, 7);
    assert_eq!(bench.control.take_digests(learned, 10).len(), 1);
    let when = bench.control.take_digests(other, 10);
    assert_eq!(when[0].fields, [vec![0, 0, 0, 0, 0, 99]]);
}

#[test]
fn hashes_are_those_of_simple_switch() {
    let mut bench = run("traffic");
    // CRC-16/ARC of 0d 12 34, computed bit by bit.
    let crc16 = |bytes: &[u8]| {
        bytes.iter().fold(0u16, |mut crc, byte| {
            crc ^= u16::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xA001
                } else {
                    crc >> 1
                };
            }
            crc
        })
    };
    let crc32 = |bytes: &[u8]| {
        !bytes.iter().fold(!0u32, |mut crc, byte| {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xEDB8_8320
                } else {
                    crc >> 1
                };
            }
            crc
        })
    };
    assert_eq!(
        ask(&mut bench, HASH, 0, 0x1234).1,
        crc16(&[HASH, 0x12, 0x34])
    );
    let expected = crc32(&[0x12, 0x34, 1]) % 1000 + 10;
    assert_eq!(u32::from(ask(&mut bench, HASH, 1, 0x1234).1), expected);
    assert_eq!(ask(&mut bench, HASH, 2, 0x1234).1, 0x1234);
    assert_eq!(
        ask(&mut bench, HASH, 3, 0x1234).1,
        0x1234 ^ u16::from(HASH) << 8
    );
    // 4w1 ++ 0x1234 ++ 4w2 ++ 0x0d: 11 23 42 0d.
    assert_eq!(ask(&mut bench, HASH, 4, 0x1234).1, !(0x1123 + 0x420d));
}

#[test]
fn random_numbers_stay_in_their_bounds_and_follow_the_seed() {
    let numbers = |seed: u64| -> Vec<u16> {
        let mut bench = run_with(
            "traffic",
            SwitchConfig {
                seed,
                ..Default::default()
            },
        );
        (0..64).map(|_| ask(&mut bench, RANDOM, 0, 0).1).collect()
    };
    let first = numbers(1);
    assert!(
        (10..=13).all(|n| first.contains(&n)),
        "all of 10..=13 occur: {first:?}"
    );
    assert!(first.iter().all(|n| (10..=13).contains(n)));
    assert_eq!(first, numbers(1));
    assert_ne!(first, numbers(2));
}

#[test]
fn exit_ends_ingress_but_not_the_packet() {
    let mut bench = run("traffic");
    assert_eq!(ask(&mut bench, EXIT, 1, 0).1, 1);
    assert_eq!(ask(&mut bench, EXIT, 0, 0).1, 2);
}
