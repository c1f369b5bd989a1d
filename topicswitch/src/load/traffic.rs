//! The measurement itself: one loop that takes what has arrived and sends what is due.

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mqttsn::packet::{Puback, Publish, Regack};
use mqttsn::types::{Alias, MsgId, Qos, ReturnCode};
use mqttsn::{Frame, Packet};

use super::clients::Clients;
use super::outcome::{BrokerCost, Outcome, Quantiles};
use super::process::ProcessUse;
use super::sockets::{self, BATCH, Receiver, Sender};
use super::stamp::Stamp;
use super::tally::Tally;
use super::{LoadError, Pace, Settings};

/// With a window: so long without a delivery, and what is on its way counts as lost.
const STALL: Duration = Duration::from_millis(300);
/// How often publishers are looked at that expect no answer.
const GLANCE: Duration = Duration::from_millis(50);
/// How long after the end deliveries are waited for, when nothing comes any more.
const QUIET: Duration = Duration::from_millis(300);
/// And at most.
const DRAIN: Duration = Duration::from_secs(10);
/// The longest sleep, where sleeping is allowed.
const NAP: Duration = Duration::from_millis(1);

/// An exchange of QoS 1 or 2 on the publisher's side; one at a time (MQTT-SN 1.2 §6.6).
#[derive(Clone, Copy, Debug)]
struct Exchange {
    msg_id: MsgId,
    sequence: u64,
    due_ns: u64,
    sent_ns: u64,
    released: bool,
}

struct Publisher {
    topic_id: u16,
    sequence: u64,
    last_msg_id: u16,
    exchange: Option<Exchange>,
}

pub(super) struct Traffic<'a> {
    settings: &'a Settings,
    clients: &'a Clients,
    epoch: Instant,
    publishers: Vec<Publisher>,
    /// QoS 1 and 2: publishers without an exchange under way, and those with one.
    idle: VecDeque<usize>,
    busy: Vec<usize>,
    /// QoS 0: whose turn it is.
    turn: usize,
    /// QoS 2: what a subscriber has passed on and the broker has not released.
    unreleased: Vec<Vec<MsgId>>,
    /// Deliveries that a publication on each topic owes.
    fan_out: Vec<u64>,
    tally: Tally,
    sender: Sender,
    datagrams: Vec<u8>,
    length: usize,
    published: u64,
    /// Deliveries owed for what was published.
    owed: u64,
    /// Of those, counted as lost while the loop ran.
    written_off: u64,
    acknowledged: u64,
    refused: u64,
    retransmitted: u64,
    /// Whether what happens now counts.
    counting: bool,
    latency: Histogram<u64>,
    acknowledgement: Histogram<u64>,
    late: Histogram<u64>,
}

/// The state of the counters at one moment.
struct Mark {
    at: Instant,
    published: u64,
    delivered: u64,
    idle: Duration,
    broker: Option<ProcessUse>,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(settings: &'a Settings, clients: &'a Clients) -> Result<Self, LoadError> {
        let mut datagrams = Vec::new();
        let payload = vec![0x55; settings.size];
        let publish = Packet::Publish(Publish {
            dup: false,
            qos: settings.qos,
            retain: false,
            alias: Alias::normal(0),
            msg_id: MsgId(0),
            data: &payload,
        });
        let length = publish.encoded_len();
        datagrams.resize(length * BATCH, 0);
        for datagram in datagrams.chunks_exact_mut(length) {
            // The buffer is as long as the message says.
            let _ = publish.encode(datagram);
        }
        if settings.gso && settings.qos == Qos::Zero {
            for (client, publisher) in clients.publishers.iter().enumerate() {
                sockets::enable_gso(&publisher.socket, length)
                    .map_err(|source| LoadError::Socket { client, source })?;
            }
        }
        let mut fan_out = vec![0; settings.topics];
        for subscriber in 0..clients.subscribers.len() {
            fan_out[subscriber % settings.topics] += 1;
        }
        let publishers: Vec<Publisher> = clients
            .publishers
            .iter()
            .map(|client| Publisher {
                topic_id: client.topic_id,
                sequence: 0,
                last_msg_id: 0,
                exchange: None,
            })
            .collect();
        Ok(Traffic {
            settings,
            clients,
            epoch: Instant::now(),
            idle: (0..publishers.len()).collect(),
            busy: Vec::with_capacity(publishers.len()),
            turn: 0,
            unreleased: vec![Vec::new(); clients.subscribers.len()],
            fan_out,
            tally: Tally::new(clients.subscribers.len(), publishers.len()),
            publishers,
            sender: Sender::new(settings.gso && settings.qos == Qos::Zero),
            datagrams,
            length,
            published: 0,
            owed: 0,
            written_off: 0,
            acknowledged: 0,
            refused: 0,
            retransmitted: 0,
            counting: false,
            latency: histogram(),
            acknowledgement: histogram(),
            late: histogram(),
        })
    }

