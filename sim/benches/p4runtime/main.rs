//! The control plane's rate: entries written and read over gRPC on loopback TCP, while packets go
//! through the tables that are being written, every one of them counted.
//!
//! `cargo bench -p sim --bench p4runtime`; the switch, its clients and the traffic share the machine.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use p4runtime::client::{Client, Stream};
use p4runtime::p4info::P4Info;
use p4runtime::v1;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use p4runtime::v1::stream_message_request::Update as ToSwitch;
use p4runtime::v1::update::Type;
use sim::ports::{Port, mem_pair};
use sim::runtime::{RunningRuntime, Runtime, RuntimeConfig};
use sim::server::serve_tcp;
use tokio::net::TcpListener;

mod entries;
mod traffic;

use traffic::Traffic;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Entries in one table; two tables are filled, so twice as many are written.
const EACH: u32 = 50_000;
/// Times that each figure is taken; the median is told.
const ROUNDS: usize = 3;
/// Updates in one `Write`.
const BATCHES: [usize; 3] = [100, 1_000, 10_000];
/// Updates written one by one.
const SINGLES: u32 = 5_000;
/// Frames that wait in a port: a stall of 0.8 s loses nothing, and shows as a delay.
const QUEUE: usize = 16_384;
const DEVICE: u64 = 1;

/// The switch, and its primary controller over TCP.
struct Controlled {
    client: Client,
    stream: Stream,
    p4info: P4Info,
    switch: RunningRuntime,
}

fn compiled(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../p4src/compiled")
        .join(file)
}

async fn start(ports: Vec<(u32, Box<dyn Port>)>) -> Result<Controlled> {
    let switch = Runtime::new(RuntimeConfig::default(), ports)?.start()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(serve_tcp(
        switch.service(),
        listener,
        std::future::pending(),
    ));
    let mut client = Client::connect(&address, DEVICE, None).await?;
    let stream = client.open_stream(1, None).await?;
    let p4info = P4Info::load(compiled("mqttsn.p4info.txtpb"))?;
    let json = std::fs::read(compiled("mqttsn.json"))?;
    client
        .set_forwarding_pipeline_config(Action::VerifyAndCommit, p4info.message().clone(), json, 0)
        .await?;
    let mut controlled = Controlled {
        client,
        stream,
        p4info,
        switch,
    };
    controlled.serve_one_publication().await?;
    Ok(controlled)
}

impl Controlled {
    /// What the traffic needs: a publication, its topic with one subscriber, and the lease.
    async fn serve_one_publication(&mut self) -> Result<()> {
        let base = entries::base(&self.p4info)?;
        self.client.write(base).await?;
        let lease = entries::lease(&self.p4info)?;
        self.stream.send(ToSwitch::Packet(lease)).await?;
        loop {
            let message = self.stream.recv().await?.ok_or("the stream ended")?;
            if let Some(v1::stream_message_response::Update::Packet(_)) = message.update {
                return Ok(());
            }
        }
    }

    /// Writes updates in batches, one after the other; the time it took.
    async fn write(&mut self, updates: Vec<v1::Update>, batch: usize) -> Result<Duration> {
        let mut batches = Vec::new();
        let mut rest = updates.into_iter().peekable();
        while rest.peek().is_some() {
            batches.push(rest.by_ref().take(batch).collect::<Vec<_>>());
        }
        let begin = Instant::now();
        for batch in batches {
            self.client.write(batch).await?;
        }
        Ok(begin.elapsed())
    }

    fn updates(&self, kind: Type) -> Result<Vec<v1::Update>> {
        let entries = entries::many(&self.p4info, EACH)?;
        Ok(entries
            .into_iter()
            .map(|entry| entries::update(kind, entry))
            .collect())
    }

    /// Everything in the two tables; the time it took.
    async fn read_all(&mut self) -> Result<Duration> {
        let filters = ["publication", "topic"].map(|table| {
            Ok::<_, p4runtime::p4info::EntityError>(self.p4info.table(table)?.all_entries().into())
        });
        let filters = filters
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let begin = Instant::now();
        let found = self.client.read(filters).await?;
        let took = begin.elapsed();
        let wanted = 2 * EACH as usize + 2;
        if found.len() != wanted {
            return Err(format!("{} entries were read, not {wanted}", found.len()).into());
        }
        Ok(took)
    }

