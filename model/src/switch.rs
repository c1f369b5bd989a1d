//! The switch: rows, packets between their stages, and the lease register.

use crate::rules::{Mutant, Rules};
use crate::{Clients, GROUPS, RIDS, TOPICS};

/// A row of `topic`: the action `offload`, or `discard` where both groups are none and nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicRow {
    /// As it is on the wire.
    pub generation: u8,
    /// For QoS 0 and 1.
    pub groups: [Option<u8>; 2],
    /// Whether the broker gets a tagged copy, at QoS 0 and 1.
    pub copy: [bool; 2],
    /// Whether the switch sends the PUBACK.
    pub ack_q1: bool,
}

/// The members of a multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replicas {
    /// A bit for each replication id.
    pub rids: u8,
    /// The broker's copy.
    pub copy: bool,
}

/// The tables that the change protocol writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    /// `topic`, by topic index.
    pub topics: [Option<TopicRow>; TOPICS],
    /// Multicast groups.
    pub groups: [Option<Replicas>; GROUPS],
    /// `subscriber`, by replication id: whose address it writes.
    pub subscribers: [Option<u8>; RIDS],
}

/// One update of a P4Runtime Write; without a value it deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// A row of `topic`.
    Topic(u8, Option<TopicRow>),
    /// A multicast group.
    Group(u8, Option<Replicas>),
    /// A row of `subscriber`.
    Subscriber(u8, Option<u8>),
}

impl Write {
    pub(crate) fn is_delete(&self) -> bool {
        matches!(
            self,
            Write::Topic(_, None) | Write::Group(_, None) | Write::Subscriber(_, None)
        )
    }
}

impl Rows {
    pub(crate) fn apply(&mut self, write: Write) {
        match write {
            Write::Topic(at, value) => self.topics[usize::from(at)] = value,
            Write::Group(at, value) => self.groups[usize::from(at)] = value,
            Write::Subscriber(at, value) => self.subscribers[usize::from(at)] = value,
        }
    }

    pub(crate) fn group_in_use(&self, group: usize) -> bool {
        let group = Some(group as u8);
        self.topics
            .iter()
            .flatten()
            .any(|row| row.groups.contains(&group))
    }

    pub(crate) fn rid_in_use(&self, rid: usize) -> bool {
        self.groups
            .iter()
            .flatten()
            .any(|replicas| replicas.rids & (1 << rid) != 0)
    }
}

/// A packet after ingress and before replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decided {
    /// It goes to the members that this group has when its turn comes.
    Multicast {
        /// Which message.
        message: u8,
        /// The group.
        group: u8,
        /// For the tag of the broker's copy.
        generation: u8,
    },
    /// Bridged to the broker.
    Untagged(u8),
    /// Bridged to a client: the DISCONNECT that lets it sleep.
    SleepAck(u8),
}

/// A packet in the queue of the clients' port, before egress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToClient {
    /// A copy; egress looks its replication id up.
    Copy {
        /// Which message.
        message: u8,
        /// The replication id.
        rid: u8,
    },
    /// The DISCONNECT that lets a client sleep.
    SleepAck(u8),
}

/// A packet on its way to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToBroker {
    /// A copy with a tag.
    Tagged {
        /// Which message.
        message: u8,
        /// The tag's generation.
        generation: u8,
    },
    /// The PUBLISH itself.
    Untagged(u8),
}

/// The switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Switch {
    /// What its tables hold.
    pub rows: Rows,
    /// Packets between ingress and replication, in their order.
    pub decided: Vec<Decided>,
    /// The clients' port. All live behind one, so that a copy with a wrong replication id arrives.
    pub to_clients: Vec<ToClient>,
    /// The broker's port.
    pub to_broker: Vec<ToBroker>,
    /// The lease register, as the number of a grant.
    pub lease: u8,
    /// Grants up to this one are over by the switch's clock.
    pub expired: u8,
    /// Packet-outs that set the lease, on their way.
    pub setting: Vec<u8>,
    /// Clients whose endpoint was learned.
    pub endpoints: Clients,
    /// Writes of a controller that is gone.
    pub orphans: Vec<Write>,
}

/// What ingress decides for a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Offloaded, and whether the switch acknowledges it.
    Offloaded {
        /// The switch sends a PUBACK.
        acknowledged: bool,
    },
    /// To the broker, untouched.
    Software,
}

impl Switch {
    /// The lease register is compared with the clock (`ingress.p4`).
    pub fn is_live(&self) -> bool {
        self.lease > self.expired
    }

