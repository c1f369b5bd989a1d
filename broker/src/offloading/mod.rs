//! What the broker wants of the network, and what it knows of it.
//!
//! The broker is the authority: it alone decides, per topic, which sessions the data plane serves,
//! and names each decision by a generation. A controller installs exactly that, or refuses.

pub(crate) mod gate;
pub(crate) mod generations;
pub(crate) mod inherited;
pub(crate) mod intent;
pub(crate) mod lease;
pub(crate) mod liveness;
pub(crate) mod rates;
pub(crate) mod shares;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use mqttsn::TopicIdType;
use offload::{
    Alias, AliasType, Change, Delta, FromBroker, Generation, Intent, PublicationKey, Refusal,
    RefusedItem, Revision, SessionId, TopicIndex,
};
use rustc_hash::FxHashMap;

use crate::config::OffloadConfig;
use crate::stats::Stats;
use crate::transmit::Peer;
use gate::Gate;
use generations::Sequence;
use inherited::Inherited;
use lease::Lease;
use liveness::Liveness;

/// The controller at the other end.
#[derive(Debug)]
struct Link {
    /// Who it is; `None` before its Hello.
    controller: Option<String>,
    /// Its election id, once it has said Hello.
    election_id: u128,
    /// The revision of the snapshot that it got.
    snapshot: Revision,
    /// The revision that its switches hold.
    installed: Revision,
}

/// The broker's side of the contract.
#[derive(Debug)]
pub(crate) struct Offloading {
    pub(crate) config: OffloadConfig,
    pub(crate) intent: Intent,
    link: Option<Link>,
    /// The latest revision known to have been in force, whoever installed it: the switches hold it or
    /// a later one.
    in_force: Revision,
    /// Revisions that the present controller was told of and has not installed, and since when.
    unconfirmed: VecDeque<(Revision, Instant)>,
    /// The election id of the last controller that was listened to.
    last_election_id: u128,
    outgoing: VecDeque<FromBroker>,
    /// Made in the present call, not yet part of the intent.
    changes: Vec<Change>,
    /// Topics whose part of the intent is to be looked at, and whose part in them.
    dirty: BTreeMap<TopicIndex, BTreeSet<SessionId>>,
    reachable: BTreeSet<IpAddr>,
    /// Refused topics and publications; a session's refusal is the session's own.
    refused: BTreeMap<RefusedItem, Refusal>,
    pub(crate) inherited: Inherited,
    /// How many topics of the intent serve each session.
    served: FxHashMap<SessionId, u32>,
    /// The last generation made.
    sequence: Sequence,
    pub(crate) gate: Gate,
    pub(crate) lease: Lease,
    pub(crate) liveness: Liveness,
    pub(crate) rates: rates::Rates,
}

