//! What the store holds of one session, and how the session differs from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use mqttsn::{MsgId, Qos};
use offload::SessionId;
use rustc_hash::FxHashMap;

use super::changes::{Changes, encode};
use super::record::{
    DueRecord, ExchangeRecord, Key, QueuedRecord, SentRecord, SessionRecord, SharedRecord,
    TopicIdRecord, WillRecord,
};
use crate::session::Session;
use crate::session::outbox::{Exchange, InFlight, Queued};
use crate::session::store::Ended;
use crate::shares::Shares;

/// A message that is stored.
#[derive(Debug)]
struct Stored {
    seq: u64,
    body: Arc<[u8]>,
    /// Whether it has a second entry, for the share group that it came by.
    shared: bool,
}

impl Stored {
    fn of(message: &Queued) -> Self {
        Stored {
            seq: message.seq,
            body: Arc::clone(&message.payload),
            shared: message.shared.is_some(),
        }
    }

    /// Adds the deletion of its entries.
    fn delete(&self, changes: &mut Changes, bodies: &mut Bodies, session: SessionId) {
        changes.delete(&Key::Queued(session, self.seq));
        if self.shared {
            changes.delete(&Key::Shared(session, self.seq));
        }
        bodies.remove(changes, &self.body);
    }
}

/// What the store holds of one session.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    /// Hash of the session's record; `None` before it is stored.
    session: Option<u64>,
    /// Hash of the will's record; `None` without a will.
    will: Option<u64>,
    /// Hash of what is due; `None` if nothing is.
    due: Option<u64>,
    exchange: ExchangeRecord,
    received: BTreeSet<MsgId>,
    queue: VecDeque<Stored>,
    /// The place of the last message looked at.
    seen: u64,
    /// Messages were taken out from between others since they were looked at.
    removed_inside: bool,
}

/// The payloads of messages that wait: each is stored once, however many recipients it has.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    /// By the payload's address, which is its own as long as a shadow holds it.
    ids: FxHashMap<usize, (u64, u32)>,
    pub(super) last: u64,
}

impl Bodies {
    /// One more message has this payload, which is stored under this id already.
    pub(super) fn adopt(&mut self, body: &Arc<[u8]>, id: u64) {
        self.ids.entry(address(body)).or_insert((id, 0)).1 += 1;
        self.last = self.last.max(id);
    }

    /// One more message has this payload; its id.
    fn add(&mut self, changes: &mut Changes, body: &Arc<[u8]>) -> u64 {
        let last = &mut self.last;
        let (id, messages) = self.ids.entry(address(body)).or_insert_with(|| {
            *last += 1;
            changes.put(&Key::Body(*last), body);
            (*last, 0)
        });
        *messages += 1;
        *id
    }

    /// One message less has this payload.
    fn remove(&mut self, changes: &mut Changes, body: &Arc<[u8]>) {
        let address = address(body);
        let Some((id, messages)) = self.ids.get_mut(&address) else {
            return;
        };
        *messages -= 1;
        if *messages == 0 {
            changes.delete(&Key::Body(*id));
            self.ids.remove(&address);
        }
    }
}

fn address(body: &Arc<[u8]>) -> usize {
    body.as_ptr().addr()
}

impl Shadow {
    /// Notes what was just read from the store, all but the messages.
    pub(super) fn of_stored(session: &Session, exchange: ExchangeRecord) -> Self {
        let mut octets = Vec::new();
        Shadow {
            session: Some(session_hash(&mut octets, session)),
            will: will_hash(&mut octets, session),
            due: due_hash(&mut octets, session),
            exchange,
            received: session.received.clone(),
            queue: VecDeque::new(),
            seen: 0,
            removed_inside: false,
        }
    }

    /// Notes a message that was just read from the store.
    pub(super) fn stored_message(&mut self, message: &Queued) {
        self.queue.push_back(Stored::of(message));
        self.seen = self.seen.max(message.seq);
    }
}

fn hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}

fn session_hash(octets: &mut Vec<u8>, session: &Session) -> u64 {
    octets.clear();
    encode(octets, &SessionRecord::of(session));
    hash(octets)
}

fn will_hash(octets: &mut Vec<u8>, session: &Session) -> Option<u64> {
    let will = session.will.as_ref()?;
    octets.clear();
    encode(octets, &WillRecord::of(will));
    Some(hash(octets))
}

fn due_hash(octets: &mut Vec<u8>, session: &Session) -> Option<u64> {
    let due = &session.outbox.due;
    if due.is_empty() {
        return None;
    }
    octets.clear();
    encode(octets, &DueRecord::all(due));
    Some(hash(octets))
}

/// Whether the message must survive: QoS 0 promises nothing.
fn is_durable(message: &Queued) -> bool {
    matches!(message.qos, Qos::One | Qos::Two)
}

