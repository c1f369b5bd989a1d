//! What becomes of what arrives: frames, messages of the contract, and what the controller asks of the
//! switch.

use std::time::Instant;

use super::{Item, World};
use crate::frame::{Checksum, Datagram};
use crate::histories::client::broker_at;
use crate::histories::links::Way;
use crate::histories::rpc::Ask;
use crate::histories::sabotage::Sabotage;
use crate::hosts::BROKER;

impl World<'_> {
    pub(super) fn send_frames(&mut self, n: usize) {
        for frame in self.clients[n].take_frames() {
            let item = Item::Frame {
                frame,
                by_broker: false,
            };
            let way = Way::Up(n as u8);
            self.links
                .send(self.now, way, self.history.pace.links, item);
        }
    }

    /// Frames that leave the switch; `by_broker` where the broker sent what made them.
    pub(super) fn leave(&mut self, left: Vec<(u32, Vec<u8>)>, from: Option<u32>) {
        let broker = u32::from(BROKER.port);
        let by_broker = from == Some(broker);
        for (port, frame) in left {
            let way = match port {
                port if port == broker => Way::ToBroker,
                // Nobody is there any more, or not yet.
                port => match self.clients.iter().find(|client| client.port() == port) {
                    Some(client) => Way::Down(client.n),
                    None => continue,
                },
            };
            let item = Item::Frame { frame, by_broker };
            self.links
                .send(self.now, way, self.history.pace.links, item);
        }
    }

    pub(super) fn arrive(&mut self, way: Way, item: Item) {
        match &item {
            Item::Ask(Ask::Write(_, updates, _)) => self.note(format!("{updates:?}").as_bytes()),
            Item::ToBroker(_, message) => self.note(format!("{message:?}").as_bytes()),
            _ => {}
        }
        let (now, at, round) = (self.now, self.at(), self.round);
        match (way, item) {
            (Way::Up(n), Item::Frame { frame, .. }) => {
                self.note(&frame);
                match &mut self.control {
                    Some(control) => {
                        let port = self.clients[usize::from(n)].port();
                        let left = control.frame(now, port, &frame);
                        self.leave(left, Some(port));
                    }
                    None => self.leave(vec![(BROKER.port.into(), frame)], None),
                }
            }
            (Way::FromBroker, Item::Frame { frame, .. }) => {
                let port = u32::from(BROKER.port);
                match &mut self.control {
                    Some(control) => {
                        let left = control.frame(now, port, &frame);
                        self.leave(left, Some(port));
                    }
                    None => {
                        let n = frame[5];
                        let to = self.clients[usize::from(n)].port();
                        self.leave(vec![(to, frame)], Some(port));
                    }
                }
            }
            (Way::ToBroker, Item::Frame { frame, .. }) => self.broker_hears(at, &frame),
            (Way::Down(n), Item::Frame { frame, by_broker }) => {
                self.note(&frame);
                self.clients[usize::from(n)].hear(now, at, round, (&frame, by_broker));
                self.send_frames(n.into());
            }
            (Way::ContractUp(who), Item::ToBroker(number, message)) => {
                self.contract(at, who, number, message);
            }
            (_, Item::Closed(number)) => self.link_closed(at, number),
            // The controller sees it when it is polled.
            (_, Item::HungUp(end)) => drop(end),
            (Way::ContractDown(who), Item::ToController(number, message)) => {
                if let Some(control) = &self.control
                    && let Some(link) = &control.seats[usize::from(who)].link
                    && link.number == number
                {
                    // The controller may have closed it: that is seen when it is polled.
                    let _ = link.end.tx.send(message);
                }
            }
            (Way::ContractUp(who), Item::Ask(Ask::Link(dialling))) => {
                if let Some(control) = &mut self.control {
                    control.seats[usize::from(who)].dialling.push(dialling);
                }
            }
            (Way::Requests(who) | Way::StreamIn(who), Item::Ask(mut ask)) => {
                if let Some(sabotage) = self.sabotage {
                    sabotage.spoil(&mut ask);
                }
                if let Some(control) = &mut self.control {
                    let left = control.ask(now, who, ask);
                    self.leave(left, None);
                }
            }
            (_, Item::Answer(answer)) => answer(),
            (_, Item::Event(connection, event)) => {
                if let Some(control) = &mut self.control {
                    control.hear(connection, event);
                }
            }
            (way, _) => unreachable!("this does not go by {way:?}"),
        }
    }

    fn broker_hears(&mut self, at: Instant, frame: &[u8]) {
        self.note(frame);
        let Ok(datagram) = Datagram::read(frame) else {
            return;
        };
        if datagram.eth_dst != BROKER.mac
            || datagram.dst != broker_at(datagram.dst.is_ipv6())
            || matches!(datagram.checksum, Checksum::Flipped(_))
            || !self.broker_runs()
        {
            return;
        }
        let mut payload = &datagram.payload[..];
        if self.sabotage == Some(Sabotage::NoGenerations) && payload.starts_with(&[14, 0xfe]) {
            payload = &payload[14..];
        }
        self.host.broker.handle_datagram(at, datagram.src, payload);
    }
}