impl Offloading {
    pub(crate) fn new(config: OffloadConfig, now: Instant) -> Self {
        let lease = Lease::unknown(now, config.lease());
        // Revision 0 stands for "nothing installed", so the first intent has another number.
        let intent = Intent {
            revision: Revision(1),
            ..Intent::default()
        };
        Offloading {
            config,
            intent,
            link: None,
            in_force: Revision(0),
            unconfirmed: VecDeque::new(),
            last_election_id: 0,
            outgoing: VecDeque::new(),
            changes: Vec::new(),
            dirty: BTreeMap::new(),
            reachable: BTreeSet::new(),
            refused: BTreeMap::new(),
            inherited: Inherited::default(),
            served: FxHashMap::default(),
            sequence: 0,
            gate: Gate::default(),
            lease,
            liveness: Liveness::default(),
            rates: rates::Rates::default(),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        self.config.enabled
    }

    /// Whether the topic is part of the intent is to be looked at before the call ends.
    pub(crate) fn mark(&mut self, topic: TopicIndex) {
        if self.config.enabled {
            self.dirty.entry(topic).or_default();
        }
    }

    /// How the data plane serves the session on the topic is to be looked at before the call ends.
    pub(crate) fn mark_subscriber(&mut self, topic: TopicIndex, session: SessionId) {
        if self.config.enabled {
            self.dirty.entry(topic).or_default().insert(session);
        }
    }

    /// One more change of the intent.
    pub(crate) fn change(&mut self, change: Change) {
        if self.config.enabled {
            self.changes.push(change);
        }
    }

    /// Whether copies can be sent to this address.
    pub(crate) fn is_reachable(&self, ip: IpAddr) -> bool {
        self.reachable.contains(&ip)
    }

    /// The generation with this place in the order.
    pub(crate) fn generation(&self, sequence: Sequence) -> Generation {
        // The low 32 bits: a generation comes round after four thousand million others.
        Generation(self.config.first_generation.wrapping_add(sequence as u32))
    }

    /// The place in the order of the latest generation of this number.
    pub(crate) fn sequence_of(&self, generation: Generation) -> Option<Sequence> {
        let age = self.generation(self.sequence).0.wrapping_sub(generation.0);
        self.sequence.checked_sub(u64::from(age))
    }

    /// The revision that the present controller's switches hold.
    pub(crate) fn installed(&self) -> Revision {
        match &self.link {
            Some(link) if link.controller.is_some() => link.installed,
            _ => Revision(0),
        }
    }

    /// The latest revision known to have been in force.
    pub(crate) fn in_force(&self) -> Revision {
        self.in_force
    }

    /// Whether a controller listens.
    pub(crate) fn has_controller(&self) -> bool {
        matches!(
            &self.link,
            Some(Link {
                controller: Some(_),
                ..
            })
        )
    }

    /// Whether a controller with this election id is to be listened to.
    ///
    /// Election ids of primaries only grow while a switch runs. So one with a lower id than the last
    /// was primary before it, and what it believes to be installed is not: it must not be heard while
    /// the last one is there, nor while what that one was granted may be in force. After that it may
    /// be that the switch has started anew, and elected anew.
    pub(crate) fn takes(&self, now: Instant, election_id: u128) -> bool {
        let outranked = election_id < self.last_election_id;
        !(outranked && (self.has_controller() || now < self.lease.until))
    }

    /// The election id of the controller that listens.
    pub(crate) fn election_id(&self) -> Option<u128> {
        let link = self.link.as_ref()?;
        link.controller.as_ref().map(|_| link.election_id)
    }

    pub(crate) fn controller(&self) -> Option<&str> {
        self.link.as_ref()?.controller.as_deref()
    }

    /// Why a topic or publication is left in software.
    pub(crate) fn refusal(&self, item: RefusedItem) -> Option<&Refusal> {
        self.refused.get(&item)
    }

    pub(crate) fn set_refusal(&mut self, item: RefusedItem, why: Option<Refusal>) {
        match why {
            Some(why) => self.refused.insert(item, why),
            None => self.refused.remove(&item),
        };
    }

    pub(crate) fn set_reachable(&mut self, ip: IpAddr, reachable: bool) -> bool {
        if reachable {
            self.reachable.insert(ip)
        } else {
            self.reachable.remove(&ip)
        }
    }

    pub(crate) fn link_up(&mut self) {
        self.link = Some(Link {
            controller: None,
            election_id: 0,
            snapshot: Revision(0),
            installed: Revision(0),
        });
        self.outgoing.clear();
        self.unconfirmed.clear();
        self.rates.forget();
        self.lease.disarm();
    }

    pub(crate) fn link_down(&mut self) {
        self.link = None;
        self.outgoing.clear();
        self.unconfirmed.clear();
    }

    /// The controller names itself: what its predecessor said no longer counts, but of sessions that had no
    /// room (see [`Inherited`]). Sessions that stay reachable are served on under the same generations.
    pub(crate) fn greeted(
        &mut self,
        controller: String,
        election_id: u128,
        reachable: Vec<IpAddr>,
    ) {
        self.refused.clear();
        self.reachable = reachable.into_iter().collect();
        self.last_election_id = election_id;
        if let Some(link) = &mut self.link {
            link.controller = Some(controller);
            link.election_id = election_id;
            link.installed = Revision(0);
        }
    }

    /// Tells the controller all, as the first thing it hears.
    pub(crate) fn send_snapshot(&mut self) {
        if let Some(link) = &mut self.link {
            link.snapshot = self.intent.revision;
            self.outgoing.clear();
            self.unconfirmed.clear();
            self.outgoing
                .push_back(FromBroker::Snapshot(self.intent.clone()));
        }
    }

    /// The switches hold this revision.
    pub(crate) fn set_installed(&mut self, revision: Revision) {
        if let Some(link) = &mut self.link {
            link.installed = link.installed.max(revision.min(self.intent.revision));
            self.in_force = self.in_force.max(link.installed);
            let installed = link.installed;
            while self
                .unconfirmed
                .front()
                .is_some_and(|&(revision, _)| revision <= installed)
            {
                self.unconfirmed.pop_front();
            }
        }
    }

    /// Makes the changes of the present call one step of the intent.
    pub(crate) fn commit(&mut self, now: Instant) {
        if self.changes.is_empty() {
            return;
        }
        let base = self.intent.revision;
        let delta = Delta {
            base,
            revision: Revision(base.0 + 1),
            changes: std::mem::take(&mut self.changes),
        };
        // The delta was made from this very intent, one forward: it applies.
        if let Err(error) = self.intent.apply(&delta) {
            tracing::error!(%error, "the broker's own intent refused its delta");
        }
        if self.has_controller() {
            self.unconfirmed.push_back((delta.revision, now));
            self.outgoing.push_back(FromBroker::Delta(delta));
        }
    }

    /// Answers a lease request, or leaves it unanswered.
    pub(crate) fn request_lease(&mut self, now: Instant, request: u64, stats: &mut Stats) {
        let installed = self.installed();
        let Some(link) = self.link.as_ref().filter(|link| link.controller.is_some()) else {
            return;
        };
        // However late the controller hears of a revision, and whether or not an answer waits for it: a
        // switch that holds what was superseded so long ago would tag with a generation that is about
        // to be forgotten.
        let stale = self.unconfirmed.front().is_some_and(|&(_, since)| {
            now.saturating_duration_since(since) > self.config.overdue()
        });
        let overdue = stale
            || self.gate.is_overdue(now, self.config.overdue())
            || self.liveness.is_overdue(now);
        let behind = installed < self.gate.released();
        if overdue || behind || installed < link.snapshot {
            stats.grants_withheld += 1;
            if behind && !overdue {
                self.lease.arm(now, self.config.overdue(), installed);
            }
            return;
        }
        let lease = self.config.lease();
        self.lease.grant(now, lease);
        stats.grants += 1;
        self.outgoing
            .push_back(FromBroker::Grant { request, lease });
    }

    /// Tells what clients have published through the broker since it was asked before.
    pub(crate) fn tell_rates(&mut self, query: u64) {
        let (topics, publications) = self.rates.take();
        self.outgoing.push_back(FromBroker::Rates {
            query,
            topics,
            publications,
        });
    }

    /// A PUBLISH came untagged.
    pub(crate) fn heard(&mut self, topic: TopicIndex, peer: &Peer, alias: mqttsn::Alias) {
        if !self.rates.is_counting() {
            return;
        }
        self.rates.heard(topic);
        let publication = PublicationKey {
            address: peer.address,
            alias: contract_alias(alias),
        };
        let refused = RefusedItem::Publication(publication);
        if peer.is_direct() && self.refused.contains_key(&refused) {
            self.rates.heard_of(publication);
        }
    }

    /// Asks when these sessions last published.
    pub(crate) fn ask_activity(&mut self, now: Instant, sessions: Vec<SessionId>) {
        let query = self.liveness.next_query();
        self.outgoing.push_back(FromBroker::AskActivity {
            query,
            sessions: sessions.clone(),
        });
        self.liveness
            .ask(now, self.config.activity_answer(), sessions);
    }

    /// Takes the oldest message for the controller.
    pub(crate) fn poll(&mut self) -> Option<FromBroker> {
        self.outgoing.pop_front()
    }

    /// Whether the data plane may be offloading, or is about to.
    pub(crate) fn is_live(&self, now: Instant) -> bool {
        self.config.enabled && now < self.lease.holds_until()
    }

    /// When answers that wait need wait no more.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        (!self.gate.is_empty()).then(|| self.lease.holds_until())
    }
}

/// The contract's word for an alias.
pub(crate) fn contract_alias(alias: mqttsn::Alias) -> Alias {
    Alias {
        id_type: match alias.topic_id_type {
            TopicIdType::Normal => AliasType::Normal,
            TopicIdType::Predefined => AliasType::Predefined,
            TopicIdType::Short => AliasType::Short,
        },
        id: alias.topic_id,
    }
}
