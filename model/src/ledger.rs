//! What clients are owed and what they got: the one law, kept beside the model and never read by it.

use crate::{CLIENTS, Client, Clients};

/// Whether a client is to get what is published at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has not asked, or its UNSUBACK was sent.
    #[default]
    Out,
    /// Its SUBACK or UNSUBACK is still to come: it may get it or not.
    Between,
    /// Its SUBACK was sent: it must get it, and once.
    In,
}

/// One PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// To which topic.
    pub topic: u8,
    /// At QoS 1, else at QoS 0.
    pub qos1: bool,
    /// Who must get it.
    pub owed: Clients,
    /// Who may get it, those included who must.
    pub welcome: Clients,
    /// How often each client got it.
    pub got: [u8; CLIENTS],
    /// How often it was acknowledged.
    pub pubacks: u8,
}

impl Message {
    pub(crate) fn new(topic: u8, qos1: bool) -> Self {
        Message {
            topic,
            qos1,
            owed: 0,
            welcome: 0,
            got: [0; CLIENTS],
            pubacks: 0,
        }
    }

    /// Now it counts as published: when the switch offloads it, else when the broker has it. A broker
    /// alone would look at its subscribers at such a moment.
    pub(crate) fn takes_effect(&mut self, standing: impl Fn(Client) -> Standing) {
        for client in 0..CLIENTS {
            match standing(client) {
                Standing::Out => {}
                Standing::Between => self.welcome |= 1 << client,
                Standing::In => {
                    self.owed |= 1 << client;
                    self.welcome |= 1 << client;
                }
            }
        }
    }

    /// Nobody got it twice.
    pub fn is_single(&self) -> bool {
        self.got.iter().all(|&times| times <= 1)
    }

    /// Nobody got it who may not.
    pub fn is_private(&self) -> bool {
        (0..CLIENTS).all(|client| self.got[client] == 0 || self.welcome & (1 << client) != 0)
    }

    /// All got it who must.
    pub fn is_complete(&self) -> bool {
        (0..CLIENTS).all(|client| self.got[client] > 0 || self.owed & (1 << client) == 0)
    }
}
