//! The whole system as processes on hosts of their own, for faults: every controller is on a host of its
//! own with one link to the switch and one to the broker, which it talks to over TLS.
//!
//! All hosts are network namespaces, so that a link can be cut.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mqttsn::types::{Alias, Qos, TopicRef};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;
use topicswitch::client::{Answer, ConnectOptions};

use crate::data_plane::Target;
use crate::netns::Namespace;
use crate::network::topicswitch;
use crate::process::Process;
use crate::system::{DEADLINE, Received, TestClient};

/// Where clients find the broker.
const BROKER: &str = "10.0.0.1:1884";
/// The topic of the load.
pub const TOPIC: &str = "lab/load";
/// How long anything may take that must happen; links are given up after some ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Controllers that a lab has room for.
const CONTROLLERS: u8 = 3;
/// Between two messages of the load.
const PACE: Duration = Duration::from_millis(3);
/// Between two questions.
const AGAIN: Duration = Duration::from_millis(30);

/// A switch, a broker, and hosts for clients and controllers.
pub struct Lab {
    /// The publishers' host.
    publisher: Namespace,
    /// The subscribers' host.
    subscriber: Namespace,
    broker: Namespace,
    host: Namespace,
    controllers: Vec<Namespace>,
    target: Target,
    switch: Option<Process>,
    broker_process: Option<Process>,
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
}

/// A controller on a host of its own.
pub struct Controller {
    process: Process,
    number: u8,
    arguments: String,
}

/// Messages that are published until somebody says stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    publisher: std::thread::JoinHandle<u32>,
    /// Reads all the time: what waits in its socket is bounded.
    subscriber: std::thread::JoinHandle<(TestClient, Vec<Received>)>,
    /// How many messages there are to wait for, once that is known.
    published: Arc<AtomicU32>,
}

fn run(binary: &Path, arguments: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments.split_whitespace());
    command
}

/// An authority with a certificate for the broker and one for controllers, as files.
fn certificates(directory: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "lab authority");
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("signed");
    let write = |name: &str, text: String| {
        std::fs::write(directory.join(name), text).expect("a file");
    };
    write("ca.pem", authority.pem());
    let addresses = (1..=CONTROLLERS).map(|n| format!("10.9.{n}.1")).collect();
    for (name, names) in [
        ("broker", addresses),
        ("controller", vec!["controller.lab".to_owned()]),
    ] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &authority).expect("signed");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

impl Lab {
    /// Starts switch and broker, without a controller.
    ///
    /// # Panics
    /// When a part of it cannot be started.
    pub fn start(target: Target) -> Self {
        let namespace = || Namespace::new().expect("a namespace");
        let (host, broker, publisher, subscriber) =
            (namespace(), namespace(), namespace(), namespace());
        for (n, other) in (1..).zip([&broker, &publisher, &subscriber]) {
            host.veth(&format!("sw{n}"), other, "eth0");
            other.ip(&format!("addr add 10.0.0.{n}/24 dev eth0"));
            if target == Target::Bmv2 {
                other.leave_nothing_to_the_nic("eth0");
            }
        }
        let controllers = (1..=CONTROLLERS).map(|n| {
            let controller = namespace();
            host.veth(&format!("c{n}"), &controller, "switch");
            host.ip(&format!("addr add 10.8.{n}.1/24 dev c{n}"));
            controller.ip(&format!("addr add 10.8.{n}.2/24 dev switch"));
            broker.veth(&format!("c{n}"), &controller, "broker");
            broker.ip(&format!("addr add 10.9.{n}.1/24 dev c{n}"));
            controller.ip(&format!("addr add 10.9.{n}.2/24 dev broker"));
            controller
        });
        let controllers = controllers.collect();
        let directory = tempfile::tempdir().expect("a directory");
        certificates(directory.path());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let mut lab = Lab {
            publisher,
            subscriber,
            broker,
            host,
            controllers,
            target,
            switch: None,
            broker_process: None,
            runtime: runtime.expect("a runtime"),
            directory,
        };
        lab.start_switch();
        lab.start_broker();
        lab
    }

    /// What the switch is.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Starts a switch, without a program and empty; the one before is killed.
    pub fn start_switch(&mut self) {
        self.switch = None;
        let command = match self.target {
            Target::Bmv2 => run(
                Path::new("simple_switch_grpc"),
                "--no-p4 -i 1@sw1 -i 2@sw2 -i 3@sw3 -- --grpc-server-addr 0.0.0.0:9559 \
                 --cpu-port 510",
            ),
            Target::Sim | Target::SimOnVeth => run(
                &topicswitch(),
                "sim run --device-id 0 --p4runtime 0.0.0.0:9559 --status 127.0.0.1:9561 \
                 --port 1=af-packet:sw1 --port 2=af-packet:sw2 --port 3=af-packet:sw3",
            ),
        };
        self.switch = Some(Process::start(command, Some(&self.host)));
    }

    /// Kills the broker.
    pub fn kill_broker(&mut self) {
        self.broker_process = None;
    }

