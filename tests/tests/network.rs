//! The whole system as processes on hosts of their own, over the kernel's sockets.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mqttsn::types::{Alias, Qos, TopicRef};
use system_tests::data_plane::Target;
use system_tests::network::{BROKER, Network};
use system_tests::process::Process;
use system_tests::system::{DEADLINE, Received, TestClient};
use system_tests::{netns, on_path, repository, require};
use topicswitch::client::{Answer, ConnectOptions};

fn targets() -> Vec<Target> {
    if !require("netns", netns::available()) {
        return Vec::new();
    }
    let ethtool = on_path("ethtool").is_some();
    Target::selected()
        .into_iter()
        .filter(|target| *target != Target::Bmv2 || require("ethtool", ethtool))
        .collect()
}

async fn connect(client: &mut TestClient, client_id: &str) {
    let options = ConnectOptions {
        client_id: client_id.to_owned(),
        clean_session: true,
        keep_alive: Duration::from_secs(60),
        will: None,
    };
    client
        .request(|core, now| core.connect(now, &options))
        .await
        .expect("CONNACK");
}

/// A client that subscribes to `topic` at QoS 0.
fn subscriber(network: &Network, topic: &str) -> TestClient {
    network.on(&network.subscriber, async || {
        let mut client = Network::client().await;
        connect(&mut client, "subscriber").await;
        let subscribe = TopicRef::Name(topic);
        client
            .request(|core, now| core.subscribe(now, subscribe, Qos::Zero))
            .await
            .expect("SUBACK");
        client
    })
}

fn received(network: &Network, client: &mut TestClient, count: usize) -> Vec<(String, Vec<u8>)> {
    let came = network.on(&network.subscriber, async || client.wait_for(count).await);
    came.into_iter()
        .map(|Received { topic, message }| (topic, message.data))
        .collect()
}

/// Publishes `count` messages of each of QoS 0 and 1.
fn publish(network: &Network, topic: &str, count: u8) {
    network.on(&network.publisher, async || {
        let mut client = Network::client().await;
        connect(&mut client, "publisher").await;
        let registered = client.request(|core, now| core.register(now, topic)).await;
        let Ok(Answer::Registered(topic_id)) = registered else {
            panic!("{registered:?}")
        };
        let alias = Alias::normal(topic_id);
        for n in 0..count {
            let publish = client.send(|core, now| core.publish(now, alias, Qos::Zero, false, &[n]));
            publish.await.expect("sent");
            let publish =
                client.request(|core, now| core.publish(now, alias, Qos::One, false, &[n]));
            publish.await.expect("PUBACK");
        }
        client
            .request(|core, now| core.disconnect(now, None))
            .await
            .expect("DISCONNECT");
    });
}

fn twice_each(topic: &str, count: u8) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .flat_map(|n| [(topic.to_owned(), vec![n]), (topic.to_owned(), vec![n])])
        .collect()
}

#[test]
fn messages_reach_subscribers_without_the_broker_and_with_a_dead_controller_through_it() {
    for target in targets() {
        eprintln!("target: {target:?}");
        let mut network = Network::start(target);
        let mut subscriber = subscriber(&network, "lab/temperature");
        // Where everybody lives is learned from what they send: offload comes into force by itself.
        let deadline = std::time::Instant::now() + DEADLINE;
        loop {
            let before = network.seen_by_broker();
            publish(&network, "lab/temperature", 10);
            assert_eq!(
                received(&network, &mut subscriber, 20),
                twice_each("lab/temperature", 10)
            );
            let seen = network.seen_by_broker() - before;
            if seen == 0 {
                break;
            }
            let patience = std::time::Instant::now() < deadline;
            assert!(
                patience,
                "the broker still sees {seen} of 20: {:#}",
                network.status()
            );
        }

        network.kill_controller();
        publish(&network, "lab/temperature", 100);
        let came = received(&network, &mut subscriber, 200);
        assert_eq!(came, twice_each("lab/temperature", 100));
    }
}

/// The Python of a virtual environment that has mqtt-sn-12, made when it is not there yet.
fn python() -> Option<PathBuf> {
    let venv = repository().join("target/venv-mqtt-sn-12");
    let python = venv.join("bin/python");
    let has_it = |python: &PathBuf| {
        let import = Command::new(python)
            .args(["-c", "import mqttsn12"])
            .output();
        import.is_ok_and(|output| output.status.success())
    };
    if !has_it(&python) {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&venv)
            .output();
        let install = ["-m", "pip", "install", "--quiet", "mqtt-sn-12==1.0.9"];
        let installed = made.and_then(|_| Command::new(&python).args(install).output());
        eprintln!("pip: {installed:?}");
    }
    has_it(&python).then_some(python)
}

#[test]
fn a_client_that_nobody_here_wrote_publishes_and_subscribes() {
    let python = python();
    if !require("pypi-mqtt-sn-12", python.is_some()) {
        return;
    }
    let python = python.expect("it is available");
    let script = repository().join("tests/clients/mqtt_sn_12.py");
    let command = |arguments: &[&str]| {
        let (host, port) = BROKER.split_once(':').expect("address and port");
        let mut command = Command::new(&python);
        command
            .arg("-u")
            .arg(&script)
            .args([host, port])
            .args(arguments);
        command
    };
    for target in targets() {
        eprintln!("target: {target:?}");
        let network = Network::start(target);
        // Theirs subscribes, theirs publishes.
        let subscribe = command(&["subscribe", "plant/#", "0", "6"]);
        let (_subscriber, lines) = Process::start_talking(subscribe, Some(&network.subscriber));
        assert_eq!(lines.next(DEADLINE), "subscribed");
        let mut ours = subscriber(&network, "plant/level");
        for qos in ["0", "1", "0"] {
            let publish = command(&["publish", "plant/level", qos, "42", "43"]);
            let (_publisher, published) = Process::start_talking(publish, Some(&network.publisher));
            assert_eq!(published.next(DEADLINE), "published");
        }
        let mut theirs: Vec<String> = (0..6).map(|_| lines.next(DEADLINE)).collect();
        theirs.sort();
        assert_eq!(theirs[..3], ["plant/level 42"; 3]);
        assert_eq!(theirs[3..], ["plant/level 43"; 3]);
        assert_eq!(received(&network, &mut ours, 6).len(), 6);
    }
}
