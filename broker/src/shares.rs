//! Share groups: subscriptions `$share/{group}/{filter}`, of whose clients exactly one gets each
//! message (MQTT 5 §4.8.2; MQTT-SN 1.2 says nothing about them).
//!
//! ```text
//! who          the clients that subscribe to the same string: group and filter
//! which one    of those that can be had soonest (connected, else asleep, else away with a session)
//!              the same one for all messages of a publisher, as long as that one stays
//! leaves       what it has not been sent goes to another member; so does what it was sent at QoS 1
//!              and did not acknowledge, once its connection is over. What it was sent at QoS 2 stays
//!              its own (MQTT 5 §4.8.2-4, §4.8.2-5).
//! retained     is not sent to a group (MQTT 5 §3.3.1.3)
//! ```
//! The clients and what they were granted are in `Subscriptions`, under the whole string. Here is which
//! groups a topic name belongs to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use offload::SessionId;
use rustc_hash::FxHashMap;

use crate::levels::Levels;

/// What every filter of a share group begins with.
const PREFIX: &str = "$share/";

/// Identity of a group as long as it has members; never given out twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShareId(u32);

/// By which group a message came to a member, and on whose behalf that one was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) share: ShareId,
    pub(crate) publisher: Publisher,
}

/// Tells publishers apart, to choose the same member for all that one of them publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publisher(pub(crate) u32);

impl Publisher {
    /// A client that has a session, by its ClientId: it is the same one after it has reconnected.
    pub(crate) fn client(client_id: &str) -> Self {
        Publisher(fnv(client_id.as_bytes()))
    }

    /// Somebody without a session.
    pub(crate) fn address(address: SocketAddr) -> Self {
        let port = fnv(&address.port().to_be_bytes());
        let ip = match address.ip() {
            std::net::IpAddr::V4(ip) => fnv(&ip.octets()),
            std::net::IpAddr::V6(ip) => fnv(&ip.octets()),
        };
        Publisher(ip ^ port.rotate_left(16))
    }

    /// How well the member suits the publisher: the best one is chosen. A member that comes or goes
    /// changes nothing between the others (rendezvous hashing).
    pub(crate) fn affinity(self, member: SessionId) -> u64 {
        // The finalizer of SplitMix64: each bit of both numbers reaches each bit of the result.
        let mut mixed = (u64::from(self.0) << 32) | u64::from(member.0);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// FNV-1a of 32 bits: the same in every run, so that a stored choice stays what it was.
fn fnv(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811C_9DC5, |hash, &octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    })
}

/// A filter that begins with `$share/` and is none of a share group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAShare;

/// The filter that a group's members share, and `None` for an ordinary filter. `filter` is a valid
/// topic filter as a whole.
///
/// # Errors
/// When the group has no name or one with wildcards (MQTT 5 §4.8.2-1, §4.8.2-2), or no filter follows.
pub(crate) fn inner(filter: &str) -> Result<Option<&str>, NotAShare> {
    let Some(rest) = filter.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    match rest.split_once('/') {
        Some((group, inner))
            if !group.is_empty() && !group.contains(['+', '#']) && !inner.is_empty() =>
        {
            Ok(Some(inner))
        }
        _ => Err(NotAShare),
    }
}

/// The filter that names are matched with: that of the group's members, or the ordinary one itself.
pub(crate) fn matched(filter: &str) -> &str {
    inner(filter).ok().flatten().unwrap_or(filter)
}

/// Whether a topic of this name could be taken for a share group's filter. It has no subscribers.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// All groups that have members.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// By the filter that the members share, then by the whole.
    by_filter: Levels<BTreeMap<Box<str>, ShareId>>,
    list: FxHashMap<ShareId, Box<str>>,
    last: u32,
}

impl Shares {
    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The whole filter of a group.
    pub(crate) fn filter(&self, share: ShareId) -> Option<&str> {
        self.list.get(&share).map(|filter| &**filter)
    }

    /// The group of this whole filter.
    pub(crate) fn find(&self, filter: &str) -> Option<ShareId> {
        let groups = self.by_filter.get(matched(filter))?;
        groups.get(filter).copied()
    }

