//! When a controller that is not primary takes over.
//!
//! ```text
//!                 nobody is primary, or the broker says that nobody leads
//!   Waiting ────────────────────────────────────────────────────────────────▶ Doubting
//!      ▲                                                                          │
//!      └──────────────── somebody is primary, and linked to the broker ◀──────────┤
//!                                                                                 │ takeover_ms
//!                                                                                 ▼
//!                                                              bid with the highest election id + 1
//! ```
//! A switch promotes nobody unasked (P4Runtime specification, "Client Arbitration and Controller
//! Replication"), and it notices neither that a primary is frozen nor that it lost the broker. So a
//! standby listens to both: the switch says whether there is a primary, the broker whether a
//! controller is linked to it.

use std::time::{Duration, Instant};

use crate::config::{Config, Takeover};

/// So many times `takeover_ms` is the longest that a reason must last.
const MOST: u32 = 64;

/// What a controller that is not primary knows of who is.
#[derive(Debug)]
pub(crate) struct Standby {
    takeover: Takeover,
    /// `takeover_ms`.
    least: Duration,
    /// How long a reason must last.
    patience: Duration,
    /// The highest election id that the switch has seen.
    highest: Option<u128>,
    /// The switch says that nobody is primary.
    vacant: bool,
    /// Whether the broker says that a controller is linked; None while it says nothing.
    led: Option<bool>,
    /// Why the broker cannot be asked.
    unlinked: Option<String>,
    /// Since when there is a reason to take over.
    since: Option<Instant>,
}

impl Standby {
    pub(crate) fn new(config: &Config) -> Self {
        let patience = Duration::from_millis(config.takeover_ms);
        Self::waiting(config.takeover, patience, patience)
    }

    /// One that knows nothing yet.
    fn waiting(takeover: Takeover, least: Duration, patience: Duration) -> Self {
        Self {
            takeover,
            least,
            patience,
            highest: None,
            vacant: false,
            led: None,
            unlinked: None,
            since: None,
        }
    }

    /// A connection to the switch begins, or the time as primary is over: nothing is known.
    pub(crate) fn start_over(&mut self) {
        *self = Self::waiting(self.takeover, self.least, self.patience);
    }

    /// This controller was displaced before it led: it still read the switch back, and whoever displaced it
    /// now does. It gives that one twice as long, or the two would displace each other for ever.
    pub(crate) fn displaced(&mut self) {
        self.patience = self.patience.saturating_mul(2).min(self.least * MOST);
    }

    /// This controller led, or the broker says that somebody does.
    pub(crate) fn settled(&mut self) {
        self.patience = self.least;
    }

    /// Whether it helps to ask the broker who leads.
    pub(crate) fn watches(&self) -> bool {
        self.takeover == Takeover::WhenVacant && self.highest.is_some()
    }

    /// The switch says that this controller is not primary.
    pub(crate) fn backup(&mut self, now: Instant, highest: Option<u128>, vacant: bool) {
        if highest.is_some_and(|id| self.highest.is_some_and(|known| id > known)) {
            // Somebody else took over just now, and has the same time for it.
            self.since = None;
        }
        self.highest = highest.or(self.highest);
        self.vacant = vacant;
        self.weigh(now);
    }

    /// The broker says whether a controller is linked to it, or (None) is not to be asked.
    pub(crate) fn led(&mut self, now: Instant, led: Option<bool>) {
        self.led = led;
        self.unlinked = None;
        if led == Some(true) {
            self.settled();
        }
        self.weigh(now);
    }

    /// The broker cannot be asked: why. True where that is news.
    pub(crate) fn unlinked(&mut self, why: String) -> bool {
        let news = self.unlinked.as_ref() != Some(&why);
        self.unlinked = Some(why);
        news
    }

    fn weigh(&mut self, now: Instant) {
        let reason = match self.takeover {
            Takeover::Never => false,
            Takeover::WhenVacant => self.vacant || self.led == Some(false),
            Takeover::Always => true,
        };
        if reason && self.highest.is_some() {
            self.since.get_or_insert(now);
        } else {
            self.since = None;
        }
    }

