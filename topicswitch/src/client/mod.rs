//! An MQTT-SN client over UDP or DTLS: what `pub`, `sub`, `demo` and the tests speak with.
//!
//! [`ClientCore`] holds the protocol and has neither socket nor clock; [`Client`] drives one over a
//! tokio socket.

mod core;
mod transport;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls::ClientCredentials;
use mqttsn::types::{Alias, Qos, TopicRef};

pub use self::core::{Answer, ClientCore, ConnectOptions, Message, RequestError, Retry, Will};
use self::transport::Transport;
pub use self::transport::TransportError;

/// Why a client cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The way to the broker failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A client on a socket of its own.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    core: ClientCore,
    buffer: Vec<u8>,
    received: VecDeque<(Instant, Message)>,
}

impl Client {
    /// Binds a socket and names the broker; nothing is sent yet.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub async fn open(broker: SocketAddr, retry: Retry) -> Result<Self, ClientError> {
        Ok(Client::over(Transport::udp(broker).await?, retry))
    }

    /// Binds a socket and makes a DTLS association with the broker.
    ///
    /// # Errors
    /// The socket cannot be made, or the handshake fails.
    pub async fn open_dtls(
        broker: SocketAddr,
        credentials: ClientCredentials,
        retry: Retry,
    ) -> Result<Self, ClientError> {
        Ok(Client::over(
            Transport::dtls(broker, credentials).await?,
            retry,
        ))
    }

    fn over(transport: Transport, retry: Retry) -> Self {
        Client {
            transport,
            core: ClientCore::new(retry),
            buffer: vec![0; usize::from(u16::MAX)],
            received: VecDeque::new(),
        }
    }

    /// The client's own address.
    ///
    /// # Errors
    /// As of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.transport.local_addr()
    }

    /// CONNECT.
    ///
    /// # Errors
    /// No answer, a rejection, or the socket's error.
    pub async fn connect(&mut self, options: &ConnectOptions) -> Result<(), ClientError> {
        self.core.connect(Instant::now(), options)?;
        self.answer().await.map(drop)
    }

    /// REGISTER; returns the alias to publish with.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn register(&mut self, name: &str) -> Result<Alias, ClientError> {
        self.core.register(Instant::now(), name)?;
        match self.answer().await? {
            Answer::Registered(topic_id) => Ok(Alias::normal(topic_id)),
            other => unreachable!("the core answers REGISTER with Registered, not {other:?}"),
        }
    }

    /// SUBSCRIBE; returns the topic id (0 for wildcards and short names) and the granted QoS.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn subscribe(
        &mut self,
        topic: TopicRef<'_>,
        qos: Qos,
    ) -> Result<(u16, Qos), ClientError> {
        self.core.subscribe(Instant::now(), topic, qos)?;
        match self.answer().await? {
            Answer::Subscribed { topic_id, qos } => Ok((topic_id, qos)),
            other => unreachable!("the core answers SUBSCRIBE with Subscribed, not {other:?}"),
        }
    }

    /// UNSUBSCRIBE.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn unsubscribe(&mut self, topic: TopicRef<'_>) -> Result<(), ClientError> {
        self.core.unsubscribe(Instant::now(), topic)?;
        self.answer().await.map(drop)
    }

    /// PUBLISH; at QoS 1 and 2 returns when it is acknowledged.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn publish(
        &mut self,
        alias: Alias,
        qos: Qos,
        retain: bool,
        data: &[u8],
    ) -> Result<(), ClientError> {
        self.core
            .publish(Instant::now(), alias, qos, retain, data)?;
        match qos {
            Qos::MinusOne | Qos::Zero => self.flush().await,
            Qos::One | Qos::Two => self.answer().await.map(drop),
        }
    }

    /// PINGREQ and its answer.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn ping(&mut self, client_id: &str) -> Result<(), ClientError> {
        self.core.ping(Instant::now(), client_id)?;
        self.answer().await.map(drop)
    }

    /// DISCONNECT, or the start of a sleep.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn disconnect(&mut self, sleep: Option<Duration>) -> Result<(), ClientError> {
        self.core.disconnect(Instant::now(), sleep)?;
        self.answer().await.map(drop)
    }

    /// The next message and when it arrived; None when none came until `deadline`, or the broker has
    /// ended the connection ([`Client::is_disconnected`]).
    ///
    /// # Errors
    /// The socket's error.
    pub async fn next_message(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<(Instant, Message)>, ClientError> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Ok(Some(message));
            }
            if self.core.is_disconnected() || !self.step(Some(deadline)).await? {
                return Ok(None);
            }
        }
    }

    /// The topic name behind an alias, where known.
    pub fn topic_name(&self, alias: Alias) -> Option<&str> {
        self.core.topic_name(alias)
    }

    /// Whether the broker has ended the connection.
    pub fn is_disconnected(&self) -> bool {
        self.core.is_disconnected()
    }

    async fn answer(&mut self) -> Result<Answer, ClientError> {
        loop {
            if let Some(answer) = self.core.poll_answer() {
                self.flush().await?;
                return Ok(answer?);
            }
            self.step(None).await?;
        }
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        while let Some(bytes) = self.core.poll_transmit() {
            self.transport.send(&bytes).await?;
        }
        Ok(())
    }

    /// Sends what is to be sent, then waits for one datagram, the core's deadline or `deadline`.
    /// False when `deadline` came first.
    async fn step(&mut self, deadline: Option<Instant>) -> Result<bool, ClientError> {
        self.flush().await?;
        let core_deadline = self.core.next_deadline();
        let wake = match (core_deadline, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let received = match wake {
            Some(wake) => {
                tokio::select! {
                    biased;
                    received = self.transport.recv(&mut self.buffer) => Some(received),
                    () = tokio::time::sleep_until(wake.into()) => None,
                }
            }
            None => Some(self.transport.recv(&mut self.buffer).await),
        };
        let now = Instant::now();
        match received {
            Some(Ok(Some(length))) => self.core.handle_datagram(now, &self.buffer[..length]),
            // Nobody listens there at the moment: the retry, or its end, says so.
            Some(Ok(None)) => {}
            Some(Err(error)) => return Err(error.into()),
            None if deadline.is_some_and(|deadline| now >= deadline) => return Ok(false),
            None => self.core.handle_timeout(now),
        }
        while let Some(message) = self.core.poll_message() {
            self.received.push_back((now, message));
        }
        self.flush().await?;
        Ok(true)
    }
}
