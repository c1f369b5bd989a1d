//! The client's side of MQTT-SN 1.2, without a socket and without a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqttsn::packet::{
    Connect, Disconnect, Pingreq, Puback, Publish, Regack, Register, Subscribe, Unsubscribe,
    WillTopic,
};
use mqttsn::types::{Alias, MsgId, PROTOCOL_ID, Qos, ReturnCode, Seconds, TopicRef};
use mqttsn::{Frame, Packet};

/// How long to wait for an answer, and how often to ask (MQTT-SN 1.2 §6.13: T_retry, N_retry).
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// T_retry.
    pub wait: Duration,
    /// N_retry: how often a request is sent again.
    pub times: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            wait: Duration::from_secs(2),
            times: 4,
        }
    }
}

/// What the client tells its broker when it connects.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// 1 to 23 characters (§5.3.1).
    pub client_id: String,
    /// Forget what the broker knows of this client.
    pub clean_session: bool,
    /// Keep alive timer.
    pub keep_alive: Duration,
    /// Published by the broker when the client is lost.
    pub will: Option<Will>,
}

/// A will (§6.3).
#[derive(Clone, Debug)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub data: Vec<u8>,
    /// QoS 0, 1 or 2.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the broker calls the topic; [`ClientCore::topic_name`] may know its name.
    pub alias: Alias,
    /// QoS of this delivery.
    pub qos: Qos,
    /// Whether it was retained when the subscription was made.
    pub retain: bool,
    /// Whether it may have been delivered before.
    pub dup: bool,
    /// Payload.
    pub data: Vec<u8>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The broker answered with a return code other than 0x00.
    #[error("{request} was rejected: {code:?}")]
    Rejected {
        /// The request.
        request: &'static str,
        /// The return code.
        code: ReturnCode,
    },
    /// Nobody answered, however often it was asked.
    #[error("no answer to {request} after {tries} tries: is the broker there?")]
    NoAnswer {
        /// The request.
        request: &'static str,
        /// How often it was sent.
        tries: u32,
    },
    /// The broker ended the connection instead.
    #[error("the broker sent DISCONNECT instead of an answer to {0}")]
    Disconnected(&'static str),
    /// Another request waits for its answer: one at a time (§6.6).
    #[error("a request is outstanding already")]
    Busy,
    /// The request does not fit a datagram.
    #[error("{0} is too long for one message")]
    TooLong(&'static str),
}

/// What came of the last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// CONNACK, accepted.
    Connected,
    /// REGACK: the topic id.
    Registered(u16),
    /// SUBACK: topic id (0 for wildcards and short names) and granted QoS.
    Subscribed {
        /// Topic id.
        topic_id: u16,
        /// Granted QoS.
        qos: Qos,
    },
    /// UNSUBACK.
    Unsubscribed,
    /// PUBACK or PUBCOMP, accepted.
    Published,
    /// PINGRESP.
    Alive,
    /// DISCONNECT.
    Disconnected,
}

#[derive(Clone, Debug)]
enum Waiting {
    Connack,
    Regack(MsgId, String),
    Suback(MsgId, Option<String>),
    Unsuback(MsgId),
    Puback(MsgId),
    Pubrec(MsgId),
    Pubcomp(MsgId),
    Pingresp,
    Disconnect,
}

impl Waiting {
    fn request(&self) -> &'static str {
        match self {
            Waiting::Connack => "CONNECT",
            Waiting::Regack(..) => "REGISTER",
            Waiting::Suback(..) => "SUBSCRIBE",
            Waiting::Unsuback(_) => "UNSUBSCRIBE",
            Waiting::Puback(_) | Waiting::Pubrec(_) => "PUBLISH",
            Waiting::Pubcomp(_) => "PUBREL",
            Waiting::Pingresp => "PINGREQ",
            Waiting::Disconnect => "DISCONNECT",
        }
    }
}

