//! The demo's clients: who publishes what, who must receive it, and what really arrived.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use mqttsn::types::{Alias, Qos, TopicRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::client::{Client, ConnectOptions, Message, Retry};

/// One topic a publisher; the second publisher asks for acknowledgements.
pub(super) const TOPICS: [(&str, Qos); 3] = [
    ("plant/line1/temperature", Qos::Zero),
    ("plant/line1/pressure", Qos::One),
    ("plant/line2/temperature", Qos::Zero),
];

/// What the subscribers ask for: three by name, one by wildcard.
const FILTERS: [&[&str]; 4] = [
    &[
        "plant/line1/temperature",
        "plant/line1/pressure",
        "plant/line2/temperature",
    ],
    &["plant/line1/temperature", "plant/line2/temperature"],
    &["plant/line1/pressure"],
    &["plant/#"],
];

/// Octets of a payload, as in the published measurements.
const PAYLOAD: usize = 100;
/// Magic, publisher, sequence number, nanoseconds since the start.
const STAMP: usize = 8 + 1 + 8 + 8;
const MAGIC: &[u8; 8] = b"ts-demo\0";

/// Time between two messages of one publisher.
const PACE: Duration = Duration::from_millis(1);
/// After this long without a message nothing is under way any more.
const QUIET: Duration = Duration::from_millis(500);

/// What was received, compared with what had to be.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Messages that subscribers received.
    pub delivered: u64,
    /// Messages that a subscriber had to receive and did not.
    pub lost: u64,
    /// Messages that a subscriber received more than once, or after its UNSUBACK.
    pub duplicated: u64,
    /// From before the send to after the receive, in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally {
            delivered: 0,
            lost: 0,
            duplicated: 0,
            // Three digits of precision are always a valid choice.
            latency: Histogram::new(3).unwrap_or_else(|_| unreachable!()),
        }
    }
}

/// The clients of the demo.
pub(super) struct Workload {
    start: Instant,
    broker: SocketAddr,
    /// The next sequence number of each publisher.
    next: Arc<[AtomicU64; TOPICS.len()]>,
    publishers: Vec<(Client, Alias)>,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    name: String,
    topics: Vec<usize>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<anyhow::Result<()>>,
}

enum Command {
    /// Hand over what has been received since the last time.
    Report(oneshot::Sender<Received>),
    /// UNSUBSCRIBE from the filters and disconnect; answers after the UNSUBACK.
    Leave(oneshot::Sender<()>),
}

struct Received {
    /// How often each (publisher, sequence number) arrived.
    counts: HashMap<(usize, u64), u32>,
    latency: Histogram<u64>,
    last: Instant,
}

impl Received {
    fn new() -> Self {
        Received {
            counts: HashMap::new(),
            latency: Tally::new().latency,
            last: Instant::now(),
        }
    }
}

