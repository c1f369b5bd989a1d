//! Requests of many clients at once: each waits for its answer before it asks on.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mqttsn::packet::{Connect, Disconnect, Pingreq, Regack, Register, Subscribe};
use mqttsn::types::{MsgId, PROTOCOL_ID, Qos, ReturnCode, Seconds, TopicRef};
use mqttsn::{Frame, Packet};

use super::LoadError;

/// Time for an answer before the request is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a request is sent.
const TRIES: u32 = 10;
const LONGEST: usize = 1500;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// CONNECT, without a keep alive: sessions last until they are ended.
    Connect {
        /// Client id.
        client_id: String,
        /// CleanSession.
        clean: bool,
    },
    /// REGISTER of a topic name.
    Register(String),
    /// SUBSCRIBE to a topic name or filter.
    Subscribe(String, Qos),
    /// PINGREQ: whoever is answered has proved that its address is its own.
    Ping,
    /// DISCONNECT.
    Disconnect,
}

impl Request {
    fn name(&self) -> &'static str {
        match self {
            Request::Connect { .. } => "CONNECT",
            Request::Register(_) => "REGISTER",
            Request::Subscribe(..) => "SUBSCRIBE",
            Request::Ping => "PINGREQ",
            Request::Disconnect => "DISCONNECT",
        }
    }

    fn encode<'a>(&self, msg_id: MsgId, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let packet = match self {
            Request::Connect { client_id, clean } => Packet::Connect(Connect {
                will: false,
                clean_session: *clean,
                protocol_id: PROTOCOL_ID,
                duration: Seconds(0),
                client_id,
            }),
            Request::Register(topic_name) => Packet::Register(Register {
                topic_id: 0,
                msg_id,
                topic_name,
            }),
            Request::Subscribe(filter, qos) => Packet::Subscribe(Subscribe {
                dup: false,
                qos: *qos,
                msg_id,
                topic: TopicRef::Name(filter),
            }),
            Request::Ping => Packet::Pingreq(Pingreq { client_id: "" }),
            Request::Disconnect => Packet::Disconnect(Disconnect { duration: None }),
        };
        let length = packet.encode(buffer).map_err(io::Error::other)?;
        Ok(&buffer[..length])
    }

    /// Topic id and return code, where this is the answer.
    fn answer(&self, msg_id: MsgId, packet: &Packet<'_>) -> Option<(u16, ReturnCode)> {
        match (self, packet) {
            (Request::Connect { .. }, Packet::Connack(code)) => Some((0, *code)),
            (Request::Register(_), Packet::Regack(regack)) if regack.msg_id == msg_id => {
                Some((regack.topic_id, regack.return_code))
            }
            (Request::Subscribe(..), Packet::Suback(suback)) if suback.msg_id == msg_id => {
                Some((suback.topic_id, suback.return_code))
            }
            (Request::Ping, Packet::Pingresp) => Some((0, ReturnCode::Accepted)),
            (Request::Disconnect, Packet::Disconnect(_)) => Some((0, ReturnCode::Accepted)),
            _ => None,
        }
    }
}

/// What the clients do, in what order.
pub trait Script {
    /// The socket of a client.
    ///
    /// # Errors
    /// It cannot be made.
    fn open(&mut self, client: usize) -> io::Result<UdpSocket>;

    /// What the client asks as its request number `step`; `None` when it is through.
    fn request(&self, client: usize, step: usize) -> Option<Request>;

    /// The client is through; `topic_id` was in the last answer.
    fn through(&mut self, client: usize, socket: UdpSocket, topic_id: u16);
}

struct Conversation {
    client: usize,
    socket: UdpSocket,
    step: usize,
    request: Request,
    sent: Instant,
    tries: u32,
    topic_id: u16,
}

impl Conversation {
    fn msg_id(&self) -> MsgId {
        // Never 0, which some brokers take for "none".
        MsgId((self.step % 65_535) as u16 + 1)
    }

    fn ask(&mut self, buffer: &mut [u8], broker: SocketAddr) -> Result<(), LoadError> {
        if self.tries == TRIES {
            return Err(LoadError::NoAnswer {
                request: self.request.name(),
                client: self.client,
                broker,
                tries: TRIES,
            });
        }
        self.tries += 1;
        self.sent = Instant::now();
        let bytes = self.request.encode(self.msg_id(), buffer);
        match bytes.and_then(|bytes| self.socket.send(bytes)) {
            // Not there yet, or no room now: the next try may do.
            Err(error) if !is_passing(&error) => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    /// The answer, if it is there.
    fn hear(&mut self, buffer: &mut [u8]) -> Result<Option<ReturnCode>, LoadError> {
        loop {
            let length = match self.socket.recv(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(self.failed(error)),
            };
            let Ok(packet) = Frame::decode(&buffer[..length]).and_then(|frame| frame.packet())
            else {
                continue;
            };
            if let Packet::Register(register) = packet {
                // The broker names a topic that a wildcard matched.
                let regack = Packet::Regack(Regack {
                    topic_id: register.topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                });
                let mut answer = [0; 16];
                if let Ok(length) = regack.encode(&mut answer) {
                    let _ = self.socket.send(&answer[..length]);
                }
            } else if let Some((topic_id, code)) = self.request.answer(self.msg_id(), &packet) {
                self.topic_id = topic_id;
                return Ok(Some(code));
            }
        }
    }

    fn failed(&self, source: io::Error) -> LoadError {
        LoadError::Socket {
            client: self.client,
            source,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Lets the clients 0 to `clients` talk to the broker, `at_once` of them at a time.
///
/// # Errors
/// A socket that fails, a request that is rejected or not answered.
pub fn converse(
    broker: SocketAddr,
    clients: usize,
    at_once: usize,
    script: &mut impl Script,
) -> Result<(), LoadError> {
    let mut buffer = vec![0; LONGEST];
    let mut open: Vec<Conversation> = Vec::with_capacity(at_once);
    let mut coming = 0..clients;
    loop {
        while open.len() < at_once {
            let Some(client) = coming.next() else { break };
            let socket = script
                .open(client)
                .map_err(|source| LoadError::Socket { client, source })?;
            let Some(request) = script.request(client, 0) else {
                script.through(client, socket, 0);
                continue;
            };
            let mut conversation = Conversation {
                client,
                socket,
                step: 0,
                request,
                sent: Instant::now(),
                tries: 0,
                topic_id: 0,
            };
            conversation.ask(&mut buffer, broker)?;
            open.push(conversation);
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut index = 0;
        let mut heard = false;
        while index < open.len() {
            let conversation = &mut open[index];
            index += 1;
            match conversation.hear(&mut buffer)? {
                Some(code) if code.is_accepted() => {}
                // §5.3.10: congestion asks to come again later.
                Some(ReturnCode::Congestion) => continue,
                Some(code) => {
                    return Err(LoadError::Rejected {
                        request: conversation.request.name(),
                        client: conversation.client,
                        code,
                    });
                }
                None => {
                    if conversation.sent.elapsed() > PATIENCE {
                        conversation.ask(&mut buffer, broker)?;
                    }
                    continue;
                }
            }
            heard = true;
            conversation.step += 1;
            conversation.tries = 0;
            match script.request(conversation.client, conversation.step) {
                Some(request) => {
                    conversation.request = request;
                    conversation.ask(&mut buffer, broker)?;
                }
                None => {
                    index -= 1;
                    let done = open.swap_remove(index);
                    script.through(done.client, done.socket, done.topic_id);
                }
            }
        }
        if !heard {
            std::thread::yield_now();
        }
    }
}