#[derive(Debug)]
struct Outstanding {
    waiting: Waiting,
    bytes: Vec<u8>,
    sent: u32,
    deadline: Instant,
}

/// One client session: requests in, datagrams out, answers and messages to be taken.
#[derive(Debug)]
pub struct ClientCore {
    retry: Retry,
    next_msg_id: u16,
    outstanding: Option<Outstanding>,
    will: Option<Will>,
    transmits: VecDeque<Vec<u8>>,
    answer: Option<Result<Answer, RequestError>>,
    messages: VecDeque<Message>,
    names: std::collections::HashMap<u16, String>,
    /// MsgIds of QoS 2 messages between PUBREC and PUBREL: received, not to be delivered again.
    pending_release: Vec<MsgId>,
    disconnected: bool,
}

impl ClientCore {
    /// A client that has said nothing yet.
    pub fn new(retry: Retry) -> Self {
        ClientCore {
            retry,
            next_msg_id: 1,
            outstanding: None,
            will: None,
            transmits: VecDeque::new(),
            answer: None,
            messages: VecDeque::new(),
            names: std::collections::HashMap::new(),
            pending_release: Vec::new(),
            disconnected: false,
        }
    }

    /// CONNECT (§5.4.4), with the will dialogue where there is a will.
    ///
    /// # Errors
    /// Another request is outstanding.
    pub fn connect(&mut self, now: Instant, options: &ConnectOptions) -> Result<(), RequestError> {
        let seconds = u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let packet = Packet::Connect(Connect {
            will: options.will.is_some(),
            clean_session: options.clean_session,
            protocol_id: PROTOCOL_ID,
            duration: Seconds(seconds),
            client_id: &options.client_id,
        });
        self.start(now, &packet, Waiting::Connack)?;
        self.will = options.will.clone();
        self.disconnected = false;
        Ok(())
    }

    /// REGISTER (§5.4.10).
    ///
    /// # Errors
    /// Another request is outstanding, or the name is too long.
    pub fn register(&mut self, now: Instant, name: &str) -> Result<(), RequestError> {
        let msg_id = self.msg_id();
        let packet = Packet::Register(Register {
            topic_id: 0,
            msg_id,
            topic_name: name,
        });
        self.start(now, &packet, Waiting::Regack(msg_id, name.to_owned()))
    }

    /// SUBSCRIBE (§5.4.15).
    ///
    /// # Errors
    /// Another request is outstanding, or the name is too long.
    pub fn subscribe(
        &mut self,
        now: Instant,
        topic: TopicRef<'_>,
        qos: Qos,
    ) -> Result<(), RequestError> {
        let msg_id = self.msg_id();
        let name = match topic {
            TopicRef::Name(name) => Some(name.to_owned()),
            TopicRef::Predefined(_) | TopicRef::Short(_) => None,
        };
        let packet = Packet::Subscribe(Subscribe {
            dup: false,
            qos,
            msg_id,
            topic,
        });
        self.start(now, &packet, Waiting::Suback(msg_id, name))
    }

    /// UNSUBSCRIBE (§5.4.17).
    ///
    /// # Errors
    /// Another request is outstanding, or the name is too long.
    pub fn unsubscribe(&mut self, now: Instant, topic: TopicRef<'_>) -> Result<(), RequestError> {
        let msg_id = self.msg_id();
        let packet = Packet::Unsubscribe(Unsubscribe { msg_id, topic });
        self.start(now, &packet, Waiting::Unsuback(msg_id))
    }

