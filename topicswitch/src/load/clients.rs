//! The clients of a measurement: connected, registered, subscribed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use mqttsn::Packet;
use mqttsn::packet::Disconnect;
use mqttsn::types::Qos;

use super::converse::{Request, Script, converse};
use super::{LoadError, Settings, sockets};

/// Clients that wait for an answer at the same time: few enough for the smallest receive buffer.
const AT_ONCE: usize = 64;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: UdpSocket,
    /// Of its topic.
    pub(super) topic_id: u16,
}

/// All clients of one measurement.
#[derive(Debug)]
pub(super) struct Clients {
    /// Names this measurement in client ids, topic names and stamps.
    pub(super) run: u32,
    pub(super) subscribers: Vec<Client>,
    pub(super) publishers: Vec<Client>,
}

struct Connecting<'a> {
    settings: &'a Settings,
    run: u32,
    role: Role,
    clients: Vec<Option<Client>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Subscriber,
    Publisher,
}

impl Script for Connecting<'_> {
    fn open(&mut self, _client: usize) -> io::Result<UdpSocket> {
        let socket = sockets::open(self.settings.broker)?;
        sockets::enlarge_receive_buffer(&socket)?;
        if self.settings.gro {
            sockets::enable_gro(&socket)?;
        }
        Ok(socket)
    }

    fn request(&self, client: usize, step: usize) -> Option<Request> {
        let role = match self.role {
            Role::Subscriber => 's',
            Role::Publisher => 'p',
        };
        let topic = client % self.settings.topics;
        let name = format!("bench/{:08x}/{topic}", self.run);
        match (step, self.role) {
            (0, _) => Some(Request::Connect {
                client_id: format!("b{:08x}{role}{client}", self.run),
                clean: self.role == Role::Publisher || !self.settings.persistent,
            }),
            (1, Role::Subscriber) => Some(Request::Subscribe(name, self.settings.qos)),
            (1, Role::Publisher) => Some(Request::Register(name)),
            _ => None,
        }
    }

    fn through(&mut self, client: usize, socket: UdpSocket, topic_id: u16) {
        self.clients[client] = Some(Client { socket, topic_id });
    }
}

impl Clients {
    pub(super) fn connect(settings: &Settings) -> Result<Self, LoadError> {
        let run = rand::random();
        let connect = |role, count: usize| {
            let mut connecting = Connecting {
                settings,
                run,
                role,
                clients: std::iter::repeat_with(|| None).take(count).collect(),
            };
            converse(settings.broker, count, AT_ONCE, &mut connecting)?;
            let clients: Vec<Client> = connecting.clients.into_iter().flatten().collect();
            Ok::<_, LoadError>(clients)
        };
        Ok(Clients {
            run,
            subscribers: connect(Role::Subscriber, settings.subscribers)?,
            publishers: connect(Role::Publisher, settings.publishers)?,
        })
    }

    /// Ends the sessions; nobody waits for the answers.
    pub(super) fn disconnect(self) {
        let mut buffer = [0; 8];
        let disconnect = Packet::Disconnect(Disconnect { duration: None });
        let Ok(length) = disconnect.encode(&mut buffer) else {
            return;
        };
        for client in self.subscribers.iter().chain(&self.publishers) {
            // A broker that is gone already has no session to end.
            let _ = client.socket.send(&buffer[..length]);
        }
    }
}

/// Sessions that do nothing but exist, each at an address of its own on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Population {
    /// The broker, on loopback.
    pub broker: SocketAddr,
    /// Sessions.
    pub sessions: usize,
    /// Filters that each subscribes to, different for each session and with a wildcard.
    pub subscriptions: usize,
    /// CleanSession.
    pub clean: bool,
}

/// UDP ports that one loopback address gives to the population, and as many above them in reserve.
const PORTS: usize = 20_000;
const FIRST_PORT: usize = 10_000;

impl Script for Population {
    fn open(&mut self, client: usize) -> io::Result<UdpSocket> {
        // 127.10.0.1 and following: nobody else is there, and the kernel keeps no state of it.
        let address = u32::from(Ipv4Addr::new(127, 10, 0, 1)) + (client / PORTS) as u32;
        let port = FIRST_PORT + client % PORTS;
        let at = |port: usize| (Ipv4Addr::from(address), port as u16).into();
        match sockets::open_at(at(port), self.broker) {
            // Of somebody who listens on all addresses.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                sockets::open_at(at(port + PORTS), self.broker)
            }
            opened => opened,
        }
    }

    fn request(&self, client: usize, step: usize) -> Option<Request> {
        match step {
            0 => Some(Request::Connect {
                client_id: format!("population{client}"),
                clean: self.clean,
            }),
            // A broker may keep few sessions whose addresses may be forged.
            1 => Some(Request::Ping),
            step if step < self.subscriptions + 2 => Some(Request::Subscribe(
                format!("population/{client}/{step}/+"),
                Qos::Zero,
            )),
            _ => None,
        }
    }

    fn through(&mut self, _client: usize, _socket: UdpSocket, _topic_id: u16) {}
}

/// Sets the sessions up. Their sockets are closed again: the sessions stay.
///
/// # Errors
/// The broker is not on loopback, or as [`converse`].
pub fn populate(population: &mut Population) -> Result<(), LoadError> {
    let sessions = population.sessions;
    converse(population.broker, sessions, AT_ONCE, population)
}