    /// The group of this whole filter; true if it is new.
    pub(crate) fn add(&mut self, filter: &str) -> (ShareId, bool) {
        let groups = self
            .by_filter
            .get_or_insert_with(matched(filter), BTreeMap::new);
        if let Some(&share) = groups.get(filter) {
            return (share, false);
        }
        // A group needs a SUBSCRIBE to come: four thousand million of them are some years.
        self.last = self.last.wrapping_add(1);
        let share = ShareId(self.last);
        groups.insert(filter.into(), share);
        self.list.insert(share, filter.into());
        (share, true)
    }

    /// The group has lost its last member.
    pub(crate) fn remove(&mut self, share: ShareId) {
        let Some(filter) = self.list.remove(&share) else {
            return;
        };
        let key = matched(&filter);
        let left = self.by_filter.get_mut(key).map(|groups| {
            groups.remove(&filter);
            groups.len()
        });
        if left == Some(0) {
            self.by_filter.remove(key);
        }
    }

    /// The groups that a topic name belongs to.
    pub(crate) fn of_name(&self, name: &str) -> Vec<ShareId> {
        let mut found = Vec::new();
        if !self.list.is_empty() && !is_reserved(name) {
            self.by_filter
                .matching(name, |groups| found.extend(groups.values()));
            found.sort_unstable();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_filter_has_a_group_without_wildcards_and_a_filter() {
        assert_eq!(inner("a/b"), Ok(None));
        assert_eq!(inner("$share"), Ok(None), "an ordinary topic name");
        assert_eq!(inner("$share/g/a/+/#"), Ok(Some("a/+/#")));
        assert_eq!(inner("$share/g//"), Ok(Some("/")), "two empty levels");
        for bad in [
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
            "$share/#",
        ] {
            assert_eq!(inner(bad), Err(NotAShare), "{bad}");
        }
    }

    #[test]
    fn a_group_is_one_name_and_one_filter() {
        let mut shares = Shares::default();
        let (first, new) = shares.add("$share/g/a/+");
        assert!(new);
        assert_eq!(shares.add("$share/g/a/+"), (first, false));
        let (second, _) = shares.add("$share/g/a/b");
        let (third, _) = shares.add("$share/h/a/+");
        assert_eq!(shares.of_name("a/b"), [first, second, third]);
        assert_eq!(shares.of_name("a/c"), [first, third]);
        assert!(shares.of_name("$share/g/a/b").is_empty());
        shares.remove(first);
        assert_eq!(shares.of_name("a/c"), [third]);
        assert_eq!(shares.find("$share/g/a/+"), None);
        assert_eq!(shares.find("$share/h/a/+"), Some(third));
        shares.remove(second);
        shares.remove(third);
        assert_eq!(shares.len(), 0);
        assert!(shares.of_name("a/b").is_empty());
    }

    fn best(publisher: u32, members: &BTreeSet<u32>) -> Option<u32> {
        let affinity = |member: &u32| Publisher(publisher).affinity(SessionId(*member));
        members.iter().copied().max_by_key(affinity)
    }

    proptest! {
        #[test]
        fn a_member_that_leaves_moves_only_its_own_publishers(
            members in prop::collection::btree_set(1..10_000u32, 2..20),
            publishers in prop::collection::vec(any::<u32>(), 1..100),
            gone in any::<prop::sample::Index>(),
        ) {
            let gone = *gone.get(&members.iter().copied().collect::<Vec<_>>());
            let mut left = members.clone();
            left.remove(&gone);
            for publisher in publishers {
                let before = best(publisher, &members);
                if before != Some(gone) {
                    prop_assert_eq!(best(publisher, &left), before);
                }
            }
        }
    }

    #[test]
    fn publishers_are_spread_over_the_members() {
        let members: BTreeSet<u32> = (1..=4).collect();
        let mut chosen: HashMap<u32, usize> = HashMap::new();
        for number in 0..4000 {
            let Publisher(publisher) = Publisher::client(&format!("sensor-{number}"));
            *chosen
                .entry(best(publisher, &members).unwrap())
                .or_default() += 1;
        }
        for (member, publishers) in chosen {
            assert!((800..1200).contains(&publishers), "{member}: {publishers}");
        }
    }
}
