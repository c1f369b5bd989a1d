//! A load generator for any MQTT-SN broker: what `topicswitch bench` and `make bench` measure with.
//!
//! One thread, sockets of its own for every client, batched system calls. What is sent carries its
//! publisher, a sequence number and the time at which it was due, so that every delivery is checked:
//! nothing lost, nothing twice, each publisher's messages in order. Latency counts from the time at
//! which a message was *due*, not from when it was sent: a broker that stalls cannot hide that by
//! stalling the generator too (coordinated omission).
//!
//! ```no_run
//! use topicswitch::load::{Pace, Settings};
//! let settings = Settings {
//!     pace: Pace::Window(128),
//!     ..Settings::new("127.0.0.1:1884".parse()?)
//! };
//! println!("{}", topicswitch::load::run(&settings)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clients;
mod converse;
mod outcome;
mod process;
mod sockets;
mod stamp;
mod tally;
mod traffic;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mqttsn::types::Qos;

pub use clients::{Population, populate};
pub use converse::{Request, Script, converse};
pub use outcome::{BrokerCost, Outcome, Quantiles};
pub use process::{Machine, ProcessUse, pin_to};
pub use stamp::STAMP_LEN;

/// How fast to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the broker delivers, with at most this many publications on their way. With a
    /// window that fits the socket buffers nothing is lost, so this is the lossless maximum.
    Window(u32),
    /// So many publications a second, all publishers together, whatever the broker does.
    Rate(f64),
}

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The broker.
    pub broker: SocketAddr,
    /// Clients that publish. Publisher i publishes on topic i modulo `topics`.
    pub publishers: usize,
    /// Clients that subscribe. Subscriber j subscribes to topic j modulo `topics`.
    pub subscribers: usize,
    /// Topic names.
    pub topics: usize,
    /// Octets of payload.
    pub size: usize,
    /// QoS of publications and subscriptions: 0, 1 or 2.
    pub qos: Qos,
    /// How fast.
    pub pace: Pace,
    /// Time that counts.
    pub duration: Duration,
    /// Time before it that does not.
    pub warmup: Duration,
    /// Whether subscribers ask for sessions that outlast the connection (CleanSession 0).
    pub persistent: bool,
    /// Datagrams of one publisher in one system call, at most 64.
    pub burst: usize,
    /// Whether such a burst is one UDP GSO send: what a network card's segmentation would do.
    pub gso: bool,
    /// Whether sockets take UDP GRO: what a network card's coalescing would do.
    pub gro: bool,
    /// Sleep while there is nothing to do, instead of looking again at once. Costs less CPU and some
    /// precision: each message then wakes the generator.
    pub sleep: bool,
    /// T_retry at QoS 1 and 2.
    pub retry: Duration,
    /// The broker's process, where it runs on this machine: its CPU time and memory are reported.
    pub broker_pid: Option<u32>,
}

impl Settings {
    /// One publisher, one subscriber, 100 octets, QoS 0, as fast as it goes for five seconds.
    pub fn new(broker: SocketAddr) -> Self {
        Settings {
            broker,
            publishers: 1,
            subscribers: 1,
            topics: 1,
            size: 100,
            qos: Qos::Zero,
            pace: Pace::Window(128),
            duration: Duration::from_secs(5),
            warmup: Duration::from_millis(500),
            persistent: false,
            burst: 32,
            gso: false,
            gro: false,
            sleep: false,
            retry: Duration::from_secs(2),
            broker_pid: None,
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), LoadError> {
        let at_least_one = [
            ("publishers", self.publishers),
            ("topics", self.topics),
            ("burst", self.burst),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(LoadError::Zero(name));
            }
        }
        if self.duration.is_zero() {
            return Err(LoadError::Zero("duration"));
        }
        if !(STAMP_LEN..=MAX_SIZE).contains(&self.size) {
            return Err(LoadError::Size(self.size));
        }
        if self.qos == Qos::MinusOne {
            return Err(LoadError::QosMinusOne);
        }
        match self.pace {
            Pace::Window(0) => Err(LoadError::Zero("window")),
            // At QoS 1 and 2 the acknowledgements say how fast.
            Pace::Window(_) if self.qos == Qos::Zero && self.subscribers < self.topics => {
                Err(LoadError::NobodyListens)
            }
            Pace::Rate(rate) if !(rate.is_finite() && rate > 0.0) => Err(LoadError::Rate(rate)),
            Pace::Window(_) | Pace::Rate(_) => Ok(()),
        }
    }
}

/// The largest payload: a PUBLISH that Ethernet carries in one frame, with room for the headers.
const MAX_SIZE: usize = 1400;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A setting that must not be 0.
    #[error("{0} is 0; give at least 1")]
    Zero(&'static str),
    /// The payload cannot hold the stamp, or does not fit a frame.
    #[error(
        "a payload of {0} octets is not possible: every message carries a stamp of {STAMP_LEN} \
         octets, and {MAX_SIZE} fit into a frame"
    )]
    Size(usize),
    /// QoS −1 has no session to measure.
    #[error("QoS -1 is not measured: give 0, 1 or 2")]
    QosMinusOne,
    /// As fast as it goes needs somebody to say how fast that is.
    #[error("some topics have no subscriber; the window needs one for each topic, or give a rate")]
    NobodyListens,
    /// Not a rate.
    #[error("{0} publications a second is no rate; give a number above 0")]
    Rate(f64),
    /// A client's socket.
    #[error("socket of client {client}: {source}{}", advice(source))]
    Socket {
        /// Number of the client.
        client: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The broker does not answer.
    #[error(
        "no answer to {request} of client {client} from {broker} after {tries} tries: is it a \
         broker, and does it let this client in?"
    )]
    NoAnswer {
        /// What was asked.
        request: &'static str,
        /// By which client.
        client: usize,
        /// The broker.
        broker: SocketAddr,
        /// How often.
        tries: u32,
    },
    /// The broker said no.
    #[error("{request} of client {client} was rejected: {code}")]
    Rejected {
        /// What was asked.
        request: &'static str,
        /// By which client.
        client: usize,
        /// The return code.
        code: mqttsn::types::ReturnCode,
    },
    /// The broker's process cannot be looked at.
    #[error("process {pid} cannot be looked at: {source}")]
    Process {
        /// The process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// A figure of the machine.
    #[error("{0}: {1}")]
    Machine(&'static str, io::Error),
}

fn advice(error: &io::Error) -> &'static str {
    // EMFILE: one socket a client.
    if error.raw_os_error() == Some(24) {
        "; every client needs a socket: raise the limit with `ulimit -n`"
    } else {
        ""
    }
}

/// Connects the clients, publishes, and says what came of it.
///
/// # Errors
/// Settings that cannot be, sockets that cannot be made, a broker that does not answer.
pub fn run(settings: &Settings) -> Result<Outcome, LoadError> {
    settings.check()?;
    let clients = clients::Clients::connect(settings)?;
    let outcome = traffic::Traffic::new(settings, &clients)?.run()?;
    clients.disconnect();
    Ok(outcome)
}