    /// When it is to take over, if nothing changes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        Some(self.since? + self.patience)
    }

    /// The election id to bid with, when it is time.
    pub(crate) fn due(&self, now: Instant) -> Option<u128> {
        let highest = self.highest?;
        self.next_deadline()
            .is_some_and(|deadline| deadline <= now)
            .then(|| highest.saturating_add(1))
    }

    /// Why it waits, for people.
    pub(crate) fn describe(&self, own: u128) -> String {
        let highest = match self.highest {
            Some(id) => id.to_string(),
            None => return format!("this controller bids with election id {own}"),
        };
        let mut text = match (self.vacant, self.led) {
            (true, _) => format!(
                "no controller is primary; the highest election id was {highest}, this one has {own}"
            ),
            (false, Some(false)) => format!(
                "a controller with election id {highest} is primary but not linked to the broker; \
                 this one has {own}"
            ),
            (false, _) => {
                format!("a controller with election id {highest} is primary; this one has {own}")
            }
        };
        if let Some(why) = &self.unlinked {
            text += &format!("; it could not take over, for it has no link to the broker: {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn standby(takeover: Takeover) -> Standby {
        Standby::new(&Config {
            takeover,
            takeover_ms: 100,
            ..Config::default()
        })
    }

    #[test]
    fn a_vacancy_that_lasts_is_filled_with_the_next_election_id() {
        let mut standby = standby(Takeover::WhenVacant);
        let now = Instant::now();
        standby.backup(now, Some(7), false);
        assert_eq!(standby.next_deadline(), None);
        standby.backup(now, Some(7), true);
        assert_eq!(standby.due(now + PATIENCE / 2), None);
        assert_eq!(standby.due(now + PATIENCE), Some(8));
    }

    #[test]
    fn a_primary_that_comes_back_in_time_stays() {
        let mut standby = standby(Takeover::WhenVacant);
        let now = Instant::now();
        standby.backup(now, Some(7), true);
        standby.backup(now + PATIENCE / 2, Some(7), false);
        assert_eq!(standby.due(now + PATIENCE), None);
    }

    #[test]
    fn a_primary_without_the_broker_is_replaced_and_one_that_cannot_be_asked_about_is_not() {
        let mut standby = standby(Takeover::WhenVacant);
        let now = Instant::now();
        standby.backup(now, Some(7), false);
        standby.led(now, Some(false));
        standby.led(now + PATIENCE / 2, None);
        assert_eq!(standby.due(now + PATIENCE), None);
        standby.led(now + PATIENCE, Some(false));
        assert_eq!(standby.due(now + PATIENCE * 2), Some(8));
    }

    #[test]
    fn another_that_takes_over_gets_as_long_from_then_on() {
        let mut standby = standby(Takeover::WhenVacant);
        let now = Instant::now();
        standby.backup(now, Some(7), false);
        standby.led(now, Some(false));
        standby.backup(now + PATIENCE / 2, Some(8), false);
        assert_eq!(standby.due(now + PATIENCE), None);
        assert_eq!(standby.due(now + PATIENCE * 3 / 2), Some(9));
    }

    #[test]
    fn two_that_displace_each_other_before_either_leads_wait_longer_each_time() {
        let mut standby = standby(Takeover::WhenVacant);
        let now = Instant::now();
        let due_after = |standby: &mut Standby| {
            standby.start_over();
            standby.backup(now, Some(7), false);
            standby.led(now, Some(false));
            standby.next_deadline().map(|at| at - now)
        };
        assert_eq!(due_after(&mut standby), Some(PATIENCE));
        standby.displaced();
        assert_eq!(due_after(&mut standby), Some(PATIENCE * 2));
        standby.displaced();
        assert_eq!(due_after(&mut standby), Some(PATIENCE * 4));
        for _ in 0..100 {
            standby.displaced();
        }
        assert_eq!(due_after(&mut standby), Some(PATIENCE * MOST));
        standby.led(now, Some(true));
        assert_eq!(due_after(&mut standby), Some(PATIENCE));
    }

    #[test]
    fn why_the_broker_cannot_be_asked_is_told_once_and_shown_until_it_can() {
        let mut standby = standby(Takeover::WhenVacant);
        let now = Instant::now();
        standby.backup(now, Some(7), false);
        assert!(standby.unlinked("refused".into()));
        assert!(!standby.unlinked("refused".into()));
        assert!(standby.unlinked("no route".into()));
        let said = standby.describe(3);
        assert!(said.ends_with("no link to the broker: no route"), "{said}");
        standby.led(now, Some(true));
        assert!(!standby.describe(3).contains("no route"));
    }

    #[test]
    fn one_that_is_told_to_wait_waits_and_one_that_is_told_to_lead_does_not() {
        let now = Instant::now();
        let mut never = standby(Takeover::Never);
        never.backup(now, Some(7), true);
        assert_eq!(never.next_deadline(), None);
        let mut always = standby(Takeover::Always);
        always.backup(now, Some(7), false);
        assert_eq!(always.due(now + PATIENCE), Some(8));
    }
}
