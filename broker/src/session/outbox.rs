//! Messages that wait for one client, and the one exchange that is under way with it.
//!
//! ```text
//! front of the queue: topic id unknown ─ REGISTER ► REGACK ─┐
//!      ▲                                                    │
//!      └────────────────────────────────────────────────────┘
//! topic id known, QoS 0 ─ PUBLISH ► next
//!                 QoS 1 ─ PUBLISH ► PUBACK ► next
//!                 QoS 2 ─ PUBLISH ► PUBREC ─ PUBREL ► PUBCOMP ► next
//! ```
//! One exchange at a time: MQTT-SN 1.2 §6.5 asks it of REGISTER, and a client of little memory is
//! grateful for it with PUBLISH. A queue kept in order is also what keeps a publisher's messages in
//! order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::held::{Held, Total};
use mqttsn::{Alias, MsgId, Qos};
use offload::TopicIndex;

use super::due::Due;
use crate::shares::Shared;

/// One message for one client.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    /// Its place among all messages for the client; given by the outbox.
    pub(crate) seq: u64,
    pub(crate) topic: TopicIndex,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// The MsgId under which it was sent before.
    pub(crate) sent_as: Option<MsgId>,
    /// The client did not know the topic id and was told anew, for this message.
    pub(crate) registered_again: bool,
    /// The share group of which the client was chosen for it.
    pub(crate) shared: Option<Shared>,
}

/// What the broker waits for.
#[derive(Clone, Debug)]
pub(crate) enum Exchange {
    /// A REGACK.
    Register { topic: TopicIndex, topic_id: u16 },
    /// A PUBACK or PUBREC, by the QoS of the message.
    Publish { message: Queued, alias: Alias },
    /// A PUBCOMP.
    Release,
}

/// The exchange under way.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) msg_id: MsgId,
    pub(crate) exchange: Exchange,
    pub(crate) sent: Instant,
    pub(crate) retries: u32,
}

/// Messages that wait for one client, and the exchange under way.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    held: Held,
    /// How many of them are of QoS 0.
    qos_0: usize,
    last_seq: u64,
    /// Messages were taken out from between others since [`Outbox::take_removed_inside`].
    removed_inside: bool,
    pub(crate) in_flight: Option<InFlight>,
    /// Retained messages that will wait here when there is room.
    pub(crate) due: Due,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Messages for one client.
    pub(crate) messages: usize,
    /// Payload octets for one client.
    pub(crate) octets: usize,
    /// Octets for all clients, overhead included.
    pub(crate) total: usize,
}

/// Why a message cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Enough waits for this client.
    Client,
    /// Enough waits for all clients together.
    All,
}

/// What a message costs beside its payload.
const OVERHEAD: usize = size_of::<Queued>();

impl Queued {
    fn cost(&self) -> usize {
        OVERHEAD + self.payload.len()
    }
}

impl Outbox {
    /// An outbox whose octets count in the total.
    pub(crate) fn new(total: Total) -> Self {
        Outbox {
            held: Held::new(total),
            ..Outbox::default()
        }
    }

    /// Whether nothing waits or is due and nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none() && self.due.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Appends the message; how many messages of QoS 0, the oldest ones, made room for it. What
    /// was acknowledged to its publisher must not be lost for what nobody promised.
    pub(crate) fn push(&mut self, mut message: Queued, room: Room) -> Result<usize, Full> {
        let waiting = (self.queue.len(), self.held.octets());
        let mut gave_way = 0;
        if let Err(full) = self.fits(&message, waiting, room) {
            if message.qos == Qos::Zero || self.qos_0 == 0 {
                return Err(full);
            }
            let kept = self.queue.iter().filter(|queued| queued.qos != Qos::Zero);
            let kept = kept.fold((0, 0), |(n, cost), queued| (n + 1, cost + queued.cost()));
            self.fits(&message, kept, room)?;
            while let Some(at) = self.queue.iter().position(|queued| queued.qos == Qos::Zero)
                && self
                    .fits(&message, (self.queue.len(), self.held.octets()), room)
                    .is_err()
            {
                if let Some(left) = self.queue.remove(at) {
                    self.has_left(&left);
                }
                self.removed_inside = true;
                gave_way += 1;
            }
        }
        self.last_seq += 1;
        message.seq = self.last_seq;
        self.enters(&message);
        self.queue.push_back(message);
        Ok(gave_way)
    }

    /// Whether there is room for the message beside so many others of this cost.
    fn fits(&self, message: &Queued, others: (usize, usize), room: Room) -> Result<(), Full> {
        let (messages, cost) = others;
        let octets = cost - messages * OVERHEAD + message.payload.len();
        if messages >= room.messages || octets > room.octets {
            return Err(Full::Client);
        }
        let of_other_clients = self.held.total() - self.held.octets();
        if of_other_clients + cost + message.cost() > room.total {
            return Err(Full::All);
        }
        Ok(())
    }

