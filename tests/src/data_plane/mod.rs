//! A switch that runs our P4 program, between four hosts made of raw frames.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use p4runtime::client::{Client, Stream};
use p4runtime::p4info::{DigestMessage, P4Info};
use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as ToSwitch;
use p4runtime::v1::stream_message_response::Update as FromSwitch;

use crate::hosts::{BROKER, HOSTS};

mod entries;
mod target;

pub use entries::Offload;
pub use target::{Target, on_each_target, on_each_target_with_ports, on_target};

/// The port of packet-ins and packet-outs.
pub const CPU_PORT: u16 = 510;
/// Where the broker may live while nobody knows.
pub const ANY_PORT: u16 = 511;
/// The multicast group that floods.
pub const GROUP_FLOOD: u32 = 1;
/// Replication id of a subscriber's PUBACK.
pub const RID_ACK: u32 = 0xfffd;
/// Replication id of a flood.
pub const RID_FLOOD: u32 = 0xfffe;
/// Replication id of the broker's copy.
pub const RID_COPY: u32 = 0xffff;
/// Clone session towards the broker.
pub const SESSION_COPY: u32 = 1024;
/// Clone session back to port p: this and p.
pub const SESSION_ACK: u32 = 1025;
/// Octets that the port towards the broker carries in one IPv4 packet.
pub const MAX_LENGTH: u16 = 1500;

/// How long to wait for what must come.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The frames that came out of each port.
pub type Outcome = BTreeMap<u16, Vec<Vec<u8>>>;

/// What became of a packet to a service: an index of the counter `path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Path {
    /// Served in the data plane.
    Offloaded = 0,
    /// Another message, or none.
    NotPublish = 1,
    /// The lease has run out.
    NoLease = 2,
    /// Lengths contradict each other.
    Length = 3,
    /// QoS 2 or DUP.
    Qos2OrDup = 4,
    /// QoS 1 with a wrong checksum.
    Checksum = 5,
    /// No publication admits it.
    UnknownPublication = 6,
    /// The topic has no entry.
    TopicInSoftware = 7,
    /// Too long for a tag.
    TooLong = 8,
    /// Only the broker wants it.
    CopyOnly = 9,
    /// Dropped: a tag from outside.
    ForgedTag = 10,
    /// Dropped: above its rate.
    Meter = 11,
    /// Dropped: QoS −1 above its port's rate.
    OpenMeter = 12,
    /// Dropped: more for the broker than its port may send.
    SoftwareMeter = 13,
    /// Cannot become the IPv6 packet that a subscriber needs.
    Translation = 14,
    /// Dropped: its port is not in that VLAN.
    Vlan = 15,
    /// Bridged: from a service's address, but not from the broker's port.
    ForeignAnswer = 16,
}

/// The answer to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseEcho {
    /// The switch's clock when the request arrived, in microseconds.
    pub timestamp: u64,
    /// The request's number.
    pub request: u32,
    /// Where the switch says that it came from.
    pub ingress_port: u16,
}

/// The far end of one of the switch's ports.
trait Link: Send {
    fn send(&mut self, frame: &[u8]);
    fn recv(&mut self, deadline: Instant) -> Option<Vec<u8>>;
}

/// The switch, its controller's connection, and the far ends of its ports.
pub struct DataPlane {
    target: Target,
    p4info: P4Info,
    runtime: tokio::runtime::Runtime,
    client: Client,
    stream: Stream,
    packet_ins: VecDeque<v1::PacketIn>,
    digests: VecDeque<v1::DigestList>,
    links: BTreeMap<u16, Box<dyn Link>>,
    fences: u64,
    requests: u32,
    // Last, so that it ends after everything that talks to it.
    _switch: target::Switch,
}

impl DataPlane {
    /// Which switch it is.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The program's P4Info.
    pub fn p4info(&self) -> &P4Info {
        &self.p4info
    }

    // ---- Frames ------------------------------------------------------------------------------