    pub(super) fn run(mut self) -> Result<Outcome, LoadError> {
        let mut receiver = Receiver::new(self.settings.size + 64, self.settings.gro);
        self.epoch = Instant::now();
        let begin = self.epoch + self.settings.warmup;
        let end = begin + self.settings.duration;
        let mut idle = Duration::ZERO;
        let mut start: Option<Mark> = None;
        let mut now = self.epoch;
        let mut progress = now;
        let mut glance = now;
        while now < end {
            if start.is_none() && now >= begin {
                start = Some(self.mark(now, idle)?);
                self.counting = true;
            }
            let arrived = self.take(&mut receiver)?;
            if now >= glance {
                glance = now + GLANCE;
                self.look_after_publishers(&mut receiver)?;
            }
            if arrived {
                progress = now;
            } else if now - progress > STALL {
                progress = now;
                let delivered = self.tally.counts().delivered;
                self.written_off = self.owed.saturating_sub(delivered);
            }
            let sent = self.send_due(Instant::now())?;
            let before = now;
            if !arrived && !sent && self.settings.sleep {
                std::thread::park_timeout(self.next_due().min(NAP));
            }
            now = Instant::now();
            if !arrived && !sent {
                idle += now - before;
            }
        }
        let last = self.mark(now, idle)?;
        self.counting = false;
        self.drain(&mut receiver)?;
        // `end` lies behind `begin`, so the loop has passed it, unless the machine slept.
        let first = match start {
            Some(first) => first,
            None => self.mark(self.epoch, Duration::ZERO)?,
        };
        Ok(self.outcome(&first, &last))
    }

    fn mark(&self, at: Instant, idle: Duration) -> Result<Mark, LoadError> {
        Ok(Mark {
            at,
            published: self.published,
            delivered: self.tally.counts().delivered,
            idle,
            broker: self.settings.broker_pid.map(ProcessUse::of).transpose()?,
        })
    }

    fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Takes what has arrived, of subscribers and of publishers that wait for an answer.
    fn take(&mut self, receiver: &mut Receiver) -> Result<bool, LoadError> {
        let clients = self.clients;
        let mut any = false;
        for (number, subscriber) in clients.subscribers.iter().enumerate() {
            any |= self.take_from(receiver, &subscriber.socket, Some(number), number)?;
        }
        let mut index = 0;
        while index < self.busy.len() {
            let number = self.busy[index];
            any |= self.take_from(receiver, &clients.publishers[number].socket, None, number)?;
            // An exchange that ended has left the list.
            if self.busy.get(index) == Some(&number) {
                index += 1;
            }
        }
        Ok(any)
    }

    fn take_from(
        &mut self,
        receiver: &mut Receiver,
        socket: &UdpSocket,
        subscriber: Option<usize>,
        client: usize,
    ) -> Result<bool, LoadError> {
        let failed = |source| LoadError::Socket { client, source };
        let reads = receiver.receive(socket).map_err(failed)?;
        let now_ns = self.now_ns();
        for read in 0..reads {
            let mut bytes = receiver.read(read);
            // With GRO several messages stand behind each other; each says its length.
            while let Some((message, rest)) = split_message(bytes) {
                bytes = rest;
                match subscriber {
                    Some(number) => self.at_subscriber(socket, number, message, now_ns),
                    None => self.at_publisher(socket, client, message, now_ns),
                }
                .map_err(failed)?;
            }
        }
        Ok(reads > 0)
    }