    /// One MODIFY a `Write`, one after the other, in microseconds.
    async fn singles(&mut self) -> Result<Histogram<u64>> {
        let mut latency = Histogram::new(3)?;
        let entries = entries::many(&self.p4info, SINGLES / 2)?;
        for entry in entries {
            let update = vec![entries::update(Type::Modify, entry)];
            let begin = Instant::now();
            self.client.write(update).await?;
            latency.record(u64::try_from(begin.elapsed().as_nanos())?)?;
        }
        Ok(latency)
    }
}

/// Operations a second, from least to most.
struct Rates(Vec<f64>);

impl Rates {
    fn of(operations: u32, mut took: Vec<Duration>) -> Self {
        took.sort();
        let rate = |time: &Duration| f64::from(operations) / time.as_secs_f64();
        Rates(took.iter().rev().map(rate).collect())
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, .., most] = &self.0[..] else {
            return f.write_str("–");
        };
        let median = self.0[self.0.len() / 2];
        let k = 1e-3;
        write!(
            f,
            "{:.0} ({:.0}–{:.0}) k/s",
            median * k,
            least * k,
            most * k
        )
    }
}

/// Runs `work` under traffic, and tells what became of the traffic.
async fn under_traffic<T>(
    traffic: &mut Traffic,
    work: impl AsyncFnOnce() -> Result<T>,
) -> Result<(T, traffic::Report)> {
    traffic.begin();
    let result = work().await;
    let report = traffic.end();
    Ok((result?, report))
}

async fn run() -> Result<()> {
    let (ingress, publisher) = mem_pair("publisher", QUEUE);
    let (egress, subscriber) = mem_pair("subscriber", QUEUE);
    let mut switch = start(vec![(1, Box::new(ingress)), (2, Box::new(egress))]).await?;
    let mut traffic = Traffic::start(publisher, subscriber);
    println!(
        "P4Runtime on loopback TCP, one connection, requests one after the other; {} entries; meanwhile \
         {} PUBLISH/s through the tables that are written",
        2 * EACH,
        traffic::RATE
    );
    let mut delays = Vec::new();

    let ((), idle) = under_traffic(&mut traffic, async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    })
    .await?;
    delays.push(("no writes".to_owned(), idle));

    for batch in BATCHES {
        let mut took = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (took, kind) in took.iter_mut().zip([Type::Insert, Type::Modify]) {
                let updates = switch.updates(kind)?;
                let (time, report) =
                    under_traffic(&mut traffic, async || switch.write(updates, batch).await)
                        .await?;
                took.push(time);
                delays.push((
                    format!("{kind:?}, batches of {batch}, round {}", round + 1),
                    report,
                ));
            }
            let (time, report) =
                under_traffic(&mut traffic, async || switch.read_all().await).await?;
            took[2].push(time);
            delays.push((format!("wildcard read, round {}", round + 1), report));
            if batch == BATCHES[BATCHES.len() - 1] && round == ROUNDS - 1 {
                let (latency, report) =
                    under_traffic(&mut traffic, async || switch.singles().await).await?;
                let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
                println!(
                    "one MODIFY a Write, {} entries there: p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs",
                    2 * EACH,
                    us(0.5),
                    us(0.99),
                    us(0.999)
                );
                delays.push(("single writes".to_owned(), report));
            }
            let updates = switch.updates(Type::Delete)?;
            let (time, report) =
                under_traffic(&mut traffic, async || switch.write(updates, batch).await).await?;
            took[3].push(time);
            delays.push((
                format!("Delete, batches of {batch}, round {}", round + 1),
                report,
            ));
        }
        let [insert, modify, read, delete] = took.map(|took| Rates::of(2 * EACH, took));
        println!(
            "batches of {batch:>5}: INSERT {insert}, MODIFY {modify}, DELETE {delete}; read all {read}"
        );
    }

    println!("\nthe traffic meanwhile: frames sent, lost; delay in µs: p50, p99, most");
    let mut lost = 0;
    for (what, report) in &delays {
        println!("{what:<36} {report}");
        lost += report.lost();
    }
    drop(switch.switch);
    println!("frames lost in all: {lost}");
    Ok(())
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run())
}
