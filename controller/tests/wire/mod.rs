//! A real P4Runtime switch and the ends of its cables: sim in this process, or BMv2's
//! `simple_switch_grpc`, whose packets come and go over gRPC, so that neither needs a privilege.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use controller::PipelineConfig;
use p4runtime::p4info::P4Info;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

pub const PORTS: std::ops::RangeInclusive<u16> = 1..=4;
const P4INFO: &str = include_str!("../../../p4src/compiled/mqttsn.p4info.txtpb");
const PROGRAM: &[u8] = include_bytes!("../../../p4src/compiled/mqttsn.json");

pub fn pipeline() -> PipelineConfig {
    PipelineConfig {
        p4info: Arc::new(P4Info::from_text(P4INFO).unwrap()),
        device_config: PROGRAM.to_vec(),
    }
}

enum Cables {
    Sim(HashMap<u16, Arc<sim::ports::MemLink>>),
    Bmv2 {
        into: mpsc::Sender<StreamRequest>,
        out: Mutex<mpsc::UnboundedReceiver<(u16, Vec<u8>)>>,
        plugs: std::sync::Mutex<Option<Plugs>>,
    },
}

/// A port and what frame is wanted out of it.
type Wanted<'a> = (u16, &'a dyn Fn(&[u8]) -> bool);

/// What moves BMv2's packets, until it does.
type Plugs = (
    Channel,
    mpsc::Receiver<StreamRequest>,
    mpsc::UnboundedSender<(u16, Vec<u8>)>,
);

pub struct Wire {
    /// Where a controller connects.
    pub channel: Channel,
    pub device_id: u64,
    cables: Cables,
    running: Running,
}

#[allow(clippy::large_enum_variant)] // One of them in a test.
enum Running {
    Sim(sim::runtime::RunningRuntime),
    Bmv2(Process),
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `p4.bm.PacketStreamRequest` and `…Response`: they are alike.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamRequest {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    device_id: u64,
    #[prost(uint32, tag = "3")]
    port: u32,
    #[prost(bytes = "vec", tag = "4")]
    packet: Vec<u8>,
}

impl Wire {
    pub fn sim() -> Self {
        Self::sim_that_fails(&[])
    }

    /// A switch with these faults.
    pub fn sim_that_fails(faults: &[&str]) -> Self {
        let mut links = HashMap::new();
        let mut ports: Vec<(u32, Box<dyn sim::ports::Port>)> = Vec::new();
        for number in PORTS {
            let (port, link) = sim::ports::mem_pair(&format!("p{number}"), 64);
            ports.push((number.into(), Box::new(port)));
            links.insert(number, Arc::new(link));
        }
        let mut config = sim::runtime::RuntimeConfig::default();
        config.device.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        let device_id = config.device.device_id;
        let runtime = sim::runtime::Runtime::new(config, ports).unwrap();
        let running = runtime.start().unwrap();
        Self {
            channel: sim::server::connect_in_memory(running.service()),
            device_id,
            cables: Cables::Sim(links),
            running: Running::Sim(running),
        }
    }

    /// The P4Runtime device of sim.
    pub fn device(&self) -> Arc<sim::server::Device> {
        match &self.running {
            Running::Sim(running) => running.service().device().clone(),
            Running::Bmv2(_) => panic!("it is not sim"),
        }
    }

