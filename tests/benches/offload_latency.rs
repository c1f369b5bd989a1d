//! How long a PUBLISH takes from a publisher's socket to a subscriber's, through the broker and past
//! it: the same switch, broker and clients, in one run, message by message in turns.
//!
//! Every host is a network namespace on a veth pair: nothing is between the processes but the kernel
//! and the switch. One topic is offloaded, and for the other the policy leaves everything to the
//! broker. One message is on its way at a time; sender and receiver are one thread, which sleeps
//! until the message is there. Needs root and, for BMv2, `simple_switch_grpc` and `ethtool`.
//!
//! `cargo bench -p system-tests --bench offload_latency -- [sim|bmv2] [--messages N]`
#![allow(missing_docs)]

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use system_tests::data_plane::Target;
use system_tests::netns::{self, Namespace};
use system_tests::network::{BROKER, Network};
use system_tests::on_path;

/// Octets of data of each PUBLISH.
const DATA: usize = 100;
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two messages: all that was woken is asleep again.
const PAUSE: Duration = Duration::from_millis(1);
const TOPICS: [&str; 2] = ["software/topic", "offloaded/topic"];

struct Client(UdpSocket);

impl Client {
    fn connect(host: &Namespace, id: &str) -> io::Result<Self> {
        let socket = host.run(|| UdpSocket::bind("0.0.0.0:0"))?;
        socket.connect(BROKER)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let client = Client(socket);
        // MQTT-SN 1.2 §5.4.4: clean session, protocol 1, keep alive.
        client.ask(
            &[&[0x04, 0x04, 0x01, 0xff, 0x00], id.as_bytes()].concat(),
            0x05,
        )?;
        Ok(client)
    }

    /// Sends a message (without its Length) and gives the answer of this type.
    fn ask(&self, message: &[u8], answer: u8) -> io::Result<Vec<u8>> {
        let length = u8::try_from(message.len() + 1).map_err(io::Error::other)?;
        self.0.send(&[&[length], message].concat())?;
        let mut buffer = [0; 1500];
        loop {
            let octets = self.0.recv(&mut buffer)?;
            if buffer[1] == answer {
                return Ok(buffer[..octets].to_vec());
            }
        }
    }

    /// The TopicId under which it may publish (§5.4.10).
    fn register(&self, topic: &str) -> io::Result<[u8; 2]> {
        let register = [&[0x0a, 0, 0, 0, 1], topic.as_bytes()].concat();
        let answer = self.ask(&register, 0x0b)?;
        Ok([answer[2], answer[3]])
    }

    /// At QoS 0 (§5.4.15).
    fn subscribe(&self, topic: &str) -> io::Result<()> {
        let subscribe = [&[0x12, 0, 0, 1], topic.as_bytes()].concat();
        self.ask(&subscribe, 0x13).map(drop)
    }
}

/// How long one message took.
fn message(publisher: &Client, subscriber: &Client, topic: [u8; 2]) -> io::Result<Duration> {
    let mut publish = vec![7 + DATA as u8, 0x0c, 0, topic[0], topic[1], 0, 0];
    publish.resize(7 + DATA, 0x55);
    let mut buffer = [0; 1500];
    let sent = Instant::now();
    publisher.0.send(&publish)?;
    loop {
        let octets = subscriber.0.recv(&mut buffer)?;
        if octets == publish.len() && buffer[1] == 0x0c {
            return Ok(sent.elapsed());
        }
    }
}

fn measure(target: Target, messages: usize) -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("pinned.yaml");
    std::fs::write(&config, "controller: {policy: {pinned: [offloaded/#]}}\n")?;
    let network = Network::start_with(target, &format!("--config {}", config.display()));
    let publisher = Client::connect(&network.publisher, "publisher")?;
    let subscriber = Client::connect(&network.subscriber, "subscriber")?;
    let mut topics = Vec::new();
    for topic in TOPICS {
        subscriber.subscribe(topic)?;
        topics.push(publisher.register(topic)?);
    }
    // Each takes the path that is to be measured.
    for (topic, wanted) in topics.iter().zip([1, 0]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = network.seen_by_broker();
            message(&publisher, &subscriber, *topic)?;
            if network.seen_by_broker() - before == wanted {
                break;
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("the messages do not take their paths"));
            }
        }
    }

    let mut took = [Vec::new(), Vec::new()];
    let before = network.seen_by_broker();
    for n in 0..messages * 2 {
        // A, B, B, A, …: neither always follows the other.
        let which = usize::from([false, true, true, false][n % 4]);
        took[which].push(message(&publisher, &subscriber, topics[which])?);
        #[expect(clippy::disallowed_methods, reason = "the pace of the measurement")]
        std::thread::sleep(PAUSE);
    }
    let through_broker = network.seen_by_broker() - before;
    let offloaded = 1.0 - (through_broker as f64 - messages as f64) / messages as f64;
    println!("{target:?}: {messages} messages of {DATA} octets on each path, in turns");
    println!("| path | p50 | p90 | p99 |\n|---|---|---|---|");
    let mut rows = Vec::new();
    for (name, took) in ["through the broker", "offloaded"].iter().zip(&mut took) {
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let row = [at(0.5), at(0.9), at(0.99)];
        println!(
            "| {name} | {:.0} µs | {:.0} µs | {:.0} µs |",
            row[0], row[1], row[2]
        );
        rows.push(row);
    }
    let ratio = |n: usize| rows[1][n] / rows[0][n];
    println!(
        "| ratio | {:.2} | {:.2} | {:.2} |",
        ratio(0),
        ratio(1),
        ratio(2)
    );
    println!(
        "kept from the broker: {:.2} % of the offloaded topic\n",
        offloaded * 100.0
    );
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let messages = arguments
        .iter()
        .position(|argument| argument == "--messages");
    let messages = messages.and_then(|at| arguments.get(at + 1)?.parse().ok());
    if !netns::available() {
        println!("no network namespaces here (they take the rights of root): nothing is measured");
        return Ok(());
    }
    for (name, target) in [("sim", Target::SimOnVeth), ("bmv2", Target::Bmv2)] {
        let others = ["sim", "bmv2"].iter().filter(|other| **other != name);
        let wanted = others
            .clone()
            .all(|other| !arguments.iter().any(|a| a == other))
            || arguments.iter().any(|argument| argument == name);
        if !wanted {
            continue;
        }
        let here = |program| on_path(program).is_some();
        if target == Target::Bmv2 && !(here("simple_switch_grpc") && here("ethtool")) {
            println!("no simple_switch_grpc or no ethtool on PATH: BMv2 is not measured");
            continue;
        }
        measure(target, messages.unwrap_or(3000))?;
    }
    Ok(())
}