    /// Starts the broker that keeps its store from before.
    pub fn start_broker(&mut self) {
        self.broker_process = None;
        let mut command = run(
            &topicswitch(),
            &format!(
                "broker --listen {BROKER} --offload 0.0.0.0:9560 --status 0.0.0.0:9561 \
                 --contract-ca ca.pem --contract-cert broker.pem --contract-key broker.key \
                 --store store"
            ),
        );
        command.current_dir(self.directory.path());
        self.broker_process = Some(Process::start(command, Some(&self.broker)));
        self.until(
            "a broker",
            || self.broker_status(),
            |status| !status.is_null(),
        );
    }

    /// Starts controller `number` (1 to 3), whose election id is ten times that, with more arguments.
    pub fn controller(&self, number: u8, arguments: &str) -> Controller {
        Controller {
            process: self.run_controller(number, arguments),
            number,
            arguments: arguments.to_owned(),
        }
    }

    fn run_controller(&self, number: u8, arguments: &str) -> Process {
        let file = format!("controller{number}.yaml");
        std::fs::write(
            self.directory.path().join(&file),
            format!(
                "controller: {{takeover_ms: 700, name: controller {number}, {arguments}}}\n\
                 contract_tls: {{ca: ca.pem, cert: controller.pem, key: controller.key}}\n"
            ),
        )
        .expect("a file");
        let mut command = run(
            &topicswitch(),
            &format!(
                "--config {file} controller --switch 10.8.{number}.1:9559 --device-id 0 --ports 1,2,3 \
                 --broker 10.9.{number}.1:9560 --election-id {number}0 --status 127.0.0.1:9561"
            ),
        );
        command.current_dir(self.directory.path());
        Process::start(command, Some(self.place(number)))
    }

    fn place(&self, number: u8) -> &Namespace {
        &self.controllers[usize::from(number) - 1]
    }

    /// Starts it again.
    pub fn restart(&self, controller: &mut Controller) {
        controller.process.kill();
        controller.process = self.run_controller(controller.number, &controller.arguments);
    }

    /// Takes a controller's links down: to the broker, or to the switch.
    pub fn cut(&self, controller: &Controller, to: &str) {
        let place = self.place(controller.number);
        place.ip(&format!("link set {to} down"));
    }

    /// Puts a link up again.
    pub fn mend(&self, controller: &Controller, to: &str) {
        let place = self.place(controller.number);
        place.ip(&format!("link set {to} up"));
    }

    fn ask(place: &Namespace, arguments: &str) -> Value {
        let mut command = run(&topicswitch(), arguments);
        let output = place.run(|| command.output()).expect("topicswitch runs");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// What the broker says of itself; null while it does not answer.
    pub fn broker_status(&self) -> Value {
        let all = Self::ask(&self.broker, "status --json --at 127.0.0.1:9561");
        all["broker"].clone()
    }

    /// What the switch says of itself.
    pub fn switch_status(&self) -> Value {
        let all = Self::ask(&self.host, "status --json --at 127.0.0.1:9561");
        all["switch"].clone()
    }

    /// What a controller says of itself.
    pub fn status(&self, controller: &Controller) -> Value {
        let place = self.place(controller.number);
        let all = Self::ask(place, "status --json --at 127.0.0.1:9561");
        all["controller"].clone()
    }

    /// What a controller and the broker together say of the load's topic.
    pub fn explain(&self, controller: &Controller) -> Value {
        let number = controller.number;
        let broker = format!("10.9.{number}.1:9561");
        let place = self.place(number);
        let question = format!("explain {TOPIC} --json --at 127.0.0.1:9561 --at {broker}");
        Self::ask(place, &question)
    }

    /// Asks until the answer is as it should be.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn until(
        &self,
        what: &str,
        ask: impl Fn() -> Value,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask();
            if is_so(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "never {what}: {answer:#}");
            // A process that is not there yet is no event to wait for.
            self.runtime
                .block_on(async { tokio::time::sleep(AGAIN).await });
        }
    }

    /// Waits until this controller leads and the switch serves the load's topic.
    pub fn until_offloaded(&self, controller: &Controller) {
        self.until(
            &format!("offloaded by controller {}", controller.number),
            || self.explain(controller),
            |explanation| explanation["verdict"] == "offloaded",
        );
    }

    /// Waits until this controller leads and the switch serves a part of the topic's subscribers.
    pub fn until_partly_offloaded(&self, controller: &Controller) {
        self.until(
            &format!("partly offloaded by controller {}", controller.number),
            || self.explain(controller),
            |explanation| explanation["verdict"] == "partly",
        );
    }

    /// Waits until the broker sees messages that no switch served.
    pub fn until_in_software(&self) {
        let untagged = |status: &Value| status["counters"]["publish_untagged"].as_u64();
        let before = untagged(&self.broker_status());
        self.until(
            "in software",
            || self.broker_status(),
            |status| untagged(status) > before,
        );
    }

    /// Waits until the controller stands so with its switch.
    pub fn until_mastership(&self, controller: &Controller, state: &str) {
        self.until(
            state,
            || self.status(controller),
            |status| status["mastership"]["state"] == state,
        );
    }

    /// A client that subscribes to the load's topic.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub fn subscribed(&self, client_id: &str) -> TestClient {
        self.subscriber.run(|| {
            self.runtime.block_on(async {
                let mut client = connected(client_id).await;
                let subscribe = TopicRef::Name(TOPIC);
                client
                    .request(|core, now| core.subscribe(now, subscribe, Qos::Zero))
                    .await
                    .expect("SUBACK");
                client
            })
        })
    }

    /// A client that subscribes to the load's topic, and one that publishes to it: message n at QoS 0
    /// if n is even, else at QoS 1.
    ///
    /// # Panics
    /// When the broker does not take them.
    pub fn load(&self) -> Load {
        let subscriber = self.subscribed("subscriber");
        let published = Arc::new(AtomicU32::new(u32::MAX));
        let (runtime, wanted) = (self.runtime.handle().clone(), published.clone());
        let subscriber = std::thread::spawn(move || runtime.block_on(receive(subscriber, &wanted)));
        let stop = Arc::new(AtomicBool::new(false));
        let (runtime, stopped) = (self.runtime.handle().clone(), stop.clone());
        let publisher = self
            .publisher
            .run(|| runtime.block_on(connected("publisher")));
        let publisher = std::thread::spawn(move || runtime.block_on(publish(publisher, &stopped)));
        Load {
            stop,
            publisher,
            subscriber,
            published,
        }
    }

    /// Ends the load. Every message must have come once, and none twice.
    ///
    /// # Panics
    /// When that is not so.
    pub fn end(&self, load: Load) {
        let (published, came) = self.collect(load);
        let mut sorted = came.clone();
        sorted.sort_unstable();
        let wanted: Vec<u32> = (0..published).collect();
        let missing: Vec<&u32> = wanted.iter().filter(|n| !sorted.contains(n)).collect();
        assert_eq!(missing, Vec::<&u32>::new(), "lost of {published}");
        assert_eq!(sorted.len(), wanted.len(), "doubled: {came:?}");
        // QoS 0 and QoS 1 may take different ways; each keeps its order but where the way changes.
        eprintln!("{published} messages");
    }

    fn collect(&self, load: Load) -> (u32, Vec<u32>) {
        load.stop.store(true, Ordering::Relaxed);
        let published = load.publisher.join().expect("the publisher is well");
        load.published.store(published, Ordering::Relaxed);
        let (mut client, mut came) = load.subscriber.join().expect("the subscriber is well");
        self.runtime.block_on(async {
            // What is too much would come now.
            client.ping().await.expect("PINGRESP");
            came.extend(client.take_received());
        });
        let number = |received: &Received| {
            let octets = received.message.data.as_slice().try_into();
            u32::from_be_bytes(octets.expect("four octets"))
        };
        (published, came.iter().map(number).collect())
    }
}