/// Adds what changed in the session since it was stored.
pub(super) fn session_changes(
    changes: &mut Changes,
    bodies: &mut Bodies,
    octets: &mut Vec<u8>,
    shares: &Shares,
    session: &mut Session,
) {
    let Some(mut shadow) = session.shadow.take() else {
        return;
    };
    let id = session.id;
    let now = Some(session_hash(octets, session));
    if shadow.session != now {
        shadow.session = now;
        changes.put(&Key::Session(id), octets);
    }
    let will = will_hash(octets, session);
    if shadow.will != will {
        shadow.will = will;
        match will {
            Some(_) => changes.put(&Key::Will(id), octets),
            None => changes.delete(&Key::Will(id)),
        }
    }
    let due = due_hash(octets, session);
    if shadow.due != due {
        shadow.due = due;
        match due {
            Some(_) => changes.put(&Key::Due(id), octets),
            None => changes.delete(&Key::Due(id)),
        }
    }
    let mut topic_ids = BTreeMap::new();
    session.topic_ids.take_changes(|topic, topic_id, known_in| {
        topic_ids.insert(
            topic_id,
            TopicIdRecord {
                topic: topic.0,
                known_in,
            },
        );
    });
    for (topic_id, record) in topic_ids {
        changes.put_record(&Key::TopicId(id, topic_id), &record);
    }
    if shadow.received != session.received {
        for &msg_id in shadow.received.difference(&session.received) {
            changes.delete(&Key::Received(id, msg_id));
        }
        for &msg_id in session.received.difference(&shadow.received) {
            changes.put(&Key::Received(id, msg_id), &[]);
        }
        shadow.received.clone_from(&session.received);
    }
    shadow.removed_inside = session.outbox.take_removed_inside();
    queue_changes(changes, bodies, shares, session, &mut shadow);
    exchange_changes(changes, session, &mut shadow.exchange);
    session.shadow = Some(shadow);
}

/// A queue grows at its end and shrinks at its front, so only the ends are compared.
fn queue_changes(
    changes: &mut Changes,
    bodies: &mut Bodies,
    shares: &Shares,
    session: &Session,
    shadow: &mut Shadow,
) {
    let stored = &mut shadow.queue;
    let id = session.id;
    let first = session
        .outbox
        .unfinished()
        .next()
        .map(|message| message.seq);
    while let Some(front) = stored.front()
        && first.is_none_or(|first| front.seq < first)
    {
        front.delete(changes, bodies, id);
        stored.pop_front();
    }
    if shadow.removed_inside {
        let here: BTreeSet<u64> = session.outbox.unfinished().map(|m| m.seq).collect();
        stored.retain(|message| {
            let kept = here.contains(&message.seq);
            if !kept {
                message.delete(changes, bodies, id);
            }
            kept
        });
    }
    let new = session.outbox.unfinished().rev();
    let new: Vec<&Queued> = new
        .take_while(|message| message.seq > shadow.seen)
        .filter(|message| is_durable(message))
        .collect();
    for message in new.into_iter().rev() {
        let record = QueuedRecord {
            topic: message.topic.0,
            qos: message.qos.bits(),
            retain: message.retain,
            body: bodies.add(changes, &message.payload),
        };
        changes.put_record(&Key::Queued(id, message.seq), &record);
        if let Some(shared) = message.shared
            && let Some(filter) = shares.filter(shared.share)
        {
            let record = SharedRecord {
                filter,
                publisher: shared.publisher.0,
            };
            changes.put_record(&Key::Shared(id, message.seq), &record);
        }
        stored.push_back(Stored::of(message));
    }
    shadow.seen = session.outbox.last_seq();
}

fn exchange_changes(changes: &mut Changes, session: &Session, stored: &mut ExchangeRecord) {
    let outbox = &session.outbox;
    let waiting = outbox.front().and_then(|front| {
        Some(SentRecord {
            seq: front.seq,
            msg_id: front.sent_as?.0,
            alias: None,
        })
    });
    let (sent, release) = match &outbox.in_flight {
        Some(InFlight {
            msg_id,
            exchange: Exchange::Publish { message, alias },
            ..
        }) => {
            let sent = SentRecord {
                seq: message.seq,
                msg_id: msg_id.0,
                alias: Some((alias.topic_id_type.bits(), alias.topic_id)),
            };
            (Some(sent), None)
        }
        Some(InFlight {
            msg_id,
            exchange: Exchange::Release,
            ..
        }) => (waiting, Some(msg_id.0)),
        Some(InFlight {
            exchange: Exchange::Register { .. },
            ..
        })
        | None => (waiting, None),
    };
    // An exchange that ends is not noted as such: its message is gone, which says the same.
    let new_sent = sent.is_some() && sent != stored.sent;
    if new_sent || release != stored.release {
        *stored = ExchangeRecord {
            last_msg_id: session.last_msg_id,
            sent,
            release,
        };
        changes.put_record(&Key::Exchange(session.id), stored);
    }
}

/// Adds the deletion of all that is stored of a session.
pub(super) fn ended_changes(changes: &mut Changes, bodies: &mut Bodies, ended: &Ended) {
    let id = ended.id;
    let shadow = &ended.shadow;
    if shadow.session.is_none() {
        return;
    }
    changes.delete(&Key::Session(id));
    if shadow.will.is_some() {
        changes.delete(&Key::Will(id));
    }
    if shadow.due.is_some() {
        changes.delete(&Key::Due(id));
    }
    for &topic_id in &ended.topic_ids {
        changes.delete(&Key::TopicId(id, topic_id));
    }
    if shadow.exchange != ExchangeRecord::default() {
        changes.delete(&Key::Exchange(id));
    }
    for &msg_id in &shadow.received {
        changes.delete(&Key::Received(id, msg_id));
    }
    for message in &shadow.queue {
        message.delete(changes, bodies, id);
    }
}