impl Workload {
    /// Connects all clients to `broker`.
    ///
    /// # Errors
    /// A client that is not served.
    pub(super) async fn start(broker: SocketAddr) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut subscribers = Vec::new();
        for (index, filters) in FILTERS.iter().enumerate() {
            subscribers
                .push(Subscriber::join(broker, start, format!("sub-{index}"), filters).await?);
        }
        let mut publishers = Vec::new();
        for (index, (topic, _)) in TOPICS.iter().enumerate() {
            let mut client = connect(broker, &format!("pub-{index}")).await?;
            let alias = client
                .register(topic)
                .await
                .with_context(|| format!("REGISTER {topic}"))?;
            publishers.push((client, alias));
        }
        let next = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Ok(Workload {
            start,
            broker,
            next,
            publishers,
            subscribers,
        })
    }

    /// Publishes at least `messages` in all; returns how many, and what became of them.
    ///
    /// Meanwhile, if `churn`, one more subscriber joins after a third and leaves after two thirds.
    /// `halfway` is called when half is published.
    ///
    /// # Errors
    /// A client that is no longer served.
    pub(super) async fn run(
        &mut self,
        messages: u64,
        churn: bool,
        halfway: impl FnOnce() + Send,
    ) -> anyhow::Result<(u64, Tally)> {
        let first: Vec<u64> = self.sequence();
        let each = messages.div_ceil(TOPICS.len() as u64);
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for (index, (mut client, alias)) in
            std::mem::take(&mut self.publishers).into_iter().enumerate()
        {
            let (next, stop, start) = (self.next.clone(), stop.clone(), self.start);
            tasks.push(tokio::spawn(async move {
                let mut pace = tokio::time::interval(PACE);
                for _ in 0..each {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    pace.tick().await;
                    // Counted before it is sent, so whoever reads the counter afterwards knows of it.
                    let sequence = next[index].fetch_add(1, Ordering::SeqCst);
                    let data = payload(index, sequence, start);
                    client.publish(alias, TOPICS[index].1, false, &data).await?;
                }
                anyhow::Ok((client, alias))
            }));
        }

        let outcome = self.watch(&first, each, churn, halfway).await;
        if outcome.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        for task in tasks {
            self.publishers.push(task.await?.context("publisher")?);
        }
        let mut tally = outcome?;
        let last = self.sequence();

        // All is sent: wait until nothing arrives any more.
        for subscriber in &self.subscribers {
            let received = subscriber.settle().await?;
            let owed = subscriber
                .topics
                .iter()
                .map(|topic| (*topic, first[*topic]..last[*topic]));
            tally.add(&received, owed, &subscriber.name);
        }
        Ok((last.iter().sum::<u64>() - first.iter().sum::<u64>(), tally))
    }

    /// Ends all sessions.
    ///
    /// # Errors
    /// A broker that no longer answers.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        for subscriber in self.subscribers {
            subscriber.leave().await?;
        }
        for (mut client, _) in self.publishers {
            client.disconnect(None).await?;
        }
        Ok(())
    }

    fn sequence(&self) -> Vec<u64> {
        self.next
            .iter()
            .map(|next| next.load(Ordering::SeqCst))
            .collect()
    }

    async fn published(&self, first: &[u64], at_least: u64) {
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        while self
            .sequence()
            .iter()
            .zip(first)
            .map(|(now, first)| now - first)
            .sum::<u64>()
            < at_least
        {
            tick.tick().await;
        }
    }

    async fn watch(
        &self,
        first: &[u64],
        each: u64,
        churn: bool,
        halfway: impl FnOnce() + Send,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::new();
        let all = each * TOPICS.len() as u64;
        let mut guest = None;
        if churn {
            self.published(first, all / 3).await;
            let filters: Vec<&str> = TOPICS.iter().map(|(topic, _)| *topic).collect();
            let name = "sub-guest".to_owned();
            let joined = Subscriber::join(self.broker, self.start, name, &filters).await?;
            // From the SUBACK on every message that is sent is owed to it.
            guest = Some((joined, self.sequence()));
        }
        self.published(first, all / 2).await;
        halfway();
        self.published(first, all * 2 / 3).await;
        if let Some((guest, from)) = guest {
            // What was counted is perhaps not sent yet: one pace later it is.
            let until = self.sequence();
            tokio::time::sleep(PACE * 20).await;
            let name = guest.name.clone();
            let received = guest.report().await?;
            guest.leave().await?;
            let owed = (0..TOPICS.len()).map(|topic| (topic, from[topic]..until[topic]));
            tally.add(&received, owed, &name);
        }
        Ok(tally)
    }
}

impl Tally {
    /// Counts one subscriber's part. `owed` names each topic with the sequence numbers that had to
    /// arrive; others of its topics may have.
    fn add(
        &mut self,
        received: &Received,
        owed: impl Iterator<Item = (usize, std::ops::Range<u64>)>,
        name: &str,
    ) {
        self.delivered += received
            .counts
            .values()
            .map(|count| u64::from(*count))
            .sum::<u64>();
        let twice: u64 = received
            .counts
            .values()
            .map(|count| u64::from(count - 1))
            .sum();
        let mut lost = 0;
        for (topic, sequence) in owed {
            lost += sequence
                .filter(|s| !received.counts.contains_key(&(topic, *s)))
                .count() as u64;
        }
        if lost > 0 || twice > 0 {
            tracing::warn!(
                subscriber = name,
                lost,
                duplicated = twice,
                "not exactly once"
            );
        }
        self.duplicated += twice;
        self.lost += lost;
        // Both histograms resize themselves, so adding cannot fail.
        let _ = self.latency.add(&received.latency);
    }
}

