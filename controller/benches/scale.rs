//! What the controller costs at scale: plan time, memory, reconciling a switch, joins.
//!
//! ```text
//! cargo bench -p controller --bench scale [-- TOPICS [SUBSCRIBERS]]
//! ```
//! Device and sim run in this process, with P4Runtime between them in memory. Every figure is one
//! run; memory is what the resident set of the process grew by.
//!
//! Topics share sets of subscribers, as there are more topics than multicast groups. Who joins and
//! leaves is in no set, so that each join and each leave makes a set that is not on the switch.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::device::Device;
use controller::tables::Mac;
use controller::tables::digests::Learned;
use controller::target::{Event, GrpcSwitch, Schema, Switch, Target};
use controller::{Config, PipelineConfig};
use futures::stream::{FuturesOrdered, StreamExt};
use offload::{
    Alias, AliasType, Change, Delta, Generation, Intent, Member, Publication, PublicationKey,
    Revision, Serve, SessionId, Topic, TopicIndex,
};
use p4runtime::p4info::P4Info;

const SESSIONS: u32 = 8192;
/// Sessions that join and leave, beside those.
const JOINERS: u32 = 1024;
/// Distinct sets of subscribers: the program has 32766 multicast groups.
const SETS: u32 = 16_384;
const PORTS: std::ops::RangeInclusive<u16> = 1..=8;
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn router(port: u16) -> Mac {
    Mac([2, 0, 0, 0, 0, port as u8])
}

fn address(session: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 0)) + session)
}

fn port(session: u32) -> u16 {
    2 + (session % 7) as u16
}

fn calls() -> impl Iterator<Item = Learned> {
    let station = |port| Learned::Mac {
        mac: router(port),
        vid: 0,
        port,
    };
    let call = |session| Learned::Endpoint {
        port: 1,
        vid: 0,
        eth_src: router(1),
        eth_dst: router(port(session)),
        ip_src: SERVICE.into(),
        ip_dst: address(session).into(),
    };
    PORTS.map(station).chain((0..SESSIONS + JOINERS).map(call))
}

fn topic(index: u32, subscribers: u32) -> Topic {
    let set = index % SETS;
    let member =
        |n| SessionId((set.wrapping_mul(2_654_435_761) >> 7).wrapping_add(n * 131) % SESSIONS);
    let served: std::collections::BTreeSet<_> = (0..subscribers).map(member).collect();
    Topic {
        name: format!("site/{}/sensor/{index}", index % 97),
        generation: Generation(1),
        home_alias: Alias {
            id_type: AliasType::Normal,
            id: (index % 65_000) as u16 + 1,
        },
        served_q1: served.clone(),
        served_q0: served,
        copy_q0: false,
        copy_q1: false,
        ack_q1: true,
        shared: BTreeMap::new(),
        aliases: BTreeMap::new(),
    }
}

fn intent(topics: u32, subscribers: u32) -> Intent {
    let mut intent = Intent {
        revision: Revision(1),
        ..Intent::default()
    };
    intent.services.insert(SocketAddr::from((SERVICE, 1883)));
    for session in 0..SESSIONS + JOINERS {
        let address = SocketAddr::from((address(session), 5000));
        intent.sessions.insert(SessionId(session), address);
    }
    for index in 0..topics {
        let topic = topic(index, subscribers);
        // One publisher a topic, each of many.
        let session = index % SESSIONS;
        let key = PublicationKey {
            address: SocketAddr::from((address(session), 5000)),
            alias: topic.home_alias,
        };
        let publication = Publication {
            session: SessionId(session),
            topic: TopicIndex(index),
        };
        intent.publications.insert(key, publication);
        intent.topics.insert(TopicIndex(index), topic);
    }
    intent
}

