//! A client without a runtime: one thread, one socket, and the time of every answer.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mqttsn::packet::{Connect, Publish, Regack, Register, Subscribe, Unsubscribe};
use mqttsn::types::{Alias, MsgId, PROTOCOL_ID, Qos, ReturnCode, Seconds, TopicRef};
use mqttsn::{Frame, Packet};
use nix::sys::socket::{setsockopt, sockopt};

/// Before a request is sent again: longer than anything that is measured.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 5;

/// A client.
pub(crate) struct Speaker {
    pub(crate) socket: UdpSocket,
    buffer: Vec<u8>,
    last_msg_id: u16,
    /// Of the socket: to set it again would cost a system call a message.
    patience: Option<Duration>,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An answer to the request with this MsgId, and the topic id in it.
    Answer(MsgId, u16),
    /// CONNACK.
    Connected,
    /// A PUBLISH, whose payload starts with this stamp.
    Message([u8; 24]),
    /// What is answered already, or of no interest.
    Other,
}

impl Speaker {
    /// On a socket of the network that the calling thread is in.
    pub(crate) fn open(broker: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket.connect(broker).expect("an address");
        // Only root may have more than the system's limit; without it the limit holds.
        if setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &(4 << 20)).expect("a receive buffer");
        }
        Speaker {
            socket,
            buffer: vec![0; 2048],
            last_msg_id: 0,
            patience: None,
        }
    }

    pub(crate) fn send(&self, packet: &Packet<'_>) {
        let mut bytes = [0; 1500];
        let length = packet.encode(&mut bytes).expect("it fits a frame");
        self.socket.send(&bytes[..length]).expect("it is sent");
    }

    /// The next packet; None when none comes in this time.
    pub(crate) fn hear(&mut self, patience: Option<Duration>) -> Option<Heard> {
        if self.patience != patience {
            let set = self.socket.set_read_timeout(patience);
            set.expect("a timeout above zero");
            self.patience = patience;
        }
        self.read()
    }

    fn read(&mut self) -> Option<Heard> {
        let length = match self.socket.recv(&mut self.buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            Err(error) => panic!("the socket: {error}"),
        };
        let frame = Frame::decode(&self.buffer[..length]).expect("a frame");
        let accepted = |code: ReturnCode| assert!(code.is_accepted(), "{code}");
        Some(match frame.packet().expect("a packet") {
            Packet::Connack(code) => {
                accepted(code);
                Heard::Connected
            }
            Packet::Regack(regack) => {
                accepted(regack.return_code);
                Heard::Answer(regack.msg_id, regack.topic_id)
            }
            Packet::Suback(suback) => {
                accepted(suback.return_code);
                Heard::Answer(suback.msg_id, suback.topic_id)
            }
            Packet::Unsuback(msg_id) => Heard::Answer(msg_id, 0),
            Packet::Publish(publish) => match publish.data.first_chunk() {
                Some(stamp) => Heard::Message(*stamp),
                None => Heard::Other,
            },
            // The broker names a topic that a wildcard matched.
            Packet::Register(register) => {
                self.send(&Packet::Regack(Regack {
                    topic_id: register.topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                }));
                Heard::Other
            }
            other => panic!("unexpected: {other:?}"),
        })
    }

    /// What is there already, on a socket that does not wait.
    pub(crate) fn hear_now(&mut self) -> Option<Heard> {
        self.read()
    }

    pub(crate) fn next_msg_id(&mut self) -> MsgId {
        self.last_msg_id = self.last_msg_id % u16::MAX + 1;
        MsgId(self.last_msg_id)
    }

    /// Sends a request and waits for its answer; the topic id in it and the time that it took.
    /// `meanwhile` is told of what else comes.
    fn ask(
        &mut self,
        packet: &Packet<'_>,
        is_answer: impl Fn(&Heard) -> bool,
        mut meanwhile: impl FnMut(Heard),
    ) -> (u16, Duration) {
        for _ in 0..TRIES {
            let asked = Instant::now();
            self.send(packet);
            while asked.elapsed() < PATIENCE {
                match self.hear(Some(PATIENCE)) {
                    Some(heard) if is_answer(&heard) => {
                        let topic_id = match heard {
                            Heard::Answer(_, topic_id) => topic_id,
                            _ => 0,
                        };
                        return (topic_id, asked.elapsed());
                    }
                    Some(heard) => meanwhile(heard),
                    None => break,
                }
            }
        }
        panic!("no answer to {packet:?}");
    }

    pub(crate) fn connect(&mut self, client_id: &str) {
        let connect = Packet::Connect(Connect {
            will: false,
            clean_session: true,
            protocol_id: PROTOCOL_ID,
            duration: Seconds(0),
            client_id,
        });
        self.ask(&connect, |heard| *heard == Heard::Connected, |_| {});
    }

    pub(crate) fn register(&mut self, topic_name: &str) -> Alias {
        let msg_id = self.next_msg_id();
        let register = Packet::Register(Register {
            topic_id: 0,
            msg_id,
            topic_name,
        });
        let answer = |heard: &Heard| matches!(heard, Heard::Answer(id, _) if *id == msg_id);
        Alias::normal(self.ask(&register, answer, |_| {}).0)
    }

    pub(crate) fn subscribe(&mut self, filter: &str, meanwhile: impl FnMut(Heard)) -> Duration {
        let msg_id = self.next_msg_id();
        let subscribe = Packet::Subscribe(Subscribe {
            dup: false,
            qos: Qos::Zero,
            msg_id,
            topic: TopicRef::Name(filter),
        });
        let answer = |heard: &Heard| matches!(heard, Heard::Answer(id, _) if *id == msg_id);
        self.ask(&subscribe, answer, meanwhile).1
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str, meanwhile: impl FnMut(Heard)) -> Duration {
        let msg_id = self.next_msg_id();
        let unsubscribe = Packet::Unsubscribe(Unsubscribe {
            msg_id,
            topic: TopicRef::Name(filter),
        });
        let answer = |heard: &Heard| matches!(heard, Heard::Answer(id, _) if *id == msg_id);
        self.ask(&unsubscribe, answer, meanwhile).1
    }

    /// PUBLISH at QoS 0 of 100 octets that begin with the number.
    pub(crate) fn publish(&self, alias: Alias, number: u64) {
        let mut data = [0x55; 100];
        data[..8].copy_from_slice(&number.to_be_bytes());
        self.send(&Packet::Publish(Publish {
            dup: false,
            qos: Qos::Zero,
            retain: false,
            alias,
            msg_id: MsgId(0),
            data: &data,
        }));
    }
}

/// The number at the beginning of a payload of [`Speaker::publish`].
pub(crate) fn number(stamp: &[u8; 24]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&stamp[..8]);
    u64::from_be_bytes(number)
}
