//! The broker's links to its controllers: what its driver does with them (broker/src/driver/links.rs).

use std::time::Instant;

use offload::{FromBroker, FromController};

use super::{Item, World};
use crate::histories::links::Way;
use crate::histories::sabotage::Sabotage;
use crate::histories::seat::{Link, Seat, Who};

impl World<'_> {
    fn seats(&mut self) -> &mut [Seat] {
        match &mut self.control {
            Some(control) => &mut control.seats,
            None => &mut [],
        }
    }

    /// The controller's end of this link.
    fn link(&mut self, number: u64) -> Option<(Who, &mut Link)> {
        self.seats().iter_mut().find_map(|seat| {
            let link = seat.link.as_mut()?;
            (link.number == number).then_some((seat.who, link))
        })
    }

    /// A message of the contract arrives: a link begins with Hello, or with Standby.
    pub(super) fn contract(&mut self, at: Instant, who: Who, number: u64, message: FromController) {
        let leads = self.leader == Some(number);
        let led = self.leader.is_some();
        let Some((_, link)) = self.link(number) else {
            return;
        };
        match &message {
            FromController::Hello { election_id, .. } if !leads && !link.watches => {
                if !self.host.broker.takes_controller(at, *election_id) {
                    self.hang_up(who);
                    return;
                }
                let before = self.leader.replace(number);
                if let Some((before, _)) = before.and_then(|number| self.link(number)) {
                    self.hang_up(before);
                }
                let last = self.led_by.replace(who);
                self.takeovers += u64::from(last.is_some_and(|last| last != who));
                self.host.broker.link_up(at);
            }
            FromController::Standby { .. } if !leads => {
                link.watches = true;
                self.tell(who, number, FromBroker::Led(led));
                return;
            }
            _ if !leads => return,
            _ => {}
        }
        let message = match (self.sabotage, message) {
            (
                Some(Sabotage::NobodyPublishes),
                FromController::Activity {
                    query,
                    mut sessions,
                },
            ) => {
                for session in &mut sessions {
                    session.idle = None;
                }
                FromController::Activity { query, sessions }
            }
            (_, message) => message,
        };
        self.host.broker.handle_offload(at, message);
    }

    fn tell(&mut self, who: Who, number: u64, message: FromBroker) {
        let item = Item::ToController(number, message);
        let contract = self.history.pace.contract;
        let way = Way::ContractDown(who);
        self.links.send(self.now, way, contract, item);
    }

    /// A message for who leads.
    pub(super) fn tell_leader(&mut self, message: FromBroker) {
        let leader = self.leader;
        if let Some((who, link)) = leader.and_then(|number| self.link(number)) {
            let number = link.number;
            self.tell(who, number, message);
        }
    }

    /// Those who wait hear when somebody leads, or nobody does any more.
    pub(super) fn tell_standbys(&mut self) {
        let led = self.leader.is_some();
        if std::mem::replace(&mut self.told, led) == led {
            return;
        }
        let links = self.seats().iter().filter_map(|seat| {
            let link = seat.link.as_ref()?;
            link.watches.then_some((seat.who, link.number))
        });
        for (who, number) in links.collect::<Vec<_>>() {
            self.tell(who, number, FromBroker::Led(led));
        }
    }

    /// The broker closes the link of this controller, which hears of it.
    fn hang_up(&mut self, who: Who) {
        let (now, contract) = (self.now, self.history.pace.contract);
        if let Some(link) = self.seats()[usize::from(who)].link.take() {
            let (way, item) = (Way::ContractDown(who), Item::HungUp(link.end));
            self.links.send(now, way, contract, item);
        }
    }

    /// Controllers of which the broker has heard nothing for long.
    pub(super) fn give_up(&mut self) {
        let (now, at) = (self.now, self.at());
        let seats = self.seats().iter_mut();
        let given_up = seats.filter_map(|seat| seat.is_given_up(now).then_some(seat.who));
        for who in given_up.collect::<Vec<_>>() {
            let link = self.seats()[usize::from(who)].link.as_ref();
            if let Some(number) = link.map(|link| link.number) {
                self.hang_up(who);
                self.link_closed(at, number);
            }
        }
    }

    /// A link is gone.
    pub(super) fn link_closed(&mut self, at: Instant, number: u64) {
        if self.leader == Some(number) {
            self.leader = None;
            self.host.broker.link_down(at);
        }
    }
}