impl Subscriber {
    async fn join(
        broker: SocketAddr,
        start: Instant,
        name: String,
        filters: &[&str],
    ) -> anyhow::Result<Self> {
        let mut client = connect(broker, &name).await?;
        for filter in filters {
            client
                .subscribe(TopicRef::Name(filter), Qos::Zero)
                .await
                .with_context(|| format!("SUBSCRIBE {filter}"))?;
        }
        let topics = (0..TOPICS.len())
            .filter(|topic| {
                filters
                    .iter()
                    .any(|f| mqttsn::topic::matches(f, TOPICS[*topic].0))
            })
            .collect();
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let (commands, orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(receive(client, start, filters, orders));
        Ok(Subscriber {
            name,
            topics,
            commands,
            task,
        })
    }

    async fn report(&self) -> anyhow::Result<Received> {
        let (answer, report) = oneshot::channel();
        self.commands
            .send(Command::Report(answer))
            .context("subscriber ended early")?;
        report.await.context("subscriber ended early")
    }

    /// Waits until nothing arrives any more, and reports.
    async fn settle(&self) -> anyhow::Result<Received> {
        let mut all = self.report().await?;
        while all.last.elapsed() < QUIET {
            tokio::time::sleep(QUIET / 10).await;
            let more = self.report().await?;
            for (key, count) in more.counts {
                *all.counts.entry(key).or_default() += count;
                all.last = more.last;
            }
            let _ = all.latency.add(&more.latency);
        }
        Ok(all)
    }

    async fn leave(self) -> anyhow::Result<()> {
        let (answer, left) = oneshot::channel();
        if self.commands.send(Command::Leave(answer)).is_ok() {
            let _ = left.await;
        }
        self.task
            .await?
            .with_context(|| format!("subscriber {}", self.name))
    }
}

/// A subscriber's task: takes messages in until it is told to leave.
async fn receive(
    mut client: Client,
    start: Instant,
    filters: Vec<String>,
    mut orders: mpsc::UnboundedReceiver<Command>,
) -> anyhow::Result<()> {
    let mut received = Received::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Command::Report(answer)) => {
                    let last = received.last;
                    let _ = answer.send(std::mem::replace(&mut received, Received::new()));
                    received.last = last;
                }
                Some(Command::Leave(answer)) => {
                    for filter in &filters {
                        client.unsubscribe(TopicRef::Name(filter)).await?;
                    }
                    let _ = answer.send(());
                    client.disconnect(None).await?;
                    return Ok(());
                }
                None => return Ok(()),
            },
            message = client.next_message(Instant::now() + Duration::from_secs(10)) => {
                match message? {
                    Some((at, message)) => received.take(start, at, &message),
                    None if client.is_disconnected() => {}
                    None => client.ping("").await?,
                }
            }
        }
        anyhow::ensure!(!client.is_disconnected(), "the broker ended the connection");
    }
}

impl Received {
    fn take(&mut self, start: Instant, at: Instant, message: &Message) {
        let Some((publisher, sequence, sent)) = read_stamp(&message.data) else {
            return;
        };
        *self.counts.entry((publisher, sequence)).or_default() += 1;
        self.last = at;
        let arrived = at.duration_since(start).as_nanos() as u64;
        // The histogram resizes itself up to any time this process can have run.
        let _ = self.latency.record(arrived.saturating_sub(sent));
    }
}

async fn connect(broker: SocketAddr, name: &str) -> anyhow::Result<Client> {
    let mut client = Client::open(broker, Retry::default()).await?;
    client
        .connect(&ConnectOptions {
            client_id: name.to_owned(),
            clean_session: true,
            keep_alive: Duration::from_secs(60),
            will: None,
        })
        .await
        .with_context(|| format!("CONNECT {name}"))?;
    Ok(client)
}

fn payload(publisher: usize, sequence: u64, start: Instant) -> Vec<u8> {
    let mut data = Vec::with_capacity(PAYLOAD);
    data.extend_from_slice(MAGIC);
    data.push(publisher as u8);
    data.extend_from_slice(&sequence.to_be_bytes());
    data.extend_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
    data.resize(PAYLOAD, b'.');
    data
}

fn read_stamp(data: &[u8]) -> Option<(usize, u64, u64)> {
    let stamp = data.get(..STAMP)?.strip_prefix(MAGIC)?;
    let (publisher, rest) = stamp.split_first()?;
    let (sequence, sent) = rest.split_at(8);
    Some((
        usize::from(*publisher),
        u64::from_be_bytes(sequence.try_into().ok()?),
        u64::from_be_bytes(sent.try_into().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_who_sent_it_when() {
        let data = payload(2, 77, Instant::now());
        assert_eq!(data.len(), PAYLOAD);
        let (publisher, sequence, _) = read_stamp(&data).unwrap();
        assert_eq!((publisher, sequence), (2, 77));
        assert_eq!(read_stamp(b"something else"), None);
    }

    #[test]
    fn what_was_owed_and_did_not_come_is_lost_and_what_came_twice_is_duplicated() {
        let mut received = Received::new();
        received.counts.insert((0, 5), 1);
        received.counts.insert((0, 6), 2);
        // Owed: 5, 6 and 7. Number 9 came early and is nobody's loss.
        received.counts.insert((0, 9), 1);
        let mut tally = Tally::new();
        tally.add(&received, [(0, 5..8)].into_iter(), "s");
        assert_eq!((tally.delivered, tally.lost, tally.duplicated), (4, 1, 1));
    }
}