    /// PUBLISH (§5.4.12). At QoS 1 and 2 it is a request and has an answer; at QoS 0 and −1 it is
    /// sent and forgotten.
    ///
    /// # Errors
    /// Another request is outstanding (QoS 1 and 2), or the payload is too long.
    pub fn publish(
        &mut self,
        now: Instant,
        alias: Alias,
        qos: Qos,
        retain: bool,
        data: &[u8],
    ) -> Result<(), RequestError> {
        let mut publish = Publish {
            dup: false,
            qos,
            retain,
            alias,
            msg_id: MsgId(0),
            data,
        };
        match qos {
            Qos::MinusOne | Qos::Zero => {
                let bytes = encode(&Packet::Publish(publish), "PUBLISH")?;
                self.transmits.push_back(bytes);
                Ok(())
            }
            Qos::One | Qos::Two => {
                let msg_id = self.msg_id();
                publish.msg_id = msg_id;
                let waiting = if qos == Qos::One {
                    Waiting::Puback(msg_id)
                } else {
                    Waiting::Pubrec(msg_id)
                };
                self.start(now, &Packet::Publish(publish), waiting)
            }
        }
    }

    /// PINGREQ (§5.4.19); with a client id it is a sleeping client's question for its messages.
    ///
    /// # Errors
    /// Another request is outstanding.
    pub fn ping(&mut self, now: Instant, client_id: &str) -> Result<(), RequestError> {
        self.start(
            now,
            &Packet::Pingreq(Pingreq { client_id }),
            Waiting::Pingresp,
        )
    }

    /// DISCONNECT (§5.4.21); with a duration it starts a sleep.
    ///
    /// # Errors
    /// Another request is outstanding.
    pub fn disconnect(
        &mut self,
        now: Instant,
        sleep: Option<Duration>,
    ) -> Result<(), RequestError> {
        let duration =
            sleep.map(|sleep| Seconds(u16::try_from(sleep.as_secs()).unwrap_or(u16::MAX)));
        self.start(
            now,
            &Packet::Disconnect(Disconnect { duration }),
            Waiting::Disconnect,
        )
    }

    /// Forgets the outstanding request, if any.
    pub fn abandon(&mut self) {
        self.outstanding = None;
        self.answer = None;
    }

    /// The next datagram to send to the broker.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What came of the last request, once.
    pub fn poll_answer(&mut self) -> Option<Result<Answer, RequestError>> {
        self.answer.take()
    }

