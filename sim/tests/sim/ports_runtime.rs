//! Ports and a running switch together, with threads and real sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::p4runtime_fixture::{Fixture, config, p4info};
use crate::programs::json;
use p4runtime::p4info::EntryBuilder;
use p4runtime::v1::{TableEntry, Update};
use sim::Pipeline;
use sim::ports::{
    DropReason, Host, MacAddr, MemPort, Port, PortCounters, PortSender, PortSpec, UdpPort, UdpSpec,
    mem_pair,
};
use sim::runtime::{Runtime, RuntimeConfig, RuntimeError};

const PATIENCE: Duration = Duration::from_secs(20);
const SERVICE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn mem(name: &str) -> Box<dyn Port> {
    Box::new(mem_pair(name, 4).0)
}

fn to_port(fixture: &Fixture, mac: MacAddr, port: u16) -> TableEntry {
    let entry = fixture.p4info.table("dmac").expect("there").entry();
    entry
        .exact("dst_addr", mac.0)
        .and_then(|e| e.action("forward"))
        .and_then(|e| e.param("port", port))
        .and_then(EntryBuilder::build)
        .expect("valid")
}

#[test]
fn a_client_over_udp_and_a_host_in_memory_talk_through_the_switch() {
    let spec = UdpSpec {
        mac: SERVICE,
        ..UdpSpec::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
    };
    let udp = UdpPort::bind(1, &spec).expect("a free port");
    let (address, gateway) = (udp.local_addr(), udp.gateway_mac());
    let (port, link) = mem_pair("service", 64);
    let host = Host::new(link, SERVICE, *address.ip());
    let ports: Vec<(u32, Box<dyn Port>)> = vec![(1, Box::new(udp)), (2, Box::new(port))];
    let runtime = Runtime::new(RuntimeConfig::default(), ports).expect("distinct ports");
    let fixture = Fixture {
        runtime,
        p4info: p4info(),
        links: vec![],
        now: Duration::ZERO,
    };
    let _stream = fixture.primary(1);
    fixture.set_pipeline(config()).expect("good");
    fixture.must([
        Update::insert(to_port(&fixture, SERVICE, 2)),
        Update::insert(to_port(&fixture, gateway, 1)),
    ]);
    let running = fixture.runtime.start().expect("threads and descriptors");

    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.set_read_timeout(Some(PATIENCE)).expect("valid");
    client.connect(SocketAddr::V4(address)).expect("an address");
    for round in 0..100_u8 {
        client.send(&[round; 5]).expect("sent");
        let question = host
            .recv_deadline(Instant::now() + PATIENCE)
            .expect("arrived");
        assert_eq!(question.payload, [round; 5]);
        assert_eq!(question.peer, client.local_addr().expect("bound"));
        host.send_to(question.peer, address.port(), &[round; 3])
            .expect("sent");
        let mut answer = [0; 9];
        assert_eq!(client.recv(&mut answer).expect("arrived"), 3);
        assert_eq!(answer[..3], [round; 3]);
    }

    // A corrupted answer is not laundered on its way out.
    let mut bad = host.frame_to(client.local_addr().expect("bound"), address.port(), b"bad");
    let frame = bad.as_mut().expect("fits");
    *frame.last_mut().expect("not empty") ^= 1;
    host.link().send(frame).expect("room");
    host.send_to(client.local_addr().expect("bound"), address.port(), b"good")
        .expect("sent");
    let mut answer = [0; 9];
    assert_eq!(client.recv(&mut answer).expect("arrived"), 4);
    let counters = running.ports()[0].counters.clone();
    // A frame is counted after it has left: all are once the switch has stopped.
    running.shutdown();
    assert_eq!(counters.tx_drops(DropReason::BadChecksum), 1);
    assert_eq!(counters.read().rx_frames, 100);
    assert_eq!(counters.read().tx_frames, 101);
    assert!(host.link().is_closed(), "the ports are closed");
}

#[test]
fn ports_need_distinct_numbers_that_v1model_can_name() {
    let make = |numbers: &[u32]| {
        let ports = numbers.iter().map(|&number| (number, mem("p"))).collect();
        Runtime::new(RuntimeConfig::default(), ports).map(drop)
    };
    assert!(make(&[1, 2, 509]).is_ok());
    assert!(matches!(make(&[1, 1]), Err(RuntimeError::DuplicatePort(1))));
    assert!(matches!(
        make(&[510]),
        Err(RuntimeError::DuplicatePort(510))
    ));
    assert!(matches!(
        make(&[511]),
        Err(RuntimeError::PortOutOfRange(511))
    ));
    assert!(matches!(
        make(&[4_000_000]),
        Err(RuntimeError::PortOutOfRange(4_000_000))
    ));
}

