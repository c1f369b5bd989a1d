//! A QoS 0 message costs no allocation, from the datagram that comes to the last copy that leaves.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the functions its cases share"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::driver::{Driver, IoConfig, UdpSockets};
use broker::{AdvertiseConfig, Broker, Config};
use mqttsn::packet::{Connect, Pingreq, Publish, Subscribe};
use mqttsn::{Alias, MsgId, Packet, Qos, Seconds, TopicRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

thread_local! {
    /// The threads of the test itself do not count.
    static COUNTS: Cell<bool> = const { Cell::new(true) };
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting what all threads but those of the test ask for.
struct Counting;

fn count() {
    if COUNTS.with(Cell::get) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory that it
// manages (an atomic, and a `const` thread-local without destructor).
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`; `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len()];
    packet.encode(&mut bytes).unwrap();
    bytes
}

struct Client(UdpSocket);

impl Client {
    fn connect(broker: std::net::SocketAddr, client_id: &str) -> Self {
        let client = Client(UdpSocket::bind("127.0.0.1:0").unwrap());
        client.0.connect(broker).unwrap();
        let deadline = Some(Duration::from_secs(20));
        client.0.set_read_timeout(deadline).unwrap();
        client.ask(&Packet::Connect(Connect {
            will: false,
            clean_session: true,
            protocol_id: 1,
            duration: Seconds(0),
            client_id,
        }));
        client
    }

    fn ask(&self, packet: &Packet<'_>) {
        self.0.send(&encode(packet)).unwrap();
        self.0.recv(&mut [0; 1000]).unwrap();
    }
}

/// Publishes in bursts, and waits for each copy of each burst.
fn run(publisher: &Client, subscribers: &[Client], bursts: usize) {
    const BURST: usize = 20;
    let publish = encode(&Packet::Publish(Publish {
        dup: false,
        qos: Qos::Zero,
        retain: false,
        alias: Alias::short(*b"ab"),
        msg_id: MsgId(0),
        data: &[7; 50],
    }));
    for _ in 0..bursts {
        for _ in 0..BURST {
            publisher.0.send(&publish).unwrap();
        }
        for subscriber in subscribers {
            for _ in 0..BURST {
                assert_eq!(subscriber.0.recv(&mut [0; 1000]).unwrap(), publish.len());
            }
        }
        // The answer comes when the thread that sent the copies is through with them.
        publisher.ask(&Packet::Pingreq(Pingreq { client_id: "" }));
    }
}

#[test]
fn a_qos_0_message_is_received_matched_and_sent_without_allocation() {
    COUNTS.with(|counts| counts.set(false));
    for workers in [1, 2] {
        let io = IoConfig {
            workers,
            ..IoConfig::default()
        };
        let any = ["127.0.0.1:0".parse().unwrap()];
        let sockets = UdpSockets::bind(&any, &io, &AdvertiseConfig::default()).unwrap();
        let at = sockets.local_addrs()[0];
        let broker = Broker::new(Config::default(), std::time::Instant::now()).unwrap();
        let (_, links) = mpsc::channel(1);
        let (driver, handle) = Driver::udp(broker, sockets, links);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let running = std::thread::spawn(move || {
            COUNTS.with(|counts| counts.set(false));
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(driver.run(token)).unwrap();
        });
        let publisher = Client::connect(at, "p");
        let subscribers = ["a", "b", "c"].map(|id| Client::connect(at, id));
        for subscriber in &subscribers {
            subscriber.ask(&Packet::Subscribe(Subscribe {
                dup: false,
                qos: Qos::Zero,
                msg_id: MsgId(1),
                topic: TopicRef::Short(*b"ab"),
            }));
        }
        run(&publisher, &subscribers, 30);
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        assert!(before > 0, "the broker's threads are counted");
        let sent = handle.io().sent;
        run(&publisher, &subscribers, 100);
        let after = ALLOCATIONS.load(Ordering::SeqCst);
        assert!(handle.io().sent - sent >= 100 * 20 * 3);
        assert_eq!(after - before, 0, "with {workers} workers");
        shutdown.cancel();
        running.join().unwrap();
    }
}