    /// None where `simple_switch_grpc` is not on PATH and not required.
    pub async fn bmv2() -> Option<Self> {
        const NAME: &str = "simple_switch_grpc";
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let (p4runtime, packets, thrift) = (free(), free(), free());
        let device_id = 0;
        let spawned = Command::new(NAME)
            .args(["--no-p4", "--device-id", "0", "--thrift-port"])
            .arg(thrift.port().to_string())
            .args(["--", "--cpu-port", "510", "--grpc-server-addr"])
            .arg(p4runtime.to_string())
            .arg("--dp-grpc-server-addr")
            .arg(packets.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match spawned {
            Ok(child) => Process(child),
            Err(error) => {
                let required = std::env::var("TOPICSWITCH_REQUIRE").unwrap_or_default();
                assert!(
                    !required.split(',').any(|name| name.trim() == NAME),
                    "{NAME} is required, but cannot be run: {error}"
                );
                eprintln!("not tested: {NAME} cannot be run: {error}");
                return None;
            }
        };
        let channel = connect(p4runtime).await;
        let packets = connect(packets).await;
        let (into, requests) = mpsc::channel::<StreamRequest>(64);
        let (received, out) = mpsc::unbounded_channel();
        let plugs = std::sync::Mutex::new(Some((packets, requests, received)));
        Some(Self {
            channel,
            device_id,
            cables: Cables::Bmv2 {
                into,
                out: Mutex::new(out),
                plugs,
            },
            running: Running::Bmv2(process),
        })
    }

    /// Plugs the cables in: BMv2 takes packets only once it has a program.
    pub fn plug(&self) {
        let Cables::Bmv2 { plugs, .. } = &self.cables else {
            return;
        };
        let (channel, requests, received) = plugs.lock().unwrap().take().unwrap();
        // The server answers when the first packet leaves, so nothing may wait for its answer.
        tokio::spawn(async move {
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<StreamRequest, StreamRequest>::default();
            let path = tonic::codegen::http::uri::PathAndQuery::from_static(
                "/p4.bm.DataplaneInterface/PacketStream",
            );
            let requests = tonic::Request::new(ReceiverStream::new(requests));
            let answer = client.streaming(requests, path, codec).await;
            let answer = answer.unwrap_or_else(|status| panic!("no packets: {status}"));
            let mut packets = answer.into_inner();
            while let Some(Ok(packet)) = packets.next().await {
                let port = u16::try_from(packet.port).unwrap();
                if received.send((port, packet.packet)).is_err() {
                    return;
                }
            }
        });
    }

    /// A frame arrives at the port.
    pub async fn send(&self, port: u16, frame: &[u8]) {
        match &self.cables {
            Cables::Sim(links) => links[&port].send(frame).unwrap(),
            Cables::Bmv2 { into, .. } => into
                .send(StreamRequest {
                    id: 0,
                    device_id: self.device_id,
                    port: port.into(),
                    packet: frame.to_vec(),
                })
                .await
                .unwrap(),
        }
    }

    /// Waits for two frames out of two ports that are as asked, in any order; others are dropped.
    pub async fn expect_both(&self, a: Wanted<'_>, b: Wanted<'_>) -> (Vec<u8>, Vec<u8>) {
        let (mut first, mut second) = (None, None);
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        while first.is_none() || second.is_none() {
            assert!(
                tokio::time::Instant::now() < until,
                "frames are missing: {first:?} {second:?}"
            );
            let arrived: Vec<(u16, Vec<u8>)> = match &self.cables {
                Cables::Sim(links) => {
                    let frames = links
                        .iter()
                        .filter_map(|(port, link)| Some((*port, link.try_recv()?)));
                    frames.collect()
                }
                Cables::Bmv2 { out, .. } => {
                    let mut out = out.lock().await;
                    std::iter::from_fn(|| out.try_recv().ok()).collect()
                }
            };
            for (port, frame) in arrived {
                if port == a.0 && a.1(&frame) {
                    first = Some(frame);
                } else if port == b.0 && b.1(&frame) {
                    second = Some(frame);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Both are there: the loop has ended.
        (first.unwrap_or_default(), second.unwrap_or_default())
    }
}

async fn connect(address: std::net::SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(tokio::time::Instant::now() < until, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A UDP datagram in a frame, without a UDP checksum.
pub fn frame(
    macs: ([u8; 6], [u8; 6]),
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    payload: &[u8],
) -> Vec<u8> {
    let udp_length = 8 + payload.len() as u16;
    let mut ip = vec![0x45, 0];
    ip.extend((20 + udp_length).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(from.0.octets());
    ip.extend(to.0.octets());
    let words = ip.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = Vec::new();
    frame.extend(macs.1);
    frame.extend(macs.0);
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    frame.extend(udp_length.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}
