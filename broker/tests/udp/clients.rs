//! A running broker, and blocking clients of it.

use std::net::{SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::driver::{Driver, DriverError, Handle, IoConfig, UdpSockets};
use broker::{AdvertiseConfig, Broker, Config};
use mqttsn::packet::{Connect, Pingreq, Publish, Subscribe};
use mqttsn::types::PROTOCOL_ID;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Seconds, TopicRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A broker that runs in threads of its own.
pub struct Running {
    pub at: Vec<SocketAddr>,
    pub handle: Handle,
    shutdown: CancellationToken,
    thread: JoinHandle<Result<(), DriverError>>,
}

impl Running {
    pub fn start(listen: &[&str], io: &IoConfig) -> Self {
        Self::start_with(listen, io, &AdvertiseConfig::default(), |_| {})
    }

    /// `prepare` is given the driver before it runs.
    pub fn start_with(
        listen: &[&str],
        io: &IoConfig,
        advertise: &AdvertiseConfig,
        prepare: impl FnOnce(&Driver),
    ) -> Self {
        let listen: Vec<SocketAddr> = listen.iter().map(|at| at.parse().unwrap()).collect();
        let sockets = UdpSockets::bind(&listen, io, advertise).unwrap();
        let at = sockets.local_addrs().to_vec();
        let config = Config {
            advertise: advertise.clone(),
            ..Config::default()
        };
        let broker = Broker::new(config, std::time::Instant::now()).unwrap();
        let (_, links) = mpsc::channel(1);
        let (driver, handle) = Driver::udp(broker, sockets, links);
        prepare(&driver);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(driver.run(token))
        });
        Running {
            at,
            handle,
            shutdown,
            thread,
        }
    }

    /// Ends it, and waits for the end of all its threads.
    pub fn stop(self) {
        self.shutdown.cancel();
        self.thread.join().unwrap().unwrap();
    }
}

pub struct Client {
    pub socket: UdpSocket,
}

impl Client {
    /// A connected client.
    pub fn connect(broker: SocketAddr, client_id: &str) -> Self {
        let any = if broker.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(broker).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let client = Client { socket };
        client.send(&Packet::Connect(Connect {
            will: false,
            clean_session: true,
            protocol_id: PROTOCOL_ID,
            duration: Seconds(0),
            client_id,
        }));
        client.expect(&Packet::Connack(ReturnCode::Accepted));
        client
    }

    pub fn send(&self, packet: &Packet<'_>) {
        let mut bytes = vec![0; packet.encoded_len()];
        packet.encode(&mut bytes).unwrap();
        self.socket.send(&bytes).unwrap();
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = self.socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    pub fn expect(&self, packet: &Packet<'_>) {
        assert_eq!(Packet::decode(&self.receive()).unwrap(), *packet);
    }

    pub fn subscribe(&self, topic: [u8; 2]) {
        self.send(&Packet::Subscribe(Subscribe {
            dup: false,
            qos: Qos::Zero,
            msg_id: MsgId(1),
            topic: TopicRef::Short(topic),
        }));
        let answer = self.receive();
        assert!(matches!(Packet::decode(&answer), Ok(Packet::Suback(_))));
    }

    pub fn publish(&self, topic: [u8; 2], data: &[u8]) {
        self.send(&publish(topic, data));
    }

    /// Waits until the broker has handled all that was sent.
    pub fn ping(&self) {
        self.send(&Packet::Pingreq(Pingreq { client_id: "" }));
        self.expect(&Packet::Pingresp);
    }
}

pub fn publish(topic: [u8; 2], data: &[u8]) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos: Qos::Zero,
        retain: false,
        alias: Alias::short(topic),
        msg_id: MsgId(0),
        data,
    })
}