/// One session joins a topic, or leaves it one turn later: the k-th change of a run.
fn step(k: u32, generation: u32, topics: u32) -> Change {
    let joins = (k / topics).is_multiple_of(2);
    let member = Member {
        q0: true,
        q1: true,
        alias: None,
    };
    Change::Serve(
        TopicIndex(k % topics),
        Serve {
            generation: Generation(generation),
            copy_q0: false,
            copy_q1: false,
            ack_q1: true,
            members: vec![(
                SessionId(SESSIONS + k % topics % JOINERS),
                joins.then_some(member),
            )],
            shared: Vec::new(),
        },
    )
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn config() -> Arc<Config> {
    Arc::new(Config {
        ports: PORTS.collect(),
        ..Config::default()
    })
}

fn linked(device: &mut Device, intent: Intent) {
    device.learned(calls());
    device.link_opened();
    device.snapshot(Instant::now(), intent);
}

/// Writes all that there is to write at that moment to a switch that takes no time and keeps nothing;
/// the time that the device took, and how many rows it wrote.
fn run(device: &mut Device, now: Instant) -> (Duration, usize) {
    let (mut spent, mut updates) = (Duration::ZERO, 0);
    loop {
        let begin = Instant::now();
        let batch = device.next_batch(now);
        spent += begin.elapsed();
        let Some(batch) = batch else {
            return (spent, updates);
        };
        updates += batch.len();
        let begin = Instant::now();
        device.batch_done(now, vec![Ok(()); batch.len()]);
        spent += begin.elapsed();
    }
}

fn planning(topics: u32, subscribers: u32) {
    let before = resident_mib();
    let intent = intent(topics, subscribers);
    let with_intent = resident_mib();
    let mut device = Device::new(config(), HashMap::new());
    linked(&mut device, intent);
    let (spent, updates) = run(&mut device, Instant::now());
    println!("  plan and batches: {spent:.2?} for {updates} rows");
    println!(
        "  memory: the intent {} MiB; the controller with it {} MiB",
        with_intent - before,
        resident_mib() - before
    );
}

fn joins(subscribers: u32, topics: u32, at_once: u32) {
    let mut device = Device::new(config(), HashMap::new());
    // One change in a millisecond: each set is gone from the switch before it comes again.
    let mut now = Instant::now();
    linked(&mut device, intent(topics, subscribers));
    run(&mut device, now);
    let (mut spent, mut updates, mut revision) = (Duration::ZERO, 0, 1);
    const JOINS: u32 = 20_000;
    for k in 0..JOINS {
        let delta = Delta {
            base: Revision(revision),
            revision: Revision(revision + 1),
            changes: vec![step(k, k + 2, topics)],
        };
        revision += 1;
        now += Duration::from_millis(1);
        let begin = Instant::now();
        device.delta(now, &delta).unwrap();
        spent += begin.elapsed();
        if (k + 1) % at_once == 0 {
            let (time, rows) = run(&mut device, now);
            spent += time;
            updates += rows;
        }
    }
    println!(
        "  {subscribers} subscribers, {at_once} joins or leaves a step: {:.2?} each, {:.1} rows each",
        spent / JOINS,
        f64::from(u32::try_from(updates).unwrap()) / f64::from(JOINS)
    );
}

fn pipeline() -> PipelineConfig {
    let p4info = include_str!("../../p4src/compiled/mqttsn.p4info.txtpb");
    PipelineConfig {
        p4info: Arc::new(P4Info::from_text(p4info).unwrap()),
        device_config: include_bytes!("../../p4src/compiled/mqttsn.json").to_vec(),
    }
}

/// As the controller does: batches that need nothing of each other are under way together.
async fn write_all(device: &mut Device, target: &impl Target) -> usize {
    let mut updates = 0;
    let mut writing = FuturesOrdered::new();
    loop {
        while let Some(batch) = device.next_batch(Instant::now()) {
            updates += batch.len();
            writing.push_back(target.write(batch));
        }
        let Some(results) = writing.next().await else {
            return updates;
        };
        device.batch_done(Instant::now(), results.unwrap());
    }
}

async fn reconciling(topics: u32, subscribers: u32) {
    let mut ports: Vec<(u32, Box<dyn sim::ports::Port>)> = Vec::new();
    let mut links = Vec::new();
    for number in PORTS {
        let (port, link) = sim::ports::mem_pair(&format!("p{number}"), 64);
        ports.push((number.into(), Box::new(port)));
        links.push(link);
    }
    let sim = sim::runtime::RuntimeConfig::default();
    let device_id = sim.device.device_id;
    let running = sim::runtime::Runtime::new(sim, ports)
        .unwrap()
        .start()
        .unwrap();
    let channel = sim::server::connect_in_memory(running.service());
    let mut switch =
        GrpcSwitch::new("", device_id, 1, Schema::new(pipeline()).unwrap()).with_channel(channel);
    let (target, mut events) = switch.connect().await.unwrap();
    while events.recv().await.unwrap() != Event::Primary {}
    target.prepare().await.unwrap();
    let wanted = intent(topics, subscribers);

    let begin = Instant::now();
    let mut device = Device::new(config(), target.sizes());
    device.adopt(target.read().await.unwrap());
    linked(&mut device, wanted.clone());
    let updates = write_all(&mut device, &target).await;
    println!(
        "  an empty switch: {updates} rows in {:.2?}",
        begin.elapsed()
    );

    let begin = Instant::now();
    let mut device = Device::new(config(), target.sizes());
    let rows = target.read().await.unwrap();
    let (read, count) = (begin.elapsed(), rows.len());
    device.adopt(rows);
    linked(&mut device, wanted);
    let updates = write_all(&mut device, &target).await;
    println!(
        "  a switch that is right: {count} rows read in {read:.2?}, in all {:.2?}, {updates} rows written",
        begin.elapsed()
    );

    // As fast as the switch takes them; what comes while a write is under way is the next step.
    const CHANGES: u32 = 60_000;
    let (mut revision, mut k, mut updates) = (1, 0, 0);
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    while k < CHANGES {
        let due = (begin.elapsed().as_secs_f64() * 20_000.0) as u32;
        let step_begin = Instant::now();
        while k < due.min(CHANGES) {
            let delta = Delta {
                base: Revision(revision),
                revision: Revision(revision + 1),
                changes: vec![step(k, k + 2, topics)],
            };
            revision += 1;
            k += 1;
            device.delta(Instant::now(), &delta).unwrap();
        }
        updates += write_all(&mut device, &target).await;
        slowest = slowest.max(step_begin.elapsed());
    }
    updates += write_all(&mut device, &target).await;
    println!(
        "  {CHANGES} joins and leaves offered at 20000/s: done in {:.2?}, {updates} rows written, \
         the slowest step {slowest:.2?}",
        begin.elapsed()
    );
    drop(links);
}

fn main() {
    // `cargo bench` passes `--bench`.
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse::<u32>().ok());
    let topics = numbers.next().unwrap_or(65_536);
    let subscribers = numbers.next().unwrap_or(10);
    println!(
        "{topics} topics of {subscribers} subscribers ({SETS} sets, {SESSIONS} sessions), a publication each"
    );
    planning(topics, subscribers);
    println!("joins and leaves, the controller's own time");
    for (subscribers, topics) in [(10, 1000), (1000, 100)] {
        for at_once in [1, 100] {
            joins(subscribers, topics, at_once);
        }
    }
    println!("sim over P4Runtime");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(reconciling(topics, subscribers));
}
