//! A client of the tests: topicswitch's own client protocol on a socket, or on a host in memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mqttsn::types::TopicIdType;
use sim::ports::Host;
use tokio::net::UdpSocket;
use topicswitch::client::{Answer, ClientCore, Message, RequestError, Retry};

/// The UDP port of clients that are hosts of their own.
const CLIENT_UDP: u16 = 40_000;

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Host { host: Host, to: SocketAddr },
}

/// A message that arrived, with the name of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Topic name; `predefined:1` and short names as they are.
    pub topic: String,
    /// The message.
    pub message: Message,
}

/// One client.
#[derive(Debug)]
pub struct TestClient {
    socket: Socket,
    core: ClientCore,
    buffer: Vec<u8>,
    received: Vec<Received>,
    datagrams: u64,
}

impl TestClient {
    /// A client on a UDP socket.
    ///
    /// # Panics
    /// When the socket cannot be made.
    pub async fn on_udp(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a free port");
        socket.connect(to).await.expect("an address");
        Self::new(Socket::Udp(socket))
    }

    /// A client on a socket that is connected to the broker already, of a host of its own maybe.
    ///
    /// # Panics
    /// When the socket cannot be used, or outside of a runtime.
    pub fn on_socket(socket: std::net::UdpSocket) -> Self {
        socket.set_nonblocking(true).expect("a socket");
        let socket = UdpSocket::from_std(socket).expect("a runtime");
        Self::new(Socket::Udp(socket))
    }

    pub(super) fn on_host(host: Host, to: SocketAddr) -> Self {
        Self::new(Socket::Host { host, to })
    }

    fn new(socket: Socket) -> Self {
        // A request sent again would be another observation: long enough to be told from loss.
        let retry = Retry {
            wait: super::DEADLINE,
            times: 0,
        };
        TestClient {
            socket,
            core: ClientCore::new(retry),
            buffer: vec![0; 65_535],
            received: Vec::new(),
            datagrams: 0,
        }
    }

    /// Starts a request and waits for what comes of it.
    ///
    /// # Errors
    /// What the broker says against it, or that it says nothing.
    ///
    /// # Panics
    /// When the socket fails.
    pub async fn request(
        &mut self,
        start: impl FnOnce(&mut ClientCore, Instant) -> Result<(), RequestError>,
    ) -> Result<Answer, RequestError> {
        start(&mut self.core, Instant::now())?;
        loop {
            self.flush().await;
            if let Some(answer) = self.core.poll_answer() {
                return answer;
            }
            let deadline = self.core.next_deadline().expect("a request is outstanding");
            if !self.step(deadline).await {
                self.core.handle_timeout(Instant::now());
            }
        }
    }

    /// Does what has no answer, a PUBLISH of QoS 0 or −1.
    ///
    /// # Errors
    /// As the client's core.
    pub async fn send(
        &mut self,
        start: impl FnOnce(&mut ClientCore, Instant) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        start(&mut self.core, Instant::now())?;
        self.flush().await;
        Ok(())
    }

    /// A PINGREQ and its answer. Whether anything else came before it.
    ///
    /// # Errors
    /// As [`TestClient::request`].
    pub async fn ping(&mut self) -> Result<bool, RequestError> {
        let before = self.datagrams;
        self.request(|core, now| core.ping(now, "")).await?;
        Ok(self.datagrams != before + 1)
    }

    /// The messages that arrived since the last call.
    pub fn take_received(&mut self) -> Vec<Received> {
        std::mem::take(&mut self.received)
    }

    /// Waits for messages until there are `count`.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&mut self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + super::DEADLINE;
        while self.received.len() < count {
            let came = self.step(deadline).await;
            assert!(
                came,
                "{} messages of {count} came: {:?}",
                self.received.len(),
                self.received
            );
            self.flush().await;
        }
        self.take_received()
    }

    /// Whether the broker ended the connection.
    pub fn is_disconnected(&self) -> bool {
        self.core.is_disconnected()
    }

    async fn flush(&mut self) {
        while let Some(datagram) = self.core.poll_transmit() {
            match &self.socket {
                Socket::Udp(socket) => {
                    socket.send(&datagram).await.expect("sent");
                }
                Socket::Host { host, to } => {
                    host.send_to(*to, CLIENT_UDP, &datagram).expect("sent");
                }
            }
        }
    }

    /// Takes one datagram; `false` when none came in time.
    async fn step(&mut self, deadline: Instant) -> bool {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let length = match &self.socket {
            Socket::Udp(socket) => {
                match tokio::time::timeout(left, socket.recv(&mut self.buffer)).await {
                    Ok(length) => length.expect("the socket works"),
                    Err(_) => return false,
                }
            }
            Socket::Host { host, .. } => match tokio::time::timeout(left, host.recv()).await {
                Ok(datagram) => {
                    let payload = datagram.expect("the switch runs").payload;
                    self.buffer[..payload.len()].copy_from_slice(&payload);
                    payload.len()
                }
                Err(_) => return false,
            },
        };
        self.datagrams += 1;
        self.core
            .handle_datagram(Instant::now(), &self.buffer[..length]);
        while let Some(message) = self.core.poll_message() {
            let topic = match message.alias.topic_id_type {
                TopicIdType::Normal => self.core.topic_name(message.alias).map(str::to_owned),
                TopicIdType::Predefined => Some(format!("predefined:{}", message.alias.topic_id)),
                TopicIdType::Short => {
                    let octets = message.alias.topic_id.to_be_bytes();
                    Some(String::from_utf8_lossy(&octets).into_owned())
                }
            };
            // An alias that nobody told the client is something to be seen, not to be hidden.
            let topic = topic.unwrap_or_else(|| format!("unknown {:?}", message.alias));
            self.received.push(Received { topic, message });
        }
        true
    }
}
