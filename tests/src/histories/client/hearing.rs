//! What a client hears, and what it observes of it.

use std::time::Instant;

use mqttsn::types::TopicIdType;
use topicswitch::client::{Answer, RequestError};

use super::{Client, Delivery, State, Todo, broker_at};
use crate::frame::{Checksum, Datagram};
use crate::histories::links::Millis;
use crate::topics::{predefined_name, without_group};

impl Client {
    /// Takes a frame that came over its wire.
    pub(in crate::histories) fn hear(
        &mut self,
        now: Millis,
        at: Instant,
        round: usize,
        (frame, by_broker): (&[u8], bool),
    ) {
        if frame.get(..6) != Some(&Client::mac(self.n)[..]) {
            return; // Flooded.
        }
        let datagram = match Datagram::read(frame) {
            Ok(datagram) => datagram,
            Err(why) => return self.strange.push(format!("a frame that is broken: {why}")),
        };
        if datagram.dst != self.address {
            return; // It lives there no more.
        }
        if matches!(datagram.checksum, Checksum::Flipped(_)) {
            return; // Damaged: its host drops it.
        }
        if datagram.src != broker_at(self.address.is_ipv6())
            || datagram.checksum != Checksum::Right
            || datagram.tag != self.tag
        {
            return self
                .strange
                .push(format!("a strange datagram: {datagram:?}"));
        }
        if matches!(self.state, State::Off | State::Asleep | State::Crashed) {
            return; // It does not listen.
        }
        self.core.handle_datagram(at, &datagram.payload);
        while let Some(message) = self.core.poll_message() {
            let topic = match message.alias.topic_id_type {
                TopicIdType::Normal => self.core.topic_name(message.alias).map(str::to_owned),
                TopicIdType::Predefined => Some(predefined_name(message.alias.topic_id)),
                TopicIdType::Short => {
                    let octets = message.alias.topic_id.to_be_bytes();
                    Some(String::from_utf8_lossy(&octets).into_owned())
                }
            };
            let early = matches!(&self.doing, Some(Todo::Subscribe(filter, _))
                if topic.is_none() && message.data.split(|b| *b == b' ').nth(1) == Some(without_group(&filter.name()).as_bytes()));
            if early {
                // MQTT 3.1.1 §3.8.4: it may come before the SUBACK. But the SUBACK tells the topic
                // id, and without that the client cannot know what this is.
                continue;
            }
            let topic = topic.unwrap_or_else(|| format!("unknown {:?}", message.alias));
            let text = String::from_utf8_lossy(&message.data);
            let mut words = text.split(' ');
            let id = words.next().unwrap_or_default().to_owned();
            let told = words.next().unwrap_or_default();
            if told != topic {
                let by = if by_broker { "broker" } else { "data plane" };
                let why = format!("{id} of {told} came from the {by} under the alias of {topic}");
                self.strange.push(why);
            }
            self.received.push(Delivery {
                round,
                id,
                topic,
                qos: message.qos,
                retain: message.retain,
                dup: message.dup,
                by_broker,
            });
        }
        if let Some(answer) = self.core.poll_answer() {
            self.answered(now, &answer);
        } else if self.core.is_disconnected()
            && !self.took_over
            && self.state == State::Active
            && !matches!(self.doing, Some(Todo::Connect(_)))
        {
            self.note("told DISCONNECT".to_owned());
            self.end();
        }
        self.poll(now, at, round);
    }

    fn note(&mut self, answer: String) {
        if let Some(taken) = self.taken.last_mut() {
            taken.answers.push(answer);
        }
    }

    fn end(&mut self) {
        self.state = State::Off;
        self.todo.clear();
        self.doing = None;
    }

    fn answered(&mut self, now: Millis, answer: &Result<Answer, RequestError>) {
        let Some(doing) = self.doing.take() else {
            return;
        };
        self.pause_until = self.pause_until.max(now);
        // Topic ids are the broker's to choose.
        let text = match answer {
            Ok(Answer::Registered(_)) => "Registered".to_owned(),
            Ok(Answer::Subscribed { qos, .. }) => format!("Subscribed {qos:?}"),
            answer => format!("{answer:?}"),
        };
        if !matches!(doing, Todo::Ping | Todo::Announce) || answer.is_err() {
            self.note(text);
        }
        match (&doing, answer) {
            (Todo::Register(name), Ok(Answer::Registered(id))) => {
                self.aliases.insert(name.clone(), *id);
            }
            (Todo::Sleep, Ok(_)) => self.state = State::Asleep,
            (Todo::Wake, Ok(_)) => self.state = State::Asleep,
            (Todo::Disconnect, Ok(_)) => self.end(),
            // The DISCONNECT of the client that is lost comes first, to the same address.
            (Todo::Connect(_), Err(RequestError::Disconnected(_))) if self.took_over => {}
            (Todo::Connect(_), Ok(_)) => self.took_over = false,
            (_, Err(RequestError::Disconnected(_))) => self.end(),
            _ => {}
        }
    }
}