impl Controller {
    /// Kills it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is not there.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }
}

async fn connected(client_id: &str) -> TestClient {
    let mut client = TestClient::on_udp(BROKER.parse().expect("an address")).await;
    let options = ConnectOptions {
        client_id: client_id.to_owned(),
        clean_session: false,
        keep_alive: Duration::from_secs(600),
        will: None,
    };
    let deadline = Instant::now() + DEADLINE;
    // Until the switch has its program it drops everything.
    loop {
        let connecting = client.request(|core, now| core.connect(now, &options));
        match tokio::time::timeout(Duration::from_millis(500), connecting).await {
            Ok(answer) => {
                answer.expect("CONNACK");
                return client;
            }
            Err(_) => assert!(Instant::now() < deadline, "no CONNACK"),
        }
        client = TestClient::on_udp(BROKER.parse().expect("an address")).await;
    }
}

/// Publishes until stopped; how many.
async fn publish(mut client: TestClient, stop: &AtomicBool) -> u32 {
    let registered = client.request(|core, now| core.register(now, TOPIC)).await;
    let Ok(Answer::Registered(topic_id)) = registered else {
        panic!("{registered:?}")
    };
    let alias = Alias::normal(topic_id);
    let mut tick = tokio::time::interval(PACE);
    let mut count = 0u32;
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let data = count.to_be_bytes();
        if count.is_multiple_of(2) {
            let publish =
                client.send(|core, now| core.publish(now, alias, Qos::Zero, false, &data));
            publish.await.expect("sent");
        } else {
            let publish =
                client.request(|core, now| core.publish(now, alias, Qos::One, false, &data));
            publish.await.expect("PUBACK");
        }
        count += 1;
    }
    count
}

/// Receives until there are as many messages as were published, or no more come.
async fn receive(mut client: TestClient, published: &AtomicU32) -> (TestClient, Vec<Received>) {
    let mut came = Vec::new();
    let mut last = Instant::now();
    loop {
        let wanted = published.load(Ordering::Relaxed);
        let complete = u32::try_from(came.len()).is_ok_and(|came| came >= wanted);
        if complete || (wanted != u32::MAX && last.elapsed() > DEADLINE) {
            return (client, came);
        }
        if let Ok(more) = tokio::time::timeout(AGAIN, client.wait_for(1)).await {
            came.extend(more);
            last = Instant::now();
        }
    }
}