    fn at_subscriber(
        &mut self,
        socket: &UdpSocket,
        subscriber: usize,
        message: &[u8],
        now_ns: u64,
    ) -> io::Result<()> {
        let Ok(packet) = Frame::decode(message).and_then(|frame| frame.packet()) else {
            return Ok(());
        };
        match packet {
            Packet::Publish(publish) => {
                let msg_id = publish.msg_id;
                let again =
                    publish.qos == Qos::Two && self.unreleased[subscriber].contains(&msg_id);
                if !again
                    && let Some(stamp) = Stamp::read(publish.data)
                    && stamp.run == self.clients.run
                {
                    let publisher = stamp.publisher as usize;
                    let fresh = self.tally.arrived(subscriber, publisher, stamp.sequence);
                    if fresh && self.counting {
                        self.latency
                            .saturating_record(now_ns.saturating_sub(stamp.due_ns));
                    }
                }
                match publish.qos {
                    Qos::One => answer(
                        socket,
                        &Packet::Puback(Puback {
                            topic_id: publish.alias.topic_id,
                            msg_id,
                            return_code: ReturnCode::Accepted,
                        }),
                    ),
                    Qos::Two => {
                        if !again {
                            self.unreleased[subscriber].push(msg_id);
                        }
                        answer(socket, &Packet::Pubrec(msg_id))
                    }
                    Qos::Zero | Qos::MinusOne => Ok(()),
                }
            }
            Packet::Pubrel(msg_id) => {
                self.unreleased[subscriber].retain(|&kept| kept != msg_id);
                answer(socket, &Packet::Pubcomp(msg_id))
            }
            Packet::Register(register) => answer(
                socket,
                &Packet::Regack(Regack {
                    topic_id: register.topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                }),
            ),
            _ => Ok(()),
        }
    }

    fn at_publisher(
        &mut self,
        socket: &UdpSocket,
        number: usize,
        message: &[u8],
        now_ns: u64,
    ) -> io::Result<()> {
        let Ok(packet) = Frame::decode(message).and_then(|frame| frame.packet()) else {
            return Ok(());
        };
        let publisher = &mut self.publishers[number];
        let msg_id = match packet {
            Packet::Puback(puback) if !puback.return_code.is_accepted() => {
                self.refused += 1;
                puback.msg_id
            }
            Packet::Puback(puback) => puback.msg_id,
            Packet::Pubcomp(msg_id) => msg_id,
            Packet::Pubrec(msg_id) => {
                if let Some(exchange) = &mut publisher.exchange
                    && exchange.msg_id == msg_id
                {
                    exchange.released = true;
                    exchange.sent_ns = now_ns;
                }
                return answer(socket, &Packet::Pubrel(msg_id));
            }
            _ => return Ok(()),
        };
        if let Some(exchange) = publisher.exchange
            && exchange.msg_id == msg_id
        {
            publisher.exchange = None;
            self.busy.retain(|&busy| busy != number);
            self.idle.push_back(number);
            if self.counting {
                self.acknowledged += 1;
                self.acknowledgement
                    .saturating_record(now_ns.saturating_sub(exchange.due_ns));
            }
        }
        Ok(())
    }

    /// Publishers that expect no answer may get one (a refusal); those that wait for one, wait no
    /// longer than T_retry.
    fn look_after_publishers(&mut self, receiver: &mut Receiver) -> Result<(), LoadError> {
        let clients = self.clients;
        if self.settings.qos == Qos::Zero {
            // A few each time; all of them at the end.
            let few = self.publishers.len().min(BATCH);
            for number in 0..few {
                self.take_from(receiver, &clients.publishers[number].socket, None, number)?;
            }
            return Ok(());
        }
        let now_ns = self.now_ns();
        let retry = self.settings.retry.as_nanos() as u64;
        for index in 0..self.busy.len() {
            let number = self.busy[index];
            let Some(exchange) = &mut self.publishers[number].exchange else {
                continue;
            };
            if now_ns.saturating_sub(exchange.sent_ns) < retry {
                continue;
            }
            exchange.sent_ns = now_ns;
            let exchange = *exchange;
            self.retransmitted += 1;
            self.send_exchange(number, &exchange, true)?;
        }
        Ok(())
    }

    /// Publications that may be sent now.
    fn due(&self, now: Instant) -> u64 {
        match self.settings.pace {
            Pace::Rate(rate) => {
                // The first one is due at once.
                let due = (now - self.epoch).as_secs_f64() * rate + 1.0;
                (due as u64).saturating_sub(self.published)
            }
            Pace::Window(window) => {
                let delivered = self.tally.counts().delivered + self.written_off;
                let open = self.owed.saturating_sub(delivered);
                let fan_out = self.fan_out.iter().copied().max().unwrap_or(1).max(1);
                u64::from(window).saturating_sub(open.div_ceil(fan_out))
            }
        }
    }

