//! The driver: a real socket, channels, links, questions, shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use broker::driver::{ChannelSocket, Driver, IoConfig, UdpSockets};
use broker::{AdvertiseConfig, Broker, Config};
use mqttsn::{Packet, ReturnCode};
use offload::{FromBroker, FromController};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::world::{connect, disconnect, encode, offloading};

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

fn broker(config: Config) -> Broker {
    Broker::new(config, std::time::Instant::now()).unwrap()
}

#[tokio::test]
async fn a_client_is_served_over_udp_until_shutdown() {
    let any = ["127.0.0.1:0".parse().unwrap()];
    let advertise = AdvertiseConfig::default();
    let sockets = UdpSockets::bind(&any, &IoConfig::default(), &advertise).unwrap();
    let server = sockets.local_addrs()[0];
    let (_links, links) = mpsc::channel(1);
    let (driver, handle) = Driver::udp(broker(Config::default()), sockets, links);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(driver.run(shutdown.clone()));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 100];
    client
        .send_to(&encode(&connect("a")), server)
        .await
        .unwrap();
    let (length, _) = soon(client.recv_from(&mut buffer)).await.unwrap();
    let accepted = Packet::Connack(ReturnCode::Accepted);
    assert_eq!(Packet::decode(&buffer[..length]), Ok(accepted));
    let sessions = soon(handle.sessions()).await.unwrap();
    assert_eq!(sessions[0].address, client.local_addr().unwrap());
    assert_eq!(soon(handle.status()).await.unwrap().active, 1);
    shutdown.cancel();
    let (length, _) = soon(client.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(Packet::decode(&buffer[..length]), Ok(disconnect(None)));
    soon(running).await.unwrap().unwrap();
    assert!(soon(handle.stats()).await.is_err());
}

#[tokio::test]
async fn a_network_inside_the_process_and_controllers_that_come_and_go() {
    let local: SocketAddr = "10.0.0.100:1883".parse().unwrap();
    let (to_broker, from_network) = mpsc::channel(100);
    let (to_network, mut from_broker) = mpsc::channel(100);
    let socket = ChannelSocket::new(local, from_network, to_network);
    let (add_link, links) = mpsc::channel(1);
    let (driver, handle) = Driver::new(broker(offloading()), socket, links);
    let running = tokio::spawn(driver.run(CancellationToken::new()));
    for round in 0..2 {
        let (broker_end, mut controller) = offload::link();
        soon(add_link.send(broker_end)).await.unwrap();
        let hello = FromController::Hello {
            controller: format!("c{round}"),
            election_id: 1,
            reachable: Vec::new(),
        };
        controller.tx.send(hello).unwrap();
        let Some(FromBroker::Snapshot(intent)) = soon(controller.rx.recv()).await else {
            panic!("a snapshot first");
        };
        assert_eq!(intent.services, [local].into());
        let status = soon(handle.status()).await.unwrap();
        assert_eq!(status.controller, Some(format!("c{round}")));
        drop(controller);
    }
    let client: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    let hello = (client, encode(&connect("a")));
    soon(to_broker.send(hello)).await.unwrap();
    // The lease of a predecessor counts; after it, the answer comes.
    let (to, bytes) = soon(from_broker.recv()).await.unwrap();
    assert_eq!(to, client);
    let accepted = Packet::Connack(ReturnCode::Accepted);
    assert_eq!(Packet::decode(&bytes), Ok(accepted));
    // When the network is gone, so is the broker's reason to run.
    drop(to_broker);
    assert!(soon(running).await.unwrap().is_err());
}

/// A broker whose network is this test.
struct Linked {
    add_link: mpsc::Sender<offload::BrokerEnd>,
    handle: broker::driver::Handle,
    _to_broker: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    _from_broker: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
}

impl Linked {
    fn start() -> Self {
        let local: SocketAddr = "10.0.0.100:1883".parse().unwrap();
        let (_to_broker, from_network) = mpsc::channel(100);
        let (to_network, _from_broker) = mpsc::channel(100);
        let socket = ChannelSocket::new(local, from_network, to_network);
        let (add_link, links) = mpsc::channel(1);
        let (driver, handle) = Driver::new(broker(offloading()), socket, links);
        tokio::spawn(driver.run(CancellationToken::new()));
        Linked {
            add_link,
            handle,
            _to_broker,
            _from_broker,
        }
    }

    async fn link(&self, first: FromController) -> offload::ControllerEnd {
        let (broker_end, controller) = offload::link();
        soon(self.add_link.send(broker_end)).await.unwrap();
        controller.tx.send(first).unwrap();
        controller
    }

    async fn hello(&self, election_id: u128) -> offload::ControllerEnd {
        let hello = FromController::Hello {
            controller: format!("c{election_id}"),
            reachable: Vec::new(),
            election_id,
        };
        self.link(hello).await
    }

    async fn leader(&self) -> Option<u128> {
        soon(self.handle.status()).await.unwrap().election_id
    }
}

#[tokio::test]
async fn a_controller_that_was_primary_before_the_present_one_is_not_listened_to() {
    let broker = Linked::start();
    let mut present = broker.hello(11).await;
    assert!(matches!(
        soon(present.rx.recv()).await,
        Some(FromBroker::Snapshot(_))
    ));
    // It was frozen, say, and does not know yet.
    let mut former = broker.hello(10).await;
    assert_eq!(soon(former.rx.recv()).await, None, "the link is closed");
    assert_eq!(broker.leader().await, Some(11));
    // The same one again, or a later one, is heard at once.
    let mut next = broker.hello(12).await;
    assert!(matches!(
        soon(next.rx.recv()).await,
        Some(FromBroker::Snapshot(_))
    ));
    assert_eq!(broker.leader().await, Some(12));
    assert_eq!(soon(present.rx.recv()).await, None);
}

#[tokio::test]
async fn after_the_lease_a_lower_election_id_is_heard_again() {
    // A switch that has started anew elects anew.
    let broker = Linked::start();
    let mut first = broker.hello(11).await;
    soon(first.rx.recv()).await.unwrap();
    drop(first);
    let hearing = async {
        loop {
            let mut second = broker.hello(3).await;
            if second.rx.recv().await.is_some() {
                return second;
            }
        }
    };
    let _second = soon(hearing).await;
    assert_eq!(broker.leader().await, Some(3));
}

#[tokio::test]
async fn a_standby_hears_whether_somebody_leads_and_disturbs_nobody() {
    let broker = Linked::start();
    let standby = FromController::Standby {
        controller: "standby".into(),
    };
    let mut standby = broker.link(standby).await;
    assert_eq!(soon(standby.rx.recv()).await, Some(FromBroker::Led(false)));
    let mut leader = broker.hello(1).await;
    soon(leader.rx.recv()).await.unwrap();
    assert_eq!(soon(standby.rx.recv()).await, Some(FromBroker::Led(true)));
    assert_eq!(broker.leader().await, Some(1));
    drop(leader);
    assert_eq!(soon(standby.rx.recv()).await, Some(FromBroker::Led(false)));
}
