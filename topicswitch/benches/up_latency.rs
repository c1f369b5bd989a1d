//! From publisher to subscriber through the embedded switch: the software path and the offloaded one,
//! in one run, with real clients on loopback sockets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mqttsn::types::{Alias, Qos, TopicRef};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use topicswitch::client::{Client, ConnectOptions, Retry};
use topicswitch::config::SimConfig;
use topicswitch::node::{
    Broker, BrokerNode, EmbeddedSwitch, Program, Switch, Tasks, run_controller,
};

const PAYLOAD: usize = 100;
const PATIENCE: Duration = Duration::from_secs(5);

/// One publisher and one subscriber behind an `up` of their own.
struct Pair {
    publisher: Client,
    subscriber: Client,
    alias: Alias,
    tasks: Tasks,
    broker: BrokerNode,
    _switch: EmbeddedSwitch,
}

async fn client(id: &str, broker: std::net::SocketAddr) -> anyhow::Result<Client> {
    let mut client = Client::open(broker, Retry::default()).await?;
    let options = ConnectOptions {
        client_id: id.into(),
        clean_session: true,
        keep_alive: Duration::ZERO,
        will: None,
    };
    client.connect(&options).await?;
    Ok(client)
}

impl Pair {
    async fn start(offload: bool) -> anyhow::Result<Self> {
        let tasks = Tasks::new(CancellationToken::new());
        let listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let mut switch = EmbeddedSwitch::start(listen, &[], &SimConfig::default())?;
        let mut config = broker::Config::default();
        config.offload.enabled = true;
        let socket = switch.take_broker_socket(&mut config)?;
        let broker = BrokerNode::start(
            config,
            &topicswitch::config::StoreConfig::default(),
            socket,
            &tasks,
        )?;
        let mut config = controller::Config {
            ports: switch.ports(&[])?,
            ..Default::default()
        };
        if !offload {
            config.policy = controller::Policy::Pinned(Vec::new());
        }
        run_controller(
            config,
            Program::built_in()?,
            Switch::Channel(switch.switch().channel()),
            Broker::Local(broker.links.clone()),
            &tasks,
        )?;
        broker.wait_until_installed().await?;

        let mut subscriber = client("subscriber", switch.clients()).await?;
        subscriber
            .subscribe(TopicRef::Name("bench/topic"), Qos::Zero)
            .await?;
        let mut publisher = client("publisher", switch.clients()).await?;
        let alias = publisher.register("bench/topic").await?;
        let mut pair = Pair {
            publisher,
            subscriber,
            alias,
            tasks,
            broker,
            _switch: switch,
        };
        pair.settle(offload).await?;
        Ok(pair)
    }

    /// Publishes until the messages take the path that is to be measured.
    async fn settle(&mut self, offload: bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let before = self.broker.handle.stats().await?.delivered;
            self.message().await?;
            let by_broker = self.broker.handle.stats().await?.delivered > before;
            if by_broker != offload {
                return Ok(());
            }
        }
        anyhow::bail!("the messages do not take the path that is to be measured")
    }

    async fn message(&mut self) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        self.publisher
            .publish(self.alias, Qos::Zero, false, &[0x55; PAYLOAD])
            .await?;
        match self.subscriber.next_message(sent + PATIENCE).await? {
            Some((received, _)) => Ok(received - sent),
            None => anyhow::bail!("a message was lost"),
        }
    }
}

fn latency(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("an async runtime");
    let mut group = criterion.benchmark_group("up_latency_100B");
    for (name, offload) in [("software", false), ("offload", true)] {
        let mut pair = runtime
            .block_on(Pair::start(offload))
            .expect("a running `up`");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|messages| {
                runtime.block_on(async {
                    let mut total = Duration::ZERO;
                    for _ in 0..messages {
                        total += pair.message().await.expect("a message that arrives");
                    }
                    total
                })
            });
        });
        pair.tasks.shutdown().cancel();
    }
    group.finish();
}

criterion_group!(benches, latency);
criterion_main!(benches);