    /// The next message that arrived.
    pub fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// When [`ClientCore::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|o| o.deadline)
    }

    /// Whether the broker has sent DISCONNECT since the last CONNECT.
    pub fn is_disconnected(&self) -> bool {
        self.disconnected
    }

    /// The name behind a normal topic id, where REGISTER, REGACK or SUBACK told it.
    pub fn topic_name(&self, alias: Alias) -> Option<&str> {
        match alias.topic_id_type {
            mqttsn::types::TopicIdType::Normal => {
                self.names.get(&alias.topic_id).map(String::as_str)
            }
            _ => None,
        }
    }

    /// Time has passed: sends the outstanding request again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(outstanding) = &mut self.outstanding else {
            return;
        };
        if now < outstanding.deadline {
            return;
        }
        if outstanding.sent > self.retry.times {
            let request = outstanding.waiting.request();
            let tries = outstanding.sent;
            self.outstanding = None;
            self.answer = Some(Err(RequestError::NoAnswer { request, tries }));
            return;
        }
        // MQTT-SN 1.2 §6.13: sent again with DUP set, where the message has that flag.
        if matches!(
            outstanding.waiting,
            Waiting::Puback(_) | Waiting::Pubrec(_) | Waiting::Suback(..)
        ) {
            let flags = if outstanding.bytes.first() == Some(&0x01) {
                4
            } else {
                2
            };
            if let Some(flags) = outstanding.bytes.get_mut(flags) {
                *flags |= mqttsn::types::Flags::DUP;
            }
        }
        outstanding.sent += 1;
        outstanding.deadline = now + self.retry.wait;
        self.transmits.push_back(outstanding.bytes.clone());
    }

    /// A datagram from the broker. What cannot be read is ignored.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let Ok(packet) = Frame::decode(datagram).and_then(|frame| frame.packet()) else {
            return;
        };
        match packet {
            Packet::Publish(publish) => self.on_publish(&publish),
            Packet::Pubrel(msg_id) => {
                self.pending_release.retain(|id| *id != msg_id);
                self.send(&Packet::Pubcomp(msg_id));
            }
            Packet::Register(register) => {
                self.names
                    .insert(register.topic_id, register.topic_name.to_owned());
                self.send(&Packet::Regack(Regack {
                    topic_id: register.topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                }));
            }
            Packet::WillTopicReq => {
                let will = self.will.clone();
                self.send(&Packet::WillTopic(will.as_ref().map(|will| WillTopic {
                    qos: will.qos,
                    retain: will.retain,
                    topic: &will.topic,
                })));
            }
            Packet::WillMsgReq => {
                let data = self
                    .will
                    .as_ref()
                    .map(|will| will.data.clone())
                    .unwrap_or_default();
                self.send(&Packet::WillMsg(&data));
            }
            answer => self.on_answer(now, &answer),
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        match publish.qos {
            Qos::MinusOne | Qos::Zero => {}
            Qos::One => self.send(&Packet::Puback(Puback {
                topic_id: publish.alias.topic_id,
                msg_id: publish.msg_id,
                return_code: ReturnCode::Accepted,
            })),
            Qos::Two => {
                self.send(&Packet::Pubrec(publish.msg_id));
                if self.pending_release.contains(&publish.msg_id) {
                    return;
                }
                self.pending_release.push(publish.msg_id);
            }
        }
        self.messages.push_back(Message {
            alias: publish.alias,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            data: publish.data.to_vec(),
        });
    }

    fn on_answer(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(outstanding) = &self.outstanding else {
            self.disconnected |= matches!(packet, Packet::Disconnect(_));
            return;
        };
        let request = outstanding.waiting.request();
        let checked = |code, answer| match code {
            ReturnCode::Accepted => Ok(answer),
            code => Err(RequestError::Rejected { request, code }),
        };
        let answer = match (&outstanding.waiting, packet) {
            (Waiting::Connack, Packet::Connack(code)) => checked(*code, Answer::Connected),
            (Waiting::Regack(id, name), Packet::Regack(ack)) if ack.msg_id == *id => {
                if ack.return_code == ReturnCode::Accepted {
                    self.names.insert(ack.topic_id, name.clone());
                }
                checked(ack.return_code, Answer::Registered(ack.topic_id))
            }
            (Waiting::Suback(id, name), Packet::Suback(ack)) if ack.msg_id == *id => {
                if let (Some(name), ReturnCode::Accepted, 1..) =
                    (name, ack.return_code, ack.topic_id)
                {
                    self.names.insert(ack.topic_id, without_group(name));
                }
                let answer = Answer::Subscribed {
                    topic_id: ack.topic_id,
                    qos: ack.qos,
                };
                checked(ack.return_code, answer)
            }
            (Waiting::Unsuback(id), Packet::Unsuback(ack)) if ack == id => Ok(Answer::Unsubscribed),
            (Waiting::Puback(id), Packet::Puback(ack)) if ack.msg_id == *id => {
                checked(ack.return_code, Answer::Published)
            }
            // A QoS 2 PUBLISH is refused with a PUBACK.
            (Waiting::Pubrec(id), Packet::Puback(ack)) if ack.msg_id == *id => {
                checked(ack.return_code, Answer::Published)
            }
            (Waiting::Pubrec(id), Packet::Pubrec(ack)) if ack == id => {
                let id = *id;
                self.outstanding = None;
                // PUBREL has no payload that could be too long, and nothing is outstanding.
                let _ = self.start(now, &Packet::Pubrel(id), Waiting::Pubcomp(id));
                return;
            }
            (Waiting::Pubcomp(id), Packet::Pubcomp(ack)) if ack == id => Ok(Answer::Published),
            (Waiting::Pingresp, Packet::Pingresp) => Ok(Answer::Alive),
            (Waiting::Disconnect, Packet::Disconnect(_)) => Ok(Answer::Disconnected),
            (_, Packet::Disconnect(_)) => {
                self.disconnected = true;
                Err(RequestError::Disconnected(request))
            }
            _ => return,
        };
        self.outstanding = None;
        self.answer = Some(answer);
    }

    fn msg_id(&mut self) -> MsgId {
        let id = self.next_msg_id;
        self.next_msg_id = self.next_msg_id.checked_add(1).unwrap_or(1);
        MsgId(id)
    }

    fn send(&mut self, packet: &Packet<'_>) {
        // Answers are short; the one that could be too long is the will, which CONNECT checked.
        if let Ok(bytes) = encode(packet, "answer") {
            self.transmits.push_back(bytes);
        }
    }

    fn start(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        waiting: Waiting,
    ) -> Result<(), RequestError> {
        if self.outstanding.is_some() {
            return Err(RequestError::Busy);
        }
        let bytes = encode(packet, waiting.request())?;
        self.transmits.push_back(bytes.clone());
        self.answer = None;
        self.outstanding = Some(Outstanding {
            waiting,
            bytes,
            sent: 1,
            deadline: now + self.retry.wait,
        });
        Ok(())
    }
}

