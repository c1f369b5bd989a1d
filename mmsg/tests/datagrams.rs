//! Batches of datagrams over the loopback interface.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use mmsg::{Message, Receiving, Sending};

fn pair(at: &str) -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind((at, 0)).unwrap();
    let (from, to) = (bind(), bind());
    to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (from, to)
}

fn received(to: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut receiving = Receiving::new(4);
    let mut all = Vec::new();
    while all.len() < count {
        receiving.receive(to.as_fd(), true).unwrap();
        let datagrams = receiving.datagrams();
        all.extend(datagrams.map(|(from, bytes)| (from, bytes.to_vec())));
    }
    all
}

#[test]
fn datagrams_arrive_whole_and_in_order_over_ipv4_and_ipv6() {
    for at in ["127.0.0.1", "::1"] {
        let (from, to) = pair(at);
        let buffer: Vec<u8> = (0..100).collect();
        let local = from.local_addr().unwrap();
        let destination = to.local_addr().unwrap();
        // Two parts, and one part.
        let two = [&buffer[..10], &buffer[50..60]];
        let one = [&buffer[20..21]];
        let messages = [&two[..], &one].map(|parts| Message {
            to: Some(destination),
            parts: parts.iter().copied(),
            segment: 0,
        });
        let sent = Sending::default().send(from.as_fd(), messages);
        assert_eq!(sent.unwrap(), 2);
        let joined: Vec<u8> = (0..10).chain(50..60).collect();
        let expected = [(local, joined), (local, vec![20])];
        assert_eq!(received(&to, 2), expected);
    }
}

#[test]
fn a_segmented_message_arrives_as_its_datagrams() {
    let (from, to) = pair("127.0.0.1");
    let buffer: Vec<u8> = (0..250).collect();
    let message = Message {
        to: Some(to.local_addr().unwrap()),
        parts: [&buffer[..]],
        segment: 100,
    };
    Sending::default().send(from.as_fd(), [message]).unwrap();
    let lengths: Vec<_> = received(&to, 3).iter().map(|(_, b)| b.len()).collect();
    assert_eq!(lengths, [100, 100, 50]);
}

#[test]
fn a_run_put_together_by_the_kernel_is_taken_apart_again() {
    let (from, to) = pair("127.0.0.1");
    nix::sys::socket::setsockopt(&to, nix::sys::socket::sockopt::UdpGroSegment, &true).unwrap();
    let buffer: Vec<u8> = (0..250).collect();
    let message = Message {
        to: Some(to.local_addr().unwrap()),
        parts: [&buffer[..]],
        segment: 100,
    };
    Sending::default().send(from.as_fd(), [message]).unwrap();
    let mut receiving = Receiving::new(1);
    receiving.receive(to.as_fd(), true).unwrap();
    let got: Vec<_> = receiving.datagrams().map(|(_, b)| b.to_vec()).collect();
    assert_eq!(got, [&buffer[..100], &buffer[100..200], &buffer[200..]]);
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    let (from, to) = pair("127.0.0.1");
    from.send_to(&[], to.local_addr().unwrap()).unwrap();
    let local = from.local_addr().unwrap();
    assert_eq!(received(&to, 1), [(local, vec![])]);
}

#[test]
fn nothing_there_is_told_and_not_waited_for() {
    let (_, to) = pair("127.0.0.1");
    let mut receiving = Receiving::new(4);
    let error = receiving.receive(to.as_fd(), false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(receiving.datagrams().count(), 0);
}

#[test]
fn datagrams_shown_one_by_one_have_room_in_front_of_them() {
    let (from, to) = pair("127.0.0.1");
    nix::sys::socket::setsockopt(&to, nix::sys::socket::sockopt::UdpGroSegment, &true).unwrap();
    let (local, destination) = (from.local_addr().unwrap(), to.local_addr().unwrap());
    let run: Vec<u8> = (0..250).collect();
    let message = |bytes, segment| Message {
        to: Some(destination),
        parts: [bytes],
        segment,
    };
    let messages = [message(&run[..], 100), message(&[], 0), message(&[9], 0)];
    assert_eq!(Sending::default().send(from.as_fd(), messages).unwrap(), 3);
    let mut receiving = Receiving::new(4);
    let mut shown = Vec::new();
    while shown.len() < 5 {
        receiving.receive(to.as_fd(), true).unwrap();
        while let Some((sender, bytes)) = receiving.next_mut(28) {
            assert_eq!(sender, local);
            bytes[..28].fill(0xff);
            shown.push(bytes[28..].to_vec());
        }
    }
    let expected = [&run[..100], &run[100..200], &run[200..], &[], &[9]];
    assert_eq!(shown, expected);
}

#[test]
fn a_socket_that_is_bound_to_its_destination_needs_none() {
    let (from, to) = pair("127.0.0.1");
    from.connect(to.local_addr().unwrap()).unwrap();
    let message = Message {
        to: None,
        parts: [&[7][..]],
        segment: 0,
    };
    assert_eq!(Sending::default().send(from.as_fd(), [message]).unwrap(), 1);
    assert_eq!(received(&to, 1)[0].1, [7]);
}