    fn enters(&mut self, message: &Queued) {
        self.held.add(message.cost());
        self.qos_0 += usize::from(message.qos == Qos::Zero);
    }

    fn has_left(&mut self, message: &Queued) {
        self.held.remove(message.cost());
        self.qos_0 -= usize::from(message.qos == Qos::Zero);
    }

    /// Puts back a message that was stored, behind all others; limits were kept when it came.
    pub(crate) fn restore(&mut self, message: Queued) {
        self.enters(&message);
        self.last_seq = self.last_seq.max(message.seq);
        self.queue.push_back(message);
    }

    /// The front message was sent before, under this MsgId, if it is still this message; with an
    /// alias its exchange is under way.
    pub(crate) fn restore_sent(
        &mut self,
        now: Instant,
        seq: u64,
        msg_id: MsgId,
        alias: Option<Alias>,
    ) {
        // The number is not given again, even if its message is gone: what is stored of the exchange
        // would be taken for the next message's.
        self.last_seq = self.last_seq.max(seq);
        let Some(front) = self.queue.front_mut().filter(|front| front.seq == seq) else {
            return;
        };
        front.sent_as = Some(msg_id);
        if let Some(alias) = alias
            && self.in_flight.is_none()
            && let Some(message) = self.pop()
        {
            self.in_flight = Some(InFlight {
                msg_id,
                exchange: Exchange::Publish { message, alias },
                sent: now,
                retries: 0,
            });
        }
    }

    /// The place of the message that came last, or 0.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// All messages that the client has not acknowledged, in their order.
    pub(crate) fn unfinished(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        let under_way = match &self.in_flight {
            Some(InFlight {
                exchange: Exchange::Publish { message, .. },
                ..
            }) => Some(message),
            _ => None,
        };
        under_way.into_iter().chain(&self.queue)
    }

    /// Whether messages were taken out from between others since the last call.
    pub(crate) fn take_removed_inside(&mut self) -> bool {
        std::mem::take(&mut self.removed_inside)
    }

    /// Puts a message back to where it was taken.
    pub(crate) fn push_front(&mut self, message: Queued) {
        self.enters(&message);
        self.queue.push_front(message);
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.queue.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let message = self.queue.pop_front()?;
        self.has_left(&message);
        Some(message)
    }

    /// The QoS 2 message that was sent under this MsgId before, and waits to be sent again, has
    /// arrived: it goes on with its release. False if there is none.
    pub(crate) fn received_suspended(&mut self, now: Instant, msg_id: MsgId) -> bool {
        let suspended = self
            .front()
            .is_some_and(|front| front.qos == Qos::Two && front.sent_as == Some(msg_id));
        if suspended {
            self.pop();
            self.in_flight = Some(InFlight {
                msg_id,
                exchange: Exchange::Release,
                sent: now,
                retries: 0,
            });
        }
        suspended
    }

    /// Takes out the messages of which this holds, in their order.
    pub(crate) fn take(&mut self, taken: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        if !self.queue.iter().any(&taken) {
            return Vec::new();
        }
        let (out, left) = std::mem::take(&mut self.queue).into_iter().partition(taken);
        self.queue = left;
        self.removed_inside = true;
        let out: VecDeque<Queued> = out;
        for message in &out {
            self.has_left(message);
        }
        out.into()
    }

    /// The message at this place was for a share group.
    pub(crate) fn restore_shared(&mut self, seq: u64, shared: Shared) -> bool {
        let at = self.queue.binary_search_by_key(&seq, |queued| queued.seq);
        let message = at.ok().and_then(|at| self.queue.get_mut(at));
        if let Some(message) = message {
            message.shared = Some(shared);
            return true;
        }
        false
    }

    /// The client cannot hear: an exchange under way is taken up again when it can.
    pub(crate) fn suspend(&mut self) {
        match self.in_flight.take() {
            Some(InFlight {
                msg_id,
                exchange: Exchange::Publish { mut message, .. },
                ..
            }) => {
                message.sent_as = Some(msg_id);
                self.push_front(message);
            }
            // Each time that the client comes back it gets all its retransmissions anew.
            Some(
                release @ InFlight {
                    exchange: Exchange::Release,
                    ..
                },
            ) => {
                self.in_flight = Some(InFlight {
                    retries: 0,
                    ..release
                });
            }
            // The REGISTER is sent anew before the message that needs it.
            Some(InFlight {
                exchange: Exchange::Register { .. },
                ..
            })
            | None => {}
        }
    }
}