fn encode(packet: &Packet<'_>, request: &'static str) -> Result<Vec<u8>, RequestError> {
    let mut bytes = vec![0; packet.encoded_len()];
    let length = packet
        .encode(&mut bytes)
        .map_err(|_| RequestError::TooLong(request))?;
    bytes.truncate(length);
    Ok(bytes)
}

/// The topic behind the filter of a share group, `$share/{group}/{filter}`: a SUBACK tells that
/// topic's id (docs/shared-subscriptions.md). Other names as they are.
fn without_group(filter: &str) -> String {
    let parts = filter.strip_prefix("$share/");
    let parts = parts.and_then(|parts| parts.split_once('/'));
    parts.map_or(filter, |(_, topic)| topic).to_owned()
}

#[cfg(test)]
mod tests {
    use mqttsn::packet::Suback;

    use super::*;

    /// A client that has connected, and whose SUBSCRIBE was answered with this topic id.
    fn subscribed(filter: &str, topic_id: u16) -> ClientCore {
        let now = Instant::now();
        let mut client = ClientCore::new(Retry {
            wait: Duration::from_secs(10),
            times: 0,
        });
        let filter = TopicRef::Name(filter);
        client.subscribe(now, filter, Qos::One).unwrap();
        let sent = client.poll_transmit().unwrap();
        let Ok(Packet::Subscribe(Subscribe { msg_id, .. })) = Packet::decode(&sent) else {
            panic!("no SUBSCRIBE: {sent:?}");
        };
        let ack = Packet::Suback(Suback {
            qos: Qos::One,
            topic_id,
            msg_id,
            return_code: ReturnCode::Accepted,
        });
        client.handle_datagram(now, &encode(&ack, "SUBACK").unwrap());
        assert!(matches!(
            client.poll_answer(),
            Some(Ok(Answer::Subscribed { .. }))
        ));
        client
    }

    #[test]
    fn messages_of_a_share_group_come_under_the_name_of_the_topic_not_of_the_filter() {
        let names = [
            ("$share/pumps/plant/1/flow", "plant/1/flow"),
            ("$share/pumps//flow", "/flow"),
            ("plant/1/flow", "plant/1/flow"),
            ("share/pumps/flow", "share/pumps/flow"),
            // Nothing that a server accepts: it has no topic.
            ("$share/pumps", "$share/pumps"),
        ];
        for (filter, topic) in names {
            let client = subscribed(filter, 7);
            assert_eq!(client.topic_name(Alias::normal(7)), Some(topic));
        }
    }

    #[test]
    fn without_a_topic_id_in_suback_no_name_is_known() {
        let client = subscribed("$share/pumps/plant/+/flow", 0);
        assert_eq!(client.topic_name(Alias::normal(0)), None);
    }
}