    /// `ingress.p4`: lease, topic, path.
    pub(crate) fn ingress(&mut self, message: u8, topic: u8, qos1: bool) -> Verdict {
        let row = self.rows.topics[usize::from(topic)].filter(|_| self.is_live());
        let side = usize::from(qos1);
        match row {
            // PATH_COPY_ONLY: nobody but the broker wants it.
            Some(row) if row.copy[side] && row.groups[side].is_none() => {}
            Some(row) => {
                if let Some(group) = row.groups[side] {
                    self.decided.push(Decided::Multicast {
                        message,
                        group,
                        generation: row.generation,
                    });
                }
                let acknowledged = qos1 && row.ack_q1;
                return Verdict::Offloaded { acknowledged };
            }
            None => {}
        }
        self.bridge(Decided::Untagged(message));
        Verdict::Software
    }

    /// What is bridged stays behind what was decided before it. A queue of its own would only add
    /// states: the port's queue can delay it as well.
    pub(crate) fn bridge(&mut self, packet: Decided) {
        if self.decided.is_empty() {
            self.enqueue(packet);
        } else {
            self.decided.push(packet);
        }
    }

    /// The DISCONNECT that lets a client sleep comes from the broker's port.
    pub(crate) fn sleep_ack(&mut self, rules: &Rules, client: u8) {
        if rules.is(Mutant::SwitchReorders) {
            self.to_clients.insert(0, ToClient::SleepAck(client));
        } else {
            self.bridge(Decided::SleepAck(client));
        }
    }

    fn enqueue(&mut self, packet: Decided) {
        match packet {
            Decided::Untagged(message) => self.to_broker.push(ToBroker::Untagged(message)),
            Decided::SleepAck(client) => self.to_clients.push(ToClient::SleepAck(client)),
            Decided::Multicast {
                message,
                group,
                generation,
            } => {
                // A group that is gone has no members.
                let Some(replicas) = self.rows.groups[usize::from(group)] else {
                    return;
                };
                for rid in 0..RIDS as u8 {
                    if replicas.rids & (1 << rid) != 0 {
                        self.to_clients.push(ToClient::Copy { message, rid });
                    }
                }
                if replicas.copy {
                    self.to_broker.push(ToBroker::Tagged {
                        message,
                        generation,
                    });
                }
            }
        }
    }

    /// Replication of the oldest packet.
    pub(crate) fn replicate(&mut self) {
        if !self.decided.is_empty() {
            let packet = self.decided.remove(0);
            self.enqueue(packet);
        }
    }

    /// Whether a packet that came before the message numbered `mark` still needs groups or rows.
    pub(crate) fn holds_older_than(&self, mark: u8) -> bool {
        let decided = self
            .decided
            .iter()
            .any(|packet| matches!(packet, Decided::Multicast { message, .. } if *message < mark));
        decided
            || self
                .to_clients
                .iter()
                .any(|packet| matches!(packet, ToClient::Copy { message, .. } if *message < mark))
    }

    /// Whether a copy that says this of itself is under way to the broker.
    pub(crate) fn tags(&self, is: impl Fn(u8, u8) -> bool) -> bool {
        let decided = self.decided.iter().any(|packet| match packet {
            Decided::Multicast {
                message,
                generation,
                ..
            } => is(*message, *generation),
            Decided::Untagged(_) | Decided::SleepAck(_) => false,
        });
        decided
            || self.to_broker.iter().any(|packet| match packet {
                ToBroker::Tagged {
                    message,
                    generation,
                } => is(*message, *generation),
                ToBroker::Untagged(_) => false,
            })
    }

    /// Whether the message is still in the network.
    pub(crate) fn carries(&self, wanted: u8) -> bool {
        self.decided.iter().any(|packet| match packet {
            Decided::Multicast { message, .. } | Decided::Untagged(message) => *message == wanted,
            Decided::SleepAck(_) => false,
        }) || self
            .to_clients
            .iter()
            .any(|packet| matches!(packet, ToClient::Copy { message, .. } if *message == wanted))
            || self.to_broker.iter().any(|packet| match packet {
                ToBroker::Tagged { message, .. } | ToBroker::Untagged(message) => {
                    *message == wanted
                }
            })
    }

    /// A packet-out sets the register.
    pub(crate) fn set_lease(&mut self, rules: &Rules) {
        if self.setting.is_empty() {
            return;
        }
        let grant = self.setting.remove(0);
        self.lease = grant;
        if rules.is(Mutant::LateRenewalExtends) {
            // The deadline counts from its arrival.
            self.expired = self.expired.min(grant - 1);
        }
    }
}