    /// Sends frames in at `port`, waits until the switch has done with them, and tells what came
    /// out since the last call.
    ///
    /// A broadcast sent behind them from the same port comes out of the others behind whatever
    /// they caused there, and a second one from another port comes out of this one: what is not
    /// there by then will not come.
    pub fn exchange(&mut self, port: u16, frames: &[Vec<u8>]) -> Outcome {
        for frame in frames {
            self.send(port, frame);
        }
        let mut outcome = Outcome::new();
        let answers_from = if port == BROKER.port {
            HOSTS[1].port
        } else {
            BROKER.port
        };
        let others: Vec<u16> = self.links.keys().copied().filter(|p| *p != port).collect();
        self.fence(port, &others, &mut outcome);
        self.fence(answers_from, &[port], &mut outcome);
        // The second fence came to everybody else too.
        let rest: Vec<u16> = others.into_iter().filter(|p| *p != answers_from).collect();
        let fence = fence_frame(self.fences);
        for port in rest {
            self.take_until(port, &fence, &mut outcome);
        }
        outcome
    }

    fn fence(&mut self, from: u16, to: &[u16], outcome: &mut Outcome) {
        self.fences += 1;
        let fence = fence_frame(self.fences);
        self.send(from, &fence);
        for port in to {
            self.take_until(*port, &fence, outcome);
        }
    }

    fn take_until(&mut self, port: u16, fence: &[u8], outcome: &mut Outcome) {
        loop {
            let frame = self.recv(port);
            if frame == fence {
                return;
            }
            outcome.entry(port).or_default().push(frame);
        }
    }

    /// Sends a frame in at a port.
    pub fn send(&mut self, port: u16, frame: &[u8]) {
        self.links
            .get_mut(&port)
            .expect("a port of the fixture")
            .send(frame);
    }

    /// The next frame that comes out of a port.
    ///
    /// # Panics
    /// When none comes before the deadline.
    pub fn recv(&mut self, port: u16) -> Vec<u8> {
        let link = self.links.get_mut(&port).expect("a port of the fixture");
        link.recv(Instant::now() + DEADLINE)
            .unwrap_or_else(|| panic!("nothing came out of {port}"))
    }

    // ---- P4Runtime ---------------------------------------------------------------------------

    /// Writes a batch.
    ///
    /// # Panics
    /// When the switch refuses any of it.
    pub fn write(&mut self, updates: Vec<v1::Update>) {
        self.runtime
            .block_on(self.client.write(updates))
            .unwrap_or_else(|error| panic!("the switch refused: {error}"));
    }

    /// Reads entities.
    ///
    /// # Panics
    /// When the switch refuses.
    pub fn read(&mut self, entity: impl Into<v1::Entity>) -> Vec<v1::Entity> {
        self.runtime
            .block_on(self.client.read(vec![entity.into()]))
            .unwrap_or_else(|error| panic!("the switch refused: {error}"))
    }

    /// Sends a packet-out with this operation.
    ///
    /// # Panics
    /// When the stream has ended.
    pub fn packet_out(
        &mut self,
        operation: u16,
        egress_port: u16,
        deadline: u64,
        request: u32,
        payload: &[u8],
    ) {
        let header = self.p4info.packet_out().expect("packet_out").packet();
        let packet = header
            .metadata("operation", operation)
            .and_then(|packet| packet.metadata("egress_port", egress_port))
            .and_then(|packet| packet.metadata("deadline", deadline))
            .and_then(|packet| packet.metadata("request", request))
            .and_then(|packet| packet.packet_out(payload))
            .expect("the packet_out header of the program");
        self.runtime
            .block_on(self.stream.send(ToSwitch::Packet(packet)))
            .expect("the stream is open");
    }

    /// The next packet-in.
    ///
    /// # Panics
    /// When none comes before the deadline.
    pub fn packet_in(&mut self) -> v1::PacketIn {
        self.pump(|plane| !plane.packet_ins.is_empty(), "a packet-in");
        self.packet_ins.pop_front().expect("waited for it")
    }