    /// When the publication with this number is due.
    fn due_ns(&self, publication: u64, now_ns: u64) -> u64 {
        match self.settings.pace {
            Pace::Rate(rate) => (publication as f64 / rate * 1e9) as u64,
            Pace::Window(_) => now_ns,
        }
    }

    fn next_due(&self) -> Duration {
        match self.settings.pace {
            Pace::Rate(_) => {
                let due = Duration::from_nanos(self.due_ns(self.published, 0));
                due.saturating_sub(self.epoch.elapsed())
            }
            Pace::Window(_) => Duration::from_micros(50),
        }
    }

    fn send_due(&mut self, now: Instant) -> Result<bool, LoadError> {
        let due = self.due(now);
        if due == 0 {
            return Ok(false);
        }
        if self.settings.qos != Qos::Zero {
            return self.send_exchanges(due);
        }
        // A publisher's share: one burst if there is one publisher, one message each if many.
        let share = (due as usize).div_ceil(self.publishers.len());
        let burst = share.min(self.settings.burst).min(BATCH);
        let now_ns = self.now_ns();
        let number = self.turn;
        let count = burst.min(due as usize);
        for index in 0..count {
            let due_ns = self.due_ns(self.published + index as u64, now_ns);
            self.write(index, number, MsgId(0), index as u64, due_ns);
        }
        let bytes = &self.datagrams[..count * self.length];
        let socket = &self.clients.publishers[number].socket;
        let sent = self
            .sender
            .send(socket, bytes, self.length)
            .map_err(|source| LoadError::Socket {
                client: number,
                source,
            })?;
        if self.counting && matches!(self.settings.pace, Pace::Rate(_)) {
            let sent_ns = self.now_ns();
            for index in 0..sent {
                let due_ns = self.due_ns(self.published + index as u64, now_ns);
                self.late.saturating_record(sent_ns.saturating_sub(due_ns));
            }
        }
        self.publishers[number].sequence += sent as u64;
        self.published += sent as u64;
        self.owed += sent as u64 * self.fan_out[number % self.settings.topics];
        self.turn = (number + 1) % self.publishers.len();
        Ok(sent > 0)
    }

    /// Writes the datagram at `index` of the batch; `ahead` counts those before it in the batch.
    fn write(&mut self, index: usize, number: usize, msg_id: MsgId, ahead: u64, due_ns: u64) {
        let publisher = &self.publishers[number];
        let datagram = &mut self.datagrams[index * self.length..][..self.length];
        // §5.4.12: TopicId and MsgId stand before the payload.
        let payload = self.length - self.settings.size;
        datagram[payload - 4..payload - 2].copy_from_slice(&publisher.topic_id.to_be_bytes());
        datagram[payload - 2..payload].copy_from_slice(&msg_id.0.to_be_bytes());
        let stamp = Stamp {
            run: self.clients.run,
            publisher: number as u32,
            sequence: publisher.sequence + ahead,
            due_ns,
        };
        stamp.write(&mut datagram[payload..]);
    }

    fn send_exchanges(&mut self, due: u64) -> Result<bool, LoadError> {
        let mut sent = false;
        for _ in 0..due.min(BATCH as u64) {
            let Some(number) = self.idle.pop_front() else {
                break;
            };
            let now_ns = self.now_ns();
            let due_ns = self.due_ns(self.published, now_ns);
            let publisher = &mut self.publishers[number];
            // Never 0, and not one that is still in use: there is one exchange at a time.
            publisher.last_msg_id = publisher.last_msg_id % 65_535 + 1;
            let exchange = Exchange {
                msg_id: MsgId(publisher.last_msg_id),
                sequence: publisher.sequence,
                due_ns,
                sent_ns: now_ns,
                released: false,
            };
            publisher.exchange = Some(exchange);
            publisher.sequence += 1;
            self.busy.push(number);
            self.send_exchange(number, &exchange, false)?;
            self.published += 1;
            self.owed += self.fan_out[number % self.settings.topics];
            if self.counting && matches!(self.settings.pace, Pace::Rate(_)) {
                let late = self.now_ns().saturating_sub(due_ns);
                self.late.saturating_record(late);
            }
            sent = true;
        }
        Ok(sent)
    }

