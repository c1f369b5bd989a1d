//! What happens in a history.

use controller::{OnBrokerLoss, Policy};
use mqttsn::types::Qos;

use super::client::Client;
use crate::topics::Topic;

/// Everything that happens, and how it is scheduled. The same history gives the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Seed of every choice of the scheduler: latencies, and what of several things comes first.
    pub seed: u64,
    /// How many clients there are.
    pub clients: u8,
    /// Those of them that live at an IPv6 address.
    pub v6: Vec<u8>,
    /// Those of them whose frames carry an 802.1Q tag.
    pub tagged: Vec<u8>,
    /// How long things take at most.
    pub pace: Pace,
    /// How much the switch holds; `None` for as much as the program says.
    pub room: Option<Room>,
    /// What the controller offloads.
    pub policy: Policy,
    /// The broker keeps its sessions and messages when it ends.
    pub persistent: bool,
    /// What the controller does when the broker is lost.
    pub on_broker_loss: OnBrokerLoss,
    /// A second controller stands by, with this election id; that of the first is 2.
    pub standby: Option<u64>,
    /// One after the other.
    pub rounds: Vec<Round>,
}

/// The greatest latencies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Of a frame on the wire of a client or of the broker.
    pub links: u16,
    /// Of a message between broker and controller.
    pub contract: u16,
    /// Of a request to the switch, of its answer, and of what the switch says by itself.
    pub switch: u16,
}

/// Bounds of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Entries of one table.
    pub entries: u16,
    /// Multicast groups.
    pub groups: u16,
}

/// What happens at the same time. The next round begins when all of it is answered and no frame is
/// under way; the controller may still be at work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The steps, in the order of their times.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds after the round began.
    pub at: u16,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A client does something.
    Client(u8, Op),
    /// Something goes wrong between broker, controller and switch. The broker alone knows nothing
    /// of it. The number says which controller, where it is about one: 1 is the standby.
    Fault(u8, Fault),
    /// The round takes at least so long.
    Wait,
}

/// A will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillOf {
    /// Topic name.
    pub topic: String,
    /// QoS 0 to 2.
    pub qos: Qos,
    /// Retain flag.
    pub retain: bool,
}

/// How a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// CleanSession.
    pub clean: bool,
    /// Keep alive timer, in seconds. A client whose timer is short says PINGREQ in time.
    pub keep_alive: u16,
    /// The will.
    pub will: Option<WillOf>,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// CONNECT.
    Connect(Connecting),
    /// CONNECT from the same address with another ClientId: the former client is lost.
    Lose(Connecting),
    /// CONNECT with the same ClientId from another address. `clean` is CleanSession.
    Roam {
        /// CleanSession.
        clean: bool,
        /// Another IP address; else another UDP port.
        ip: bool,
    },
    /// SUBSCRIBE.
    Subscribe(Topic, Qos),
    /// UNSUBSCRIBE.
    Unsubscribe(Topic),
    /// REGISTER where needed, then PUBLISH several times.
    Publish {
        /// The topic.
        topic: Topic,
        /// QoS.
        qos: Qos,
        /// Retain flag.
        retain: bool,
        /// How many messages.
        count: u8,
        /// Milliseconds between two of them.
        gap: u8,
    },
    /// The last PUBLISH of QoS 1 again, with DUP.
    Again,
    /// A message of longer than its tagged copy may be, PUBLISH at QoS −1 under a short name.
    Long([u8; 2]),
    /// A PUBLISH at QoS −1 that is damaged on its way.
    Damaged([u8; 2]),
    /// A datagram that says nothing, with another client's address as its source.
    Spoof(u8),
    /// A tag of the data plane, in front of a PUBLISH, from a UDP port of its own.
    Forge {
        /// The topic index that the tag names.
        topic: u8,
        /// The generation.
        generation: u8,
    },
    /// The client's host moves to another port of the switch, with its addresses, and says PINGREQ
    /// until it is heard, and once more later. The round lasts until everybody must know where it is.
    Move,
    /// DISCONNECT.
    Disconnect,
    /// DISCONNECT with a duration. From its answer on the client hears nothing.
    Sleep,
    /// PINGREQ of a sleeping client, that hears until PINGRESP.
    Wake,
    /// The client is gone without a word. The round lasts until the broker must have noticed.
    Crash,
}

/// What goes wrong. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The controller is killed, and started again after this time.
    Kill(u16),
    /// The controller does nothing for this time.
    Freeze(u16),
    /// The connection of broker and controller ends, and no other can be had for this time.
    CutBroker(u16),
    /// Nothing gets through between broker and controller for this time.
    StallBroker(u16),
    /// The connection of controller and switch ends, and no other can be had for this time.
    CutSwitch(u16),
    /// Nothing gets through between controller and switch for this time.
    StallSwitch(u16),
    /// The switch refuses so many updates.
    Refuse(u16),
    /// The switch starts anew: with its program, without entries. A round of its own, for frames
    /// are lost until the controller has been there.
    Restart,
    /// The broker is killed, and starts again after this time; the broker alone, too. A round of
    /// its own, for what clients say meanwhile is lost.
    RestartBroker(u16),
}

/// The VLAN of tagged clients.
const VLAN: u16 = 7;

impl History {
    /// Client `n`, before it does anything.
    pub(super) fn client(&self, n: u8) -> Client {
        let tag = self.tagged.contains(&n).then_some(VLAN);
        Client::new(n, self.v6.contains(&n), tag)
    }

    /// Whether hosts move to other ports of the switch.
    pub(super) fn moves(&self) -> bool {
        let mut steps = self.rounds.iter().flat_map(|round| &round.steps);
        steps.any(|step| matches!(step.what, What::Client(_, Op::Move)))
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.rounds.iter().map(|round| round.steps.len()).sum()
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
