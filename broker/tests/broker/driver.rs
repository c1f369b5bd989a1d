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
