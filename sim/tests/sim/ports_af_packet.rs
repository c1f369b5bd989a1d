//! The `af-packet` port on a veth pair whose far end is in a network namespace of its own, where
//! the kernel's own sockets send and receive.
//!
//! Needs root, `ip` and `python3`. Without them the tests say so and pass, unless `TOPICSWITCH_REQUIRE`
//! names `netns`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sim::ports::frame::{self, Addresses, Datagram, UdpChecksum};
use sim::ports::{AfPacketPort, DropReason, MacAddr, OpenPortError, Port};

const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OUR_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const THEIR_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

fn run(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A veth pair: our end here, the other in a namespace. Removed when dropped.
struct Veth {
    name: &'static str,
    namespace: String,
    their_mac: MacAddr,
}

impl Veth {
    /// `None` when the machine cannot do it and nobody requires it.
    fn new(name: &'static str) -> Option<Self> {
        let namespace = format!("{name}-{}", std::process::id());
        let their_mac = MacAddr([2, 0, 0, 0, 0, 2]);
        let veth = Veth {
            name,
            namespace: namespace.clone(),
            their_mac,
        };
        run(&format!("ip link del {name}"));
        let made = [
            "python3 --version".to_owned(),
            format!("ip netns add {namespace}"),
            format!("ip link add {name} type veth peer name {name}p"),
            format!("ip link set {name}p address {their_mac} netns {namespace}"),
            format!("ip -n {namespace} addr add {THEIR_IP}/24 dev {name}p"),
            format!("ip -n {namespace} neigh add {OUR_IP} lladdr {OUR_MAC} dev {name}p"),
            format!("ip -n {namespace} link set {name}p up"),
            format!("ip link set {name} up"),
        ]
        .iter()
        .all(|command| run(command));
        if made {
            return Some(veth);
        }
        let required = std::env::var("TOPICSWITCH_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|thing| thing.trim() == "netns"),
            "TOPICSWITCH_REQUIRE names netns, but network namespaces cannot be made here"
        );
        println!(
            "SKIPPED: needs root, `ip` and `python3` to make a veth pair in a network namespace"
        );
        None
    }

    /// Runs a Python program in the namespace.
    fn python(&self, program: &str) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "python3", "-c", program]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("ip was there a moment ago")
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.namespace));
        run(&format!("ip link del {}", self.name));
    }
}

