//! Where the broker listens, and that it lets go.

use std::net::{SocketAddr, UdpSocket};

use broker::AdvertiseConfig;
use broker::driver::{BindError, IoConfig, UdpSockets};
use mqttsn::Packet;
use mqttsn::packet::{Disconnect, GwInfo, SearchGw};

use crate::clients::{Client, DEADLINE, Running, publish};

fn bind(listen: &[SocketAddr], workers: usize) -> Result<UdpSockets, BindError> {
    let io = IoConfig {
        workers,
        ..IoConfig::default()
    };
    UdpSockets::bind(listen, &io, &AdvertiseConfig::default())
}

#[test]
fn clients_of_ipv4_and_of_ipv6_are_clients_of_one_broker() {
    let running = Running::start(&["127.0.0.1:0", "[::1]:0"], &IoConfig::default());
    let [v4, v6] = running.at[..] else {
        panic!("{:?}", running.at)
    };
    let (a, b) = (Client::connect(v4, "a"), Client::connect(v6, "b"));
    a.subscribe(*b"ab");
    b.subscribe(*b"ab");
    a.publish(*b"ab", b"x");
    a.expect(&publish(*b"ab", b"x"));
    b.expect(&publish(*b"ab", b"x"));
    running.stop();
}

#[test]
fn shutdown_tells_the_clients_and_ends_all_threads_and_sockets() {
    for workers in [1, 3] {
        let io = IoConfig {
            workers,
            ..IoConfig::default()
        };
        let running = Running::start(&["127.0.0.1:0"], &io);
        let at = running.at[0];
        let clients = ["a", "b"].map(|id| Client::connect(at, id));
        running.stop();
        let disconnect = Packet::Disconnect(Disconnect { duration: None });
        for client in clients {
            client.expect(&disconnect);
        }
        // A thread that still ran would hold its socket, and the port with it.
        UdpSocket::bind(at).unwrap();
    }
}

#[test]
fn a_port_in_use_is_refused_however_many_workers_would_share_it() {
    for workers in [1, 2] {
        let first = bind(&["127.0.0.1:0".parse().unwrap()], workers).unwrap();
        for others in [1, 2] {
            let error = bind(first.local_addrs(), others).unwrap_err();
            assert!(matches!(error, BindError::Listen { .. }), "{error}");
        }
    }
}

#[test]
fn all_workers_of_a_broker_share_the_port_that_the_system_chose() {
    let sockets = bind(&["127.0.0.1:0".parse().unwrap()], 4).unwrap();
    assert_eq!(sockets.local_addrs().len(), 1);
    assert_ne!(sockets.local_addrs()[0].port(), 0);
}

#[test]
fn two_addresses_of_one_family_are_refused() {
    let two = ["127.0.0.1:0", "127.0.0.2:0"].map(|at| at.parse().unwrap());
    let error = bind(&two, 1).unwrap_err();
    assert!(matches!(error, BindError::SameFamily(..)), "{error}");
    assert!(matches!(bind(&[], 1), Err(BindError::NoAddress)));
}

#[test]
fn what_was_received_and_sent_is_counted() {
    let running = Running::start(&["127.0.0.1:0"], &IoConfig::default());
    let client = Client::connect(running.at[0], "a");
    client.ping();
    let handle = running.handle.clone();
    running.stop();
    let io = handle.io();
    // CONNACK, PINGRESP, and the DISCONNECT of the end.
    assert_eq!((io.received, io.sent, io.dropped), (2, 3, 0));
}

#[test]
fn a_search_in_the_multicast_group_is_answered_in_the_group() {
    let group: SocketAddr = "239.83.78.1:18830".parse().unwrap();
    let advertise = AdvertiseConfig {
        group: Some(group),
        ..AdvertiseConfig::default()
    };
    let io = IoConfig {
        workers: 2,
        ..IoConfig::default()
    };
    let running = Running::start_with(&["127.0.0.1:0"], &io, &advertise, |_| {});
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&group.into()).unwrap();
    let lo = std::net::Ipv4Addr::LOCALHOST;
    let std::net::IpAddr::V4(ip) = group.ip() else {
        panic!("IPv4")
    };
    listener.join_multicast_v4(&ip, &lo).unwrap();
    listener.set_multicast_if_v4(&lo).unwrap();
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let listener: UdpSocket = listener.into();
    let search = Packet::SearchGw(SearchGw { radius: 1 });
    let mut bytes = vec![0; search.encoded_len()];
    search.encode(&mut bytes).unwrap();
    let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&asker)
        .set_multicast_if_v4(&lo)
        .unwrap();
    asker.send_to(&bytes, group).unwrap();
    let mut buffer = [0; 100];
    let answer = Packet::GwInfo(GwInfo {
        gw_id: 1,
        gw_add: &[],
    });
    // The broker's first ADVERTISE may be there, too, and the question itself.
    loop {
        let (length, from) = listener.recv_from(&mut buffer).unwrap();
        if Packet::decode(&buffer[..length]) == Ok(answer) {
            // MQTT-SN 1.2 §5.4.3: a gateway's address is that which its GWINFO comes from.
            assert_eq!(from, running.at[0]);
            break;
        }
    }
    running.stop();
}
