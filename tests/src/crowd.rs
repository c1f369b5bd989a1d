//! Publishers of one topic and its subscriber: each message of theirs comes once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mqttsn::types::{Alias, Qos, TopicRef};
use topicswitch::client::{Answer, ConnectOptions, Will};

use crate::system::TestClient;
use crate::workload::Place;

/// The topic of a crowd.
pub const TOPIC: &str = "t";
/// Clocks of a millisecond are at work, where a will is waited for.
const CLOCKS: u64 = 5;

/// A clean session.
///
/// # Panics
/// Without CONNACK.
pub async fn connect(
    client: &mut TestClient,
    client_id: &str,
    keep_alive: u64,
    will: Option<Will>,
) {
    let options = ConnectOptions {
        client_id: client_id.to_owned(),
        clean_session: true,
        keep_alive: Duration::from_secs(keep_alive),
        will,
    };
    let connected = client.request(|core, now| core.connect(now, &options));
    connected.await.expect("CONNACK");
}

/// Subscribes at QoS 0.
///
/// # Panics
/// Without SUBACK.
pub async fn subscribe(client: &mut TestClient, filter: &str) {
    let filter = TopicRef::Name(filter);
    let subscribed = client.request(|core, now| core.subscribe(now, filter, Qos::Zero));
    subscribed.await.expect("SUBACK");
}

/// The topic's id.
///
/// # Panics
/// Without REGACK.
pub async fn register(client: &mut TestClient, topic: &str) -> Alias {
    let registered = client.request(|core, now| core.register(now, topic));
    match registered.await {
        Ok(Answer::Registered(topic_id)) => Alias::normal(topic_id),
        other => panic!("no REGACK: {other:?}"),
    }
}

/// Publishes at QoS 0.
///
/// # Panics
/// When it cannot be sent.
pub async fn publish(client: &mut TestClient, alias: Alias, data: &[u8]) {
    let sent = client.send(|core, now| core.publish(now, alias, Qos::Zero, false, data));
    sent.await.expect("sent");
}

/// Clients: one subscribes, the others publish.
pub struct Crowd {
    /// Who hears all of it.
    pub subscriber: TestClient,
    publishers: Vec<(TestClient, Alias)>,
    /// What each has sent.
    sent: Vec<u8>,
}

impl Crowd {
    /// These clients of the place.
    ///
    /// # Panics
    /// When one of them is not let in.
    pub async fn start(
        place: &mut impl Place,
        subscriber: u8,
        publishers: impl IntoIterator<Item = u8>,
    ) -> Self {
        let mut subscriber = place.client(subscriber).await;
        connect(&mut subscriber, "subscriber", 600, None).await;
        subscribe(&mut subscriber, TOPIC).await;
        let mut connected = Vec::new();
        for n in publishers {
            let mut publisher = place.client(n).await;
            let client_id = format!("publisher-{}", connected.len());
            connect(&mut publisher, &client_id, 600, None).await;
            let alias = register(&mut publisher, TOPIC).await;
            connected.push((publisher, alias));
        }
        Crowd {
            subscriber,
            sent: vec![0; connected.len()],
            publishers: connected,
        }
    }

    /// These publish one message each, which comes once.
    ///
    /// # Panics
    /// When one comes not, or twice.
    pub async fn speak(&mut self, who: impl IntoIterator<Item = usize>) {
        let mut expected = BTreeSet::new();
        for n in who {
            let number = self.sent[n].wrapping_add(1);
            self.sent[n] = number;
            let data = [n as u8, number];
            expected.insert(data.to_vec());
            let (publisher, alias) = &mut self.publishers[n];
            publish(publisher, *alias, &data).await;
        }
        let came = self.subscriber.wait_for(expected.len()).await;
        assert_eq!(came.len(), expected.len());
        let came: BTreeSet<Vec<u8>> = came.into_iter().map(|c| c.message.data).collect();
        assert_eq!(came, expected, "each once");
    }

    /// One publisher with a will speaks with pauses, in which a cache takes its row, and dies; another one
    /// lives. `place` is where they are.
    ///
    /// # Panics
    /// When the will does not come, or before it may, or the other one is taken for dead, too.
    pub async fn one_dies(&mut self, place: &impl Place) {
        const KEEP_ALIVE: u64 = 2;
        subscribe(&mut self.subscriber, "will").await;
        let (mut dead, _) = self.publishers.remove(0);
        let will = Will {
            topic: "will".into(),
            data: b"gone".to_vec(),
            qos: Qos::Zero,
            retain: false,
        };
        connect(&mut dead, "publisher-0", KEEP_ALIVE, Some(will)).await;
        let alias = register(&mut dead, TOPIC).await;
        let (mut live, _) = self.publishers.remove(0);
        connect(&mut live, "publisher-1", KEEP_ALIVE, None).await;
        let live_alias = register(&mut live, TOPIC).await;
        place.until_installed().await;
        // The broker heard both for the last time. They speak to the switch for a while.
        let mut received = Vec::new();
        let mut last = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(300));
        for n in 0..6u8 {
            tick.tick().await;
            last = Instant::now();
            publish(&mut dead, alias, &[0, n]).await;
            received.extend(self.subscriber.wait_for(1).await);
        }
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let mut gone = None;
        for n in 0..200u8 {
            tick.tick().await;
            if n % 30 == 0 {
                publish(&mut live, live_alias, &[1, n]).await;
            }
            self.subscriber.ping().await.expect("PINGRESP");
            let came = self.subscriber.take_received();
            if came.iter().any(|received| received.message.data == b"gone") {
                gone = Some(Instant::now());
            }
            received.extend(came);
            if gone.is_some() && n >= 150 {
                break;
            }
        }
        let gone = gone.expect("the will");
        // Its patience is one and a half times the keep-alive.
        let patience = Duration::from_millis(1500 * KEEP_ALIVE - CLOCKS);
        assert!(gone >= last + patience, "{:?}", gone - last);
        live.ping().await.expect("it is still connected");
        assert!(!live.is_disconnected());
        let of_dead = received
            .iter()
            .filter(|r| r.message.data.first() == Some(&0));
        assert_eq!(of_dead.count(), 6);
    }
}