/// Receives until `wanted` says it has seen enough.
fn receive_until(port: &mut AfPacketPort, mut wanted: impl FnMut(&[u8]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut found = false;
    while !found {
        assert!(
            Instant::now() < deadline,
            "what was waited for did not arrive"
        );
        let shown = port.receive(8, &mut |frame| found = found || wanted(frame));
        if shown.expect("the port lives") == 0 {
            let mut fds = [PollFd::new(port.wake_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(100_u8)).expect("waits");
        }
    }
}

/// Sends one frame at once.
fn send(port: &AfPacketPort, head: &[u8], payload: &[u8]) {
    let mut sender = port.sender();
    sender.send(head, payload);
    sender.flush();
}

fn is_to(frame: &[u8], udp_port: u16) -> bool {
    frame.len() > 37
        && frame[12..14] == [8, 0]
        && frame[23] == 17
        && frame[36..38] == udp_port.to_be_bytes()
}

#[test]
fn checksums_that_the_kernel_leaves_to_the_nic_are_completed() {
    let Some(veth) = Veth::new("tsv0") else {
        return;
    };
    let mut port = AfPacketPort::open(veth.name).expect("root");
    let mut sender = veth.python(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
         s.bind(('10.77.0.2', 4000)); s.sendto(b'question', ('10.77.0.1', 1884))",
    );
    receive_until(&mut port, |bytes| {
        if !is_to(bytes, 1884) {
            return false;
        }
        assert_ne!(bytes[40..42], [0, 0], "the kernel computes checksums");
        let addresses = Addresses {
            src_mac: veth.their_mac,
            dst_mac: OUR_MAC,
            src: SocketAddrV4::new(THEIR_IP, 4000),
            dst: SocketAddrV4::new(OUR_IP, 1884),
        };
        assert_eq!(
            frame::parse(bytes),
            Ok(Datagram {
                addresses,
                payload: b"question"
            })
        );
        true
    });
    assert!(sender.wait().expect("python3 runs").success());
}

#[test]
fn a_frame_sent_reaches_the_kernel_behind_and_does_not_come_back() {
    let Some(veth) = Veth::new("tsv1") else {
        return;
    };
    let mut port = AfPacketPort::open(veth.name).expect("root");
    let receiver = veth.python(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
         s.bind(('10.77.0.2', 1884)); s.settimeout(20); \
         s.sendto(b'ready', ('10.77.0.1', 9)); print(s.recv(99).decode(), end=''); \
         s.sendto(b'done', ('10.77.0.1', 9))",
    );
    receive_until(&mut port, |bytes| is_to(bytes, 9));
    let addresses = Addresses {
        src_mac: OUR_MAC,
        dst_mac: veth.their_mac,
        src: SocketAddrV4::new(OUR_IP, 4000),
        dst: SocketAddrV4::new(THEIR_IP, 1884),
    };
    let mut bytes = Vec::new();
    assert!(frame::build(
        &mut bytes,
        &addresses,
        b"answer",
        UdpChecksum::Computed
    ));
    let (head, payload) = bytes.split_at(42);
    send(&port, head, payload);
    receive_until(&mut port, |bytes| {
        assert!(!is_to(bytes, 1884), "our own frame came back");
        is_to(bytes, 9)
    });
    let output = receiver.wait_with_output().expect("python3 runs");
    assert_eq!(output.stdout, b"answer");
    assert_eq!(port.counters().read().tx_frames, 1);
}

#[test]
fn a_vlan_tag_that_the_kernel_took_out_is_put_back() {
    let Some(veth) = Veth::new("tsv2") else {
        return;
    };
    let mut port = AfPacketPort::open(veth.name).expect("root");
    let mut sender = veth.python(
        "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); \
         s.bind(('tsv2p', 0)); \
         s.send(bytes.fromhex('020000000001020000000002810000 2a88b5'.replace(' ', '')) + bytes(range(60)))",
    );
    receive_until(&mut port, |bytes| {
        if bytes.get(12..14) != Some(&[0x81, 0x00]) {
            return false;
        }
        assert_eq!(bytes[..6], OUR_MAC.0);
        assert_eq!(bytes[6..12], veth.their_mac.0);
        assert_eq!(bytes[14..18], [0x00, 0x2a, 0x88, 0xb5]);
        assert!(bytes[18..].iter().copied().eq(0..60));
        true
    });
    assert!(sender.wait().expect("python3 runs").success());
}

#[test]
fn super_packets_arrive_cut_into_packets_with_right_checksums() {
    let Some(veth) = Veth::new("tsv3") else {
        return;
    };
    let mut port = AfPacketPort::open(veth.name).expect("root");
    // USO: one send of 3000 bytes that the kernel hands over as one super-packet of 1000s.
    let mut sender = veth.python(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
         s.setsockopt(17, 103, 1000); s.sendto(bytes(1000) + bytes([1]) * 1000 + bytes([2]) * 500, \
         ('10.77.0.1', 1884))",
    );
    let mut got = Vec::new();
    receive_until(&mut port, |bytes| {
        if is_to(bytes, 1884) {
            let payload = frame::parse(bytes).expect("checksums are right").payload;
            got.push((payload[0], payload.len()));
        }
        got.len() == 3
    });
    assert_eq!(got, [(0, 1000), (1, 1000), (2, 500)]);
    assert!(sender.wait().expect("python3 runs").success());
}

#[test]
fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
    let error = AfPacketPort::open("nonesuch0").expect_err("no such interface");
    assert!(matches!(error, OpenPortError::NoInterface { .. }));
    let text = error.to_string();
    assert!(
        text.contains("`nonesuch0`") && text.contains("lo"),
        "{text}"
    );
}

/// A frame of an experimental protocol with a number in it, `len` bytes in all.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    frame.resize(len, 0xa5);
    frame
}

fn number_of(frame: &[u8]) -> Option<u32> {
    let is_ours = frame.get(12..14) == Some(&[0x88, 0xb5]);
    let bytes = frame.get(14..18).filter(|_| is_ours)?;
    Some(u32::from_be_bytes(bytes.try_into().expect("four")))
}

