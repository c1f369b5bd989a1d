//! The whole system as processes on hosts of their own, over the kernel's sockets.

use std::time::Duration;

use mqttsn::types::{Alias, Qos, TopicRef};
use system_tests::clients::{ForeignClient, Library};
use system_tests::network::{BROKER, Network, targets};
use system_tests::system::{DEADLINE, Received, TestClient};
use topicswitch::client::{Answer, ConnectOptions};

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
            let mut came = received(&network, &mut subscriber, 20);
            let seen = network.seen_by_broker() - before;
            if 0 < seen && seen < 20 {
                // The subscriber moved to the data plane within these: see docs/data-plane.md, Order.
                came.sort();
            }
            assert_eq!(
                came,
                twice_each("lab/temperature", 10),
                "{seen} by the broker"
            );
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

#[test]
fn a_client_that_nobody_here_wrote_publishes_and_subscribes() {
    if !Library::MqttSn12.is_here() {
        return;
    }
    for target in targets() {
        eprintln!("target: {target:?}");
        let network = Network::start(target);
        let client = |host| {
            let broker = BROKER.parse().expect("address and port");
            ForeignClient::start(Library::MqttSn12, broker, Some(host))
        };
        // Theirs subscribes, theirs publishes.
        let mut theirs = client(&network.subscriber);
        theirs.step("connect py-subscriber");
        theirs.step("subscribe plant/#");
        let mut ours = subscriber(&network, "plant/level");
        let mut publisher = client(&network.publisher);
        publisher.step("connect py-publisher");
        for qos in [0, 1, 0] {
            publisher.step(&format!("publish plant/level {qos} 42"));
            publisher.step(&format!("publish plant/level {qos} 43"));
        }
        publisher.step("disconnect");
        let messages = theirs.receive(6);
        assert_eq!(messages[..3], ["message plant/level 42"; 3]);
        assert_eq!(messages[3..], ["message plant/level 43"; 3]);
        assert_eq!(received(&network, &mut ours, 6).len(), 6);
    }
}