    /// Lets the data plane offload until `deadline` in its own clock (µs), and tells its echo.
    ///
    /// # Panics
    /// When the echo does not come.
    pub fn lease_until(&mut self, deadline: u64) -> LeaseEcho {
        self.requests += 1;
        self.packet_out(2, 0, deadline, self.requests, &[]);
        let packet = self.packet_in();
        assert_eq!(packet.payload, [0; 0], "the echo of a lease is all header");
        let view = self
            .p4info
            .packet_in()
            .expect("packet_in")
            .decode(&packet.metadata);
        let view = view.expect("the packet_in header of the program");
        let field = |name: &str| view.get(name).expect("a field").to_u64().expect("64 bits");
        assert_eq!(field("reason"), 2);
        let echo = LeaseEcho {
            timestamp: field("timestamp"),
            request: u32::try_from(field("request")).expect("32 bits"),
            ingress_port: u16::try_from(field("ingress_port")).expect("16 bits"),
        };
        assert_eq!(echo.request, self.requests);
        echo
    }

    /// Lets the data plane offload for much longer than any test takes.
    pub fn lease(&mut self) {
        let echo = self.lease_until(0);
        self.lease_until(echo.timestamp + 3_600_000_000);
    }

    /// The messages of the next digest list of this digest; lists of other digests are kept.
    ///
    /// # Panics
    /// When none comes before the deadline.
    pub fn digest(&mut self, name: &str) -> Vec<DigestMessage> {
        let digest = self
            .p4info
            .digest(name)
            .expect("a digest of the program")
            .clone();
        let of_it = |list: &v1::DigestList| list.digest_id == digest.id;
        self.pump(|plane| plane.digests.iter().any(of_it), name);
        let at = self.digests.iter().position(of_it).expect("waited for it");
        let list = self.digests.remove(at).expect("found it");
        let ack = v1::DigestListAck {
            digest_id: list.digest_id,
            list_id: list.list_id,
        };
        self.runtime
            .block_on(self.stream.send(ToSwitch::DigestAck(ack)))
            .expect("the stream is open");
        digest.decode(&list).expect("messages of the program")
    }

    /// Takes messages off the stream until `done`.
    fn pump(&mut self, done: impl Fn(&Self) -> bool, what: &str) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !done(self) {
            let waiting = self
                .runtime
                .block_on(async { tokio::time::timeout_at(deadline, self.stream.recv()).await });
            let message = waiting.unwrap_or_else(|_| panic!("the switch did not send {what}"));
            let message = message
                .expect("the stream works")
                .expect("the stream is open");
            match message.update {
                Some(FromSwitch::Packet(packet)) => self.packet_ins.push_back(packet),
                Some(FromSwitch::Digest(list)) => self.digests.push_back(list),
                Some(FromSwitch::Error(error)) => panic!("the switch refused: {error:?}"),
                _ => {}
            }
        }
    }

    /// How many packets to a service took this path.
    ///
    /// # Panics
    /// When the counter cannot be read.
    pub fn path_count(&mut self, path: Path) -> i64 {
        let counter_id = self.p4info.counter("path").expect("counter `path`").id;
        let entry = v1::CounterEntry {
            counter_id,
            index: Some(v1::Index { index: path as i64 }),
            data: None,
        };
        let found = self.read(entry);
        let [
            v1::Entity {
                entity: Some(v1::entity::Entity::CounterEntry(entry)),
            },
        ] = &found[..]
        else {
            panic!("one counter, not {found:?}");
        };
        entry.data.expect("a value").packet_count
    }
}

/// An Ethernet broadcast that is nothing else: ethertype 0x88b5, for local experiments.
fn fence_frame(number: u64) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(target::FENCE_MAC);
    frame.extend([0x88, 0xb5]);
    frame.extend(number.to_be_bytes());
    frame.resize(60, 0);
    frame
}