#[test]
fn a_frame_to_a_port_that_is_not_there_leads_nowhere() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 77))]);
    fixture.inject(1, &crate::p4runtime_fixture::frame(1, 9));
    assert_eq!(fixture.left(), []);
}

#[test]
fn with_several_workers_what_each_port_receives_keeps_its_order() {
    const FRAMES: u32 = 3000;
    let mut links = Vec::new();
    let mut ports: Vec<(u32, Box<dyn Port>)> = Vec::new();
    for number in 1..=5 {
        let (port, link) = mem_pair(&format!("port{number}"), 4 * FRAMES as usize);
        links.push(link);
        ports.push((number, Box::new(port)));
    }
    let config_of_two = RuntimeConfig {
        workers: 2,
        ..RuntimeConfig::default()
    };
    let fixture = Fixture {
        runtime: Runtime::new(config_of_two, ports).expect("distinct ports"),
        p4info: p4info(),
        links: vec![],
        now: Duration::ZERO,
    };
    let _stream = fixture.primary(1);
    fixture.set_pipeline(config()).expect("good");
    fixture.must([Update::insert(fixture.dmac(9, 5))]);
    let running = fixture.runtime.start().expect("threads");
    // Ports 1 to 4 are with one worker or the other; all send to port 5.
    for number in 0..FRAMES {
        for (port, link) in (1_u8..).zip(&links[..4]) {
            let mut frame = crate::p4runtime_fixture::frame(9, 1);
            frame.push(port);
            frame.extend(number.to_be_bytes());
            link.send(&frame).expect("room");
        }
    }
    let mut next = [0; 5];
    for _ in 0..4 * FRAMES {
        let frame = links[4]
            .recv_deadline(Instant::now() + PATIENCE)
            .expect("no frame is lost");
        let (rest, number) = frame.split_last_chunk().expect("long");
        let port = usize::from(*rest.last().expect("long"));
        assert_eq!(u32::from_be_bytes(*number), next[port], "port {port}");
        next[port] += 1;
    }
    assert_eq!(next, [0, FRAMES, FRAMES, FRAMES, FRAMES]);
    running.shutdown();
}

/// A port that is kept from running within its batch: each frame is shown a while after the one
/// before it.
struct Halting(MemPort);

impl Port for Halting {
    fn spec(&self) -> PortSpec {
        self.0.spec()
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.0.wake_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        self.0.receive(budget, &mut |frame| {
            each(frame);
            let shown = Instant::now();
            while shown.elapsed() < Duration::from_micros(2) {
                std::hint::spin_loop();
            }
        })
    }

    fn sender(&self) -> Box<dyn PortSender> {
        self.0.sender()
    }

    fn counters(&self) -> Arc<PortCounters> {
        self.0.counters()
    }
}

#[test]
fn a_frames_time_is_not_before_it_was_taken() {
    const FRAMES: usize = 50;
    let (port, sender) = mem_pair("sender", FRAMES);
    let (out, receiver) = mem_pair("receiver", FRAMES);
    // All of them wait when the switch begins: they are one batch.
    for _ in 0..FRAMES {
        // The program's command to forward: to port 1.
        sender.send(&[0; 4]).expect("room");
    }
    let ports: Vec<(u32, Box<dyn Port>)> = vec![(1, Box::new(out)), (3, Box::new(Halting(port)))];
    let runtime = Runtime::new(RuntimeConfig::default(), ports).expect("distinct ports");
    let pipeline = Pipeline::load(&json("traffic")).expect("the program loads");
    runtime.switch().load(Arc::new(pipeline));
    let running = runtime.start().expect("threads");
    let mut times = Vec::new();
    for _ in 0..FRAMES {
        let frame = receiver
            .recv_deadline(Instant::now() + PATIENCE)
            .expect("arrived");
        // The program writes ingress_global_timestamp there.
        let mut time = [0; 8];
        time[2..].copy_from_slice(&frame[8..14]);
        times.push(u64::from_be_bytes(time));
    }
    running.shutdown();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}
