//! The `udp` port over the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sim::ports::frame::{self, Addresses, Datagram, UdpChecksum};
use sim::ports::{DropReason, MacAddr, Port, UdpPort, UdpSpec};

const SERVICE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn port() -> UdpPort {
    let mut spec = UdpSpec::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    spec.mac = SERVICE_MAC;
    UdpPort::bind(7, &spec).expect("a free port")
}

fn client() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("valid");
    match socket.local_addr().expect("bound") {
        SocketAddr::V4(address) => (socket, address),
        SocketAddr::V6(other) => panic!("not IPv4: {other}"),
    }
}

/// Waits until the port has frames and takes up to `budget` of them.
fn receive(port: &mut UdpPort, budget: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut take = |port: &mut UdpPort| {
        let mut each = |frame: &[u8]| frames.push(frame.to_vec());
        port.receive(budget, &mut each).expect("the port lives")
    };
    if take(port) == 0 {
        let mut fds = [PollFd::new(port.wake_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(20_000).expect("valid");
        assert_eq!(poll(&mut fds, timeout), Ok(1), "nothing arrived");
        take(port);
    }
    frames
}

/// Sends one frame at once.
fn send(port: &UdpPort, head: &[u8], payload: &[u8]) {
    let mut sender = port.sender();
    sender.send(head, payload);
    sender.flush();
}

/// A frame that the switch sends to `to` through the port.
fn outgoing(port: &UdpPort, to: SocketAddrV4, checksum: UdpChecksum) -> Vec<u8> {
    let addresses = Addresses {
        src_mac: SERVICE_MAC,
        dst_mac: port.gateway_mac(),
        src: port.local_addr(),
        dst: to,
    };
    let mut bytes = Vec::new();
    assert!(frame::build(&mut bytes, &addresses, b"answer", checksum));
    bytes
}

#[test]
fn a_datagram_becomes_a_frame_and_a_frame_a_datagram() {
    let mut port = port();
    let (socket, address) = client();
    socket
        .send_to(b"question", port.local_addr())
        .expect("sent");
    let frames = receive(&mut port, 8);
    let addresses = Addresses {
        src_mac: UdpSpec::default_gateway_mac(7),
        dst_mac: SERVICE_MAC,
        src: address,
        dst: port.local_addr(),
    };
    assert_eq!(frames.len(), 1);
    assert_eq!(
        frame::parse(&frames[0]),
        Ok(Datagram {
            addresses,
            payload: b"question"
        })
    );
    assert_eq!(frames[0][40..42], [0, 0], "no UDP checksum");

    for checksum in [UdpChecksum::None, UdpChecksum::Computed] {
        let bytes = outgoing(&port, address, checksum);
        let (head, payload) = bytes.split_at(20);
        send(&port, head, payload);
        let mut buffer = [0; 64];
        let (len, from) = socket.recv_from(&mut buffer).expect("arrived");
        assert_eq!(
            (&buffer[..len], from),
            (&b"answer"[..], port.local_addr().into())
        );
    }
    let counts = port.counters().read();
    assert_eq!((counts.rx_frames, counts.tx_frames), (1, 2));
}

#[test]
fn a_corrupted_payload_is_dropped_and_not_laundered() {
    let port = port();
    let (socket, address) = client();
    let mut corrupted = outgoing(&port, address, UdpChecksum::Computed);
    corrupted[frame::HEADERS_LEN] ^= 0x10;
    send(&port, &corrupted, &[]);
    // What arrives first is what was sent after it.
    send(&port, &outgoing(&port, address, UdpChecksum::Computed), &[]);
    let mut buffer = [0; 64];
    let (len, _) = socket.recv_from(&mut buffer).expect("arrived");
    assert_eq!(&buffer[..len], b"answer");
    assert_eq!(port.counters().tx_drops(DropReason::BadChecksum), 1);
    assert_eq!(port.counters().read().tx_frames, 1);
}

#[test]
fn what_is_no_datagram_for_this_port_is_counted_and_dropped() {
    let port = port();
    let (_socket, address) = client();
    let mut arp = outgoing(&port, address, UdpChecksum::None);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    send(&port, &arp, &[]);
    send(&port, &[], &[]);
    let mut flooded = outgoing(&port, address, UdpChecksum::None);
    flooded[..6].copy_from_slice(&MacAddr::BROADCAST.0);
    send(&port, &flooded, &[]);
    assert_eq!(port.counters().tx_drops(DropReason::NotUdp), 2);
    assert_eq!(port.counters().tx_drops(DropReason::NotForPort), 1);
    assert_eq!(port.counters().read().tx_frames, 0);
}

#[test]
fn a_peer_that_went_away_does_not_stop_the_port() {
    let mut port = port();
    let (gone, gone_address) = client();
    drop(gone);
    send(
        &port,
        &outgoing(&port, gone_address, UdpChecksum::None),
        &[],
    );
    let (socket, address) = client();
    socket
        .send_to(b"still there?", port.local_addr())
        .expect("sent");
    let mut frames = Vec::new();
    while frames.is_empty() {
        frames = receive(&mut port, 8);
    }
    assert_eq!(
        frame::parse(&frames[0]).expect("valid").addresses.src,
        address
    );
}

#[test]
fn a_full_batch_leaves_the_rest_for_the_next() {
    let mut port = port();
    let (socket, _) = client();
    for n in 0..5_u8 {
        socket.send_to(&[n], port.local_addr()).expect("sent");
    }
    let mut got = Vec::new();
    while got.len() < 5 {
        let frames = receive(&mut port, 2);
        assert!(frames.len() <= 2);
        got.extend(
            frames
                .iter()
                .map(|f| frame::parse(f).expect("valid").payload[0]),
        );
    }
    assert_eq!(got, [0, 1, 2, 3, 4]);
}

#[test]
fn a_taken_address_is_named() {
    let port = port();
    let error = UdpPort::bind(1, &UdpSpec::new(port.local_addr())).expect_err("taken");
    assert!(
        error.to_string().contains(&port.local_addr().to_string()),
        "{error}"
    );
}

#[test]
fn a_run_of_datagrams_to_one_peer_arrives_as_it_was_sent() {
    let port = port();
    let (socket, address) = client();
    let (other, other_address) = client();
    let mut sender = port.sender();
    let addresses = |dst| Addresses {
        src_mac: SERVICE_MAC,
        dst_mac: port.gateway_mac(),
        src: port.local_addr(),
        dst,
    };
    // Runs of one length, a shorter one that ends a run, empty ones, and another peer in between.
    let lengths = [5, 5, 5, 3, 3, 5, 0, 0, 7, 1000, 1000, 999, 1000];
    let payload = |n: usize, len: usize| vec![n as u8; len];
    let mut frame = Vec::new();
    for (n, len) in lengths.into_iter().enumerate() {
        let to = if n == 6 { other_address } else { address };
        let bytes = payload(n, len);
        assert!(frame::build(
            &mut frame,
            &addresses(to),
            &bytes,
            UdpChecksum::Computed
        ));
        sender.send(&frame, &[]);
    }
    sender.flush();
    let mut buffer = [0; 2000];
    for (n, len) in lengths.into_iter().enumerate() {
        let socket = if n == 6 { &other } else { &socket };
        let (got, _) = socket.recv_from(&mut buffer).expect("arrived");
        assert_eq!(buffer[..got], payload(n, len), "datagram {n}");
    }
    let counts = port.counters().read();
    let bytes: usize = lengths.iter().map(|len| len + frame::HEADERS_LEN).sum();
    assert_eq!((counts.tx_frames, counts.tx_bytes), (13, bytes as u64));
}

#[test]
fn a_run_that_the_kernel_has_put_together_is_taken_apart() {
    let mut from = port();
    let mut to = port();
    // A port sends runs, and a port asks for them.
    let mut sender = from.sender();
    let addresses = Addresses {
        src_mac: SERVICE_MAC,
        dst_mac: from.gateway_mac(),
        src: from.local_addr(),
        dst: to.local_addr(),
    };
    let mut frame = Vec::new();
    let payloads: Vec<Vec<u8>> = (0..40_u8)
        .map(|n| vec![n; if n < 39 { 20 } else { 9 }])
        .collect();
    for payload in &payloads {
        assert!(frame::build(
            &mut frame,
            &addresses,
            payload,
            UdpChecksum::None
        ));
        sender.send(&frame, &[]);
    }
    sender.flush();
    let mut got = Vec::new();
    while got.len() < payloads.len() {
        for frame in receive(&mut to, 7) {
            let datagram = frame::parse(&frame).expect("valid");
            assert_eq!(datagram.addresses.src, from.local_addr());
            got.push(datagram.payload.to_vec());
        }
    }
    assert_eq!(got, payloads);
    assert!(from.receive(1, &mut |_| {}).expect("the port lives") == 0);
}
