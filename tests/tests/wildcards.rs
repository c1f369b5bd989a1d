//! Thousands of wildcard filters that come and go while topics appear: nobody misses a message, and
//! nobody gets one twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use broker::Config;
use mqttsn::types::TopicRef;
use system_tests::crowd::{self, connect, register, subscribe};
use system_tests::system::{DEADLINE, Kind, System, TestClient};
use tokio::sync::watch;

/// Filters that stay.
const STANDING: usize = 2000;
/// Filters of each of the clients that change them.
const CHURNED: usize = 1000;
const CHURNERS: u8 = 3;
const TOPICS: usize = 200;

fn number(data: &[u8]) -> usize {
    let data = data.try_into().expect("four octets");
    u32::from_be_bytes(data) as usize
}

/// When a filter held: from its SUBACK until UNSUBSCRIBE was sent.
type Held = BTreeMap<usize, (Instant, Option<Instant>)>;

/// Subscribes and unsubscribes; every other filter stays. Gives what held when.
async fn churn(client: &mut TestClient, offset: usize, steps: &watch::Sender<usize>) -> Held {
    let mut held = Held::new();
    for step in 0..CHURNED {
        let n = (step + offset) % CHURNED;
        let filter = format!("w/{n}/#");
        subscribe(client, &filter).await;
        held.insert(n, (Instant::now(), None));
        if step % 2 == 0 {
            let until = Instant::now();
            let filter = TopicRef::Name(&filter);
            let gone = client.request(|core, now| core.unsubscribe(now, filter));
            gone.await.expect("UNSUBACK");
            held.insert(n, (held[&n].0, Some(until)));
        }
        steps.send_modify(|steps| *steps += 1);
    }
    held
}

/// Each topic appears with its REGISTER, and its first message follows at once; they are spread over
/// the steps of the churn. When each was sent.
async fn publish(publisher: &mut TestClient, mut steps: watch::Receiver<usize>) -> Vec<Instant> {
    let mut sent = Vec::new();
    for n in 0..TOPICS {
        let due = n * CHURNED * usize::from(CHURNERS) / TOPICS;
        steps
            .wait_for(|steps| *steps >= due)
            .await
            .expect("they churn");
        let topic = format!("w/{n}/x");
        let alias = register(publisher, &topic).await;
        sent.push(Instant::now());
        crowd::publish(publisher, alias, &(n as u32).to_be_bytes()).await;
    }
    sent
}

/// All messages that come until there are `count`.
async fn collect(client: &mut TestClient, count: usize) -> Vec<usize> {
    let mut came = Vec::new();
    while came.len() < count {
        let more = client.wait_for(1).await;
        came.extend(more.iter().map(|received| number(&received.message.data)));
    }
    came
}

#[test]
fn topics_that_appear_while_wildcard_filters_are_churned_reach_all_who_subscribe() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let config = Config {
            max_subscriptions: STANDING,
            ..Config::default()
        };
        let mut system = System::start(Kind::Loopback, config, CHURNERS + 2).await;
        system.until_in_force().await;
        let mut standing = system.client(0).await;
        connect(&mut standing, "standing", 600, None).await;
        let begun = Instant::now();
        for n in 0..STANDING {
            subscribe(&mut standing, &format!("w/{n}/+")).await;
        }
        eprintln!("{STANDING} filters: {:?}", begun.elapsed());
        let mut churners = Vec::new();
        for n in 0..CHURNERS {
            let mut churner = system.client(n + 1).await;
            connect(&mut churner, &format!("churner-{n}"), 600, None).await;
            churners.push(churner);
        }
        let mut publisher = system.client(CHURNERS + 1).await;
        connect(&mut publisher, "publisher", 600, None).await;

        let begun = Instant::now();
        let [first, second, third] = &mut churners[..] else {
            panic!("three");
        };
        let (steps, done) = watch::channel(0);
        let (came, sent, one, two, three) = tokio::join!(
            collect(&mut standing, TOPICS),
            publish(&mut publisher, done),
            churn(first, 0, &steps),
            churn(second, CHURNED / 3, &steps),
            churn(third, 2 * CHURNED / 3, &steps),
        );
        let changes = usize::from(CHURNERS) * (CHURNED + CHURNED / 2);
        eprintln!("{changes} changes, {TOPICS} topics: {:?}", begun.elapsed());

        let all: BTreeSet<usize> = came.iter().copied().collect();
        assert_eq!(all.len(), came.len(), "none came twice");
        assert_eq!(all, (0..TOPICS).collect());
        standing.ping().await.expect("PINGRESP");
        assert!(standing.take_received().is_empty(), "nothing else came");

        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut all_owed = 0;
        for (churner, held) in churners.iter_mut().zip([one, two, three]) {
            let held_at = |n: usize, at: Instant| {
                let held = held.get(&n);
                // Whoever unsubscribes while a message is under way may miss it.
                held.is_some_and(|(from, to)| *from < at && to.is_none())
            };
            let owed = sent.iter().enumerate();
            let owed = owed.filter(|(n, at)| held_at(*n, **at));
            let owed: BTreeSet<usize> = owed.map(|(n, _)| n).collect();
            let mut came: Vec<usize> = Vec::new();
            loop {
                churner.ping().await.expect("PINGRESP");
                let more = churner.take_received();
                came.extend(more.iter().map(|received| number(&received.message.data)));
                let have: BTreeSet<usize> = came.iter().copied().collect();
                if owed.is_subset(&have) {
                    assert_eq!(have.len(), came.len(), "none came twice");
                    break;
                }
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "missing {:?}",
                    owed.difference(&have)
                );
            }
            all_owed += owed.len();
        }
        assert!(all_owed > 0, "some were owed");
        system.stop().await;
    });
}
