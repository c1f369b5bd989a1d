//! Rounds: when they begin and end, and what happens in them.

use super::{Phase, STUCK, World};
use crate::histories::client::{Client, LONG};
use crate::histories::events::{Fault, Op, What};
use crate::histories::generate::ENDING;
use crate::histories::links::{Millis, Way};
use crate::histories::seat::Who;

/// More than the broker waits before it sends something again.
const MOVED: Millis = 15_000;

impl World<'_> {
    /// Begins and ends rounds, and begins steps.
    pub(super) fn advance(&mut self) {
        loop {
            match self.phase {
                Phase::Over => return,
                Phase::Before(start) => {
                    let not_before = self.not_before.get(self.round).copied().unwrap_or(0);
                    let grants = self.host.broker.stats().grants;
                    let in_force = self.broker_runs() && grants >= self.grants_wanted;
                    if self.now > start + STUCK {
                        self.stuck(format!("not in force before round {}", self.round));
                        return;
                    }
                    if self.now < start.max(not_before) || !in_force {
                        return self.postpone(not_before);
                    }
                    if self.round >= self.history.rounds.len() {
                        self.phase = Phase::Over;
                        return;
                    }
                    self.starts.push(self.now);
                    self.phase = Phase::During {
                        start: self.now,
                        until: self.now,
                        next: 0,
                    };
                }
                Phase::During { start, until, next } => {
                    let steps = &self.history.rounds[self.round].steps;
                    if let Some(step) = steps.get(next) {
                        if self.now < start + Millis::from(step.at) {
                            return;
                        }
                        let what = step.what.clone();
                        let until = until.max(self.begin(&what));
                        self.phase = Phase::During {
                            start,
                            until,
                            next: next + 1,
                        };
                        continue;
                    }
                    let busy = self.clients.iter().find(|client| !client.is_idle());
                    if self.now > until + STUCK {
                        let who = busy.map(|client| (client.n, client.taken.last().cloned()));
                        self.stuck(format!("round {} does not end: {who:?}", self.round));
                        return;
                    }
                    if self.now < until || busy.is_some() || !self.links.is_quiet() {
                        return;
                    }
                    self.round += 1;
                    self.phase = Phase::Before(self.now + 1);
                    let ending = self.round + ENDING == self.history.rounds.len();
                    if ending && self.history.standby.is_some() && self.control.is_some() {
                        // One of them leads in the end, whatever went wrong.
                        self.grants_wanted = self.host.broker.stats().grants + 2;
                    }
                }
            }
        }
    }

    fn postpone(&mut self, not_before: Millis) {
        if let Phase::Before(start) = &mut self.phase
            && *start < not_before
        {
            *start = not_before;
        }
    }

    fn stuck(&mut self, why: String) {
        self.strange.push(why);
        self.phase = Phase::Over;
    }

    /// Begins a step; until when the round lasts at least.
    fn begin(&mut self, what: &What) -> Millis {
        let (now, at, round) = (self.now, self.at(), self.round);
        match what {
            What::Wait => now,
            What::Client(n, op) => {
                let index = usize::from(*n);
                let keep_alive = self.clients[index].keep_alive();
                self.clients[index].begin(now, round, op);
                self.clients[index].poll(now, at, round);
                self.send_frames(index);
                match op {
                    // Until everybody must know, and what was lost has come again.
                    Op::Move if !self.clients[index].is_idle() => {
                        if self.control.is_some() {
                            self.grants_wanted = self.host.broker.stats().grants + 2;
                        }
                        now + MOVED
                    }
                    // Until the broker must have noticed: its tolerance, once more if a row of the
                    // publisher's came or went meanwhile (docs/data-plane.md), and the time in
                    // which it asks for activity.
                    Op::Crash if keep_alive < LONG => {
                        now + Millis::from(keep_alive) * 1500 * 2 + 2500
                    }
                    _ => now,
                }
            }
            What::Fault(_, Fault::RestartBroker(ms)) => {
                if self.clients.iter().any(Client::pings) {
                    return now; // Nobody may miss an answer.
                }
                let until = now + Millis::from(*ms);
                self.kill_broker(until);
                until
            }
            What::Fault(who, fault) => {
                self.fault(*who, *fault);
                now
            }
        }
    }

    fn fault(&mut self, who: Who, fault: Fault) {
        let now = self.now;
        let at = self.at();
        let until = |ms: u16| now + Millis::from(ms);
        let toward_controller = [
            Way::Answers(who),
            Way::StreamOut(who),
            Way::ContractDown(who),
        ];
        let stands_by = self.history.standby.is_some();
        let Some(control) = &mut self.control else {
            return;
        };
        let Some(seat) = control.seats.get_mut(usize::from(who)) else {
            return;
        };
        match fault {
            Fault::Kill(ms) => {
                seat.starts_at = Some(until(ms));
                control.kill(who);
                for way in toward_controller {
                    self.links.lose(way);
                }
            }
            Fault::Freeze(ms) => {
                seat.frozen_until = seat.frozen_until.max(until(ms));
                if stands_by {
                    seat.silent(now, until(ms));
                }
                for way in toward_controller {
                    self.links.stall(way, until(ms));
                }
            }
            Fault::CutBroker(ms) => {
                seat.broker_cut_until = seat.broker_cut_until.max(until(ms));
                if let Some(link) = seat.link.take() {
                    self.link_closed(at, link.number);
                }
            }
            Fault::StallBroker(ms) => {
                if stands_by {
                    seat.silent(now, until(ms));
                }
                self.links.stall(Way::ContractDown(who), until(ms));
                self.links.stall(Way::ContractUp(who), until(ms));
            }
            Fault::CutSwitch(ms) => {
                seat.switch_cut_until = seat.switch_cut_until.max(until(ms));
                control.cut_switch(who);
                self.links.lose(Way::Requests(who));
                self.links.lose(Way::Answers(who));
            }
            Fault::StallSwitch(ms) => {
                let (requests, answers) = (Way::Requests(who), Way::Answers(who));
                for way in [requests, answers, Way::StreamIn(who), Way::StreamOut(who)] {
                    self.links.stall(way, until(ms));
                }
            }
            Fault::RestartBroker(_) => {} // Of the broker alone, too.
            Fault::Refuse(updates) => control.refuses = control.refuses.saturating_add(updates),
            Fault::Restart => {
                // Frames are lost until the controller has been there: nobody may miss one.
                if self.clients.iter().any(Client::pings) {
                    return;
                }
                control.restart();
                self.grants_wanted = self.host.broker.stats().grants + 2;
            }
        }
    }
}