/// A veth pair with both ends here. Removed when dropped.
struct Pair(&'static str);

impl Pair {
    fn new(name: &'static str) -> Option<Self> {
        run(&format!("ip link del {name}"));
        let pair = Pair(name);
        if pair.make() {
            return Some(pair);
        }
        let required = std::env::var("TOPICSWITCH_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|thing| thing.trim() == "netns"),
            "TOPICSWITCH_REQUIRE names netns, but veth pairs cannot be made here"
        );
        println!("SKIPPED: needs root and `ip` to make a veth pair");
        None
    }

    fn make(&self) -> bool {
        let name = self.0;
        run(&format!("ip link add {name} type veth peer name {name}p"))
            && run(&format!("ip link set {name} up"))
            && run(&format!("ip link set {name}p up"))
    }

    fn open(&self) -> (AfPacketPort, AfPacketPort) {
        let open = |name: &str| AfPacketPort::open(name).expect("root");
        (open(self.0), open(&format!("{}p", self.0)))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        run(&format!("ip link del {}", self.0));
    }
}

#[test]
fn many_frames_of_all_lengths_arrive_in_order_and_whole() {
    let Some(pair) = Pair::new("tsv4") else {
        return;
    };
    let (a, mut b) = pair.open();
    let mut sender = a.sender();
    let length = |number: u32| 18 + (number as usize * 37) % 1480;
    let mut next = 0;
    // More than the ring has slots, so that it is gone round several times.
    for burst in 0..100_u32 {
        for number in burst * 100..burst * 100 + 100 {
            let frame = numbered(number, length(number));
            let (head, payload) = frame.split_at(number as usize % 18);
            sender.send(head, payload);
        }
        sender.flush();
        receive_until(&mut b, |frame| {
            if let Some(number) = number_of(frame) {
                assert_eq!(number, next);
                assert_eq!(frame, numbered(number, length(number)));
                next += 1;
            }
            next == (burst + 1) * 100
        });
    }
    assert_eq!(a.counters().read().tx_frames, 10_000);
    assert_eq!(b.counters().rx_drops(DropReason::QueueFull), 0);
}

#[test]
fn what_the_ring_has_no_room_for_is_counted() {
    let Some(pair) = Pair::new("tsv5") else {
        return;
    };
    let (a, mut b) = pair.open();
    let mut sender = a.sender();
    let sent = 20_000;
    for number in 0..sent {
        sender.send(&numbered(number, 100), &[]);
    }
    sender.flush();
    let mut got = 0;
    let mut last = None;
    // The frames that found no room are told with the first that finds some.
    let mut each = |frame: &[u8]| {
        if let Some(number) = number_of(frame) {
            assert!(last < Some(number), "in order");
            last = Some(number);
            got += 1;
        }
    };
    while b.receive(64, &mut each).expect("the port lives") > 0 {}
    sender.send(&numbered(sent, 100), &[]);
    sender.flush();
    receive_until(&mut b, |frame| {
        each(frame);
        number_of(frame) == Some(sent)
    });
    assert_eq!(a.counters().read().tx_frames, u64::from(sent) + 1);
    let lost = b.counters().rx_drops(DropReason::QueueFull);
    assert!(lost > 0 && got > 0);
    // What the kernel itself says on a new interface (IPv6) may be among the lost.
    let all = u64::from(sent) + 1;
    assert!((all..all + 100).contains(&(got + lost)), "{got} + {lost}");
}

#[test]
fn an_interface_that_goes_down_comes_up_and_is_made_anew_is_used_again() {
    let Some(pair) = Pair::new("tsv6") else {
        return;
    };
    let (a, mut b) = pair.open();
    let mut sender = a.sender();
    let mut pass = |a: &AfPacketPort, b: &mut AfPacketPort, number| {
        sender.send(&numbered(number, 60), &[]);
        sender.flush();
        assert!(a.is_up());
        receive_until(b, |frame| number_of(frame) == Some(number));
    };
    let mut a = a;
    pass(&a, &mut b, 1);
    // What a pump does when the descriptor reports an error, and from time to time after it.
    let settle = |port: &mut AfPacketPort, up: bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while port.is_up() != up {
            assert!(Instant::now() < deadline, "the port did not see it");
            let wait = port.wake_after().unwrap_or(Duration::from_secs(1));
            let wait = PollTimeout::try_from(wait).expect("short");
            poll(&mut [PollFd::new(port.wake_fd(), PollFlags::POLLIN)], wait).expect("waits");
            port.recover().expect("not lost");
            port.receive(64, &mut |_| {}).expect("not lost");
        }
    };
    assert!(run("ip link set tsv6 down") && run("ip link set tsv6p down"));
    settle(&mut a, false);
    settle(&mut b, false);
    assert!(run("ip link set tsv6 up") && run("ip link set tsv6p up"));
    settle(&mut a, true);
    settle(&mut b, true);
    pass(&a, &mut b, 2);
    assert!(run("ip link del tsv6"));
    settle(&mut a, false);
    settle(&mut b, false);
    assert!(pair.make());
    settle(&mut a, true);
    settle(&mut b, true);
    pass(&a, &mut b, 3);
}