    fn send_exchange(
        &mut self,
        number: usize,
        exchange: &Exchange,
        again: bool,
    ) -> Result<(), LoadError> {
        let socket = &self.clients.publishers[number].socket;
        let sent = if exchange.released {
            answer(socket, &Packet::Pubrel(exchange.msg_id))
        } else {
            let mut data = vec![0x55; self.settings.size];
            let stamp = Stamp {
                run: self.clients.run,
                publisher: number as u32,
                sequence: exchange.sequence,
                due_ns: exchange.due_ns,
            };
            stamp.write(&mut data);
            let publish = Packet::Publish(Publish {
                dup: again,
                qos: self.settings.qos,
                retain: false,
                alias: Alias::normal(self.publishers[number].topic_id),
                msg_id: exchange.msg_id,
                data: &data,
            });
            answer(socket, &publish)
        };
        sent.map_err(|source| LoadError::Socket {
            client: number,
            source,
        })
    }

    /// Waits for what is still on its way, and for the ends of exchanges.
    fn drain(&mut self, receiver: &mut Receiver) -> Result<(), LoadError> {
        let begun = Instant::now();
        let mut progress = begun;
        let mut glance = begun;
        loop {
            let now = Instant::now();
            let complete = self.busy.is_empty() && self.tally.counts().delivered >= self.owed;
            let patience = if self.busy.is_empty() {
                QUIET
            } else {
                self.settings.retry + QUIET
            };
            if complete || now - progress > patience || now - begun > DRAIN {
                break;
            }
            if self.take(receiver)? {
                progress = now;
            }
            if now >= glance {
                glance = now + GLANCE;
                self.look_after_publishers(receiver)?;
            }
        }
        let clients = self.clients;
        for (number, publisher) in clients.publishers.iter().enumerate() {
            self.take_from(receiver, &publisher.socket, None, number)?;
        }
        Ok(())
    }

    fn outcome(&self, first: &Mark, last: &Mark) -> Outcome {
        let seconds = (last.at - first.at).as_secs_f64();
        let published = last.published - first.published;
        let delivered = last.delivered - first.delivered;
        let counts = self.tally.counts();
        let broker = first.broker.zip(last.broker).map(|(before, after)| {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            BrokerCost {
                cores: cpu / seconds,
                cpu_us_per_publication: cpu * 1e6 / published.max(1) as f64,
                cpu_us_per_delivery: cpu * 1e6 / delivered.max(1) as f64,
                resident: after.resident,
            }
        });
        Outcome {
            seconds,
            published,
            delivered,
            published_per_second: published as f64 / seconds,
            delivered_per_second: delivered as f64 / seconds,
            lost: self.owed.saturating_sub(counts.delivered),
            behind: counts.behind,
            last_behind: counts.last_behind,
            refused: self.refused,
            retransmitted: self.retransmitted,
            latency_us: Quantiles::of(&self.latency),
            acknowledged_us: Quantiles::of(&self.acknowledgement),
            late_us: Quantiles::of(&self.late),
            generator_busy: 1.0 - (last.idle - first.idle).as_secs_f64() / seconds,
            broker,
        }
    }
}

/// From a nanosecond to a minute, three digits: 50 KiB.
fn histogram() -> Histogram<u64> {
    // The bounds are constants in order.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds in order")
}

/// The first MQTT-SN message of `bytes` by its Length field (§5.2.1), and what follows it.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match bytes {
        [1, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        [length, ..] => usize::from(*length),
        [] => return None,
    };
    (length >= 2).then_some(())?;
    bytes.split_at_checked(length)
}

fn answer(socket: &UdpSocket, packet: &Packet<'_>) -> io::Result<()> {
    let mut buffer = [0; super::MAX_SIZE + 64];
    let length = packet.encode(&mut buffer).map_err(io::Error::other)?;
    match socket.send(&buffer[..length]) {
        // As a lost datagram: it is sent again.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        sent => sent.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_behind_each_other_are_split_by_their_lengths() {
        let bytes = [3, 0x18, 9, 1, 0, 5, 0x0C, 7, 2, 0x17];
        let (first, rest) = split_message(&bytes).unwrap();
        assert_eq!(first, [3, 0x18, 9]);
        let (second, rest) = split_message(rest).unwrap();
        assert_eq!(second, [1, 0, 5, 0x0C, 7]);
        let (third, rest) = split_message(rest).unwrap();
        assert_eq!((third, rest), (&[2, 0x17][..], &[][..]));
        assert!(split_message(rest).is_none());
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_split() {
        assert!(split_message(&[0, 1, 2]).is_none());
        assert!(split_message(&[9, 1, 2]).is_none());
    }
}
