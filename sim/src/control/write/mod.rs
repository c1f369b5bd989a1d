//! Changes to tables, action profiles, value sets, multicast groups and clone sessions, and to the
//! counters, meters and registers that go with them.

mod arrays;
mod entries;
mod in_place;
mod profiles;
mod replication;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;

use self::in_place::InPlace;
use super::read::Control;
use super::types::{ProfileHandle, TableHandle};
use crate::state::{Draft, Instance, LiveProfile, Snapshot};
use crate::switch::nanoseconds;
use crate::tables::{LiveTable, hash_words};

/// An open set of changes. Packets see all of it at once when it is committed or dropped, or
/// nothing of it when it is [abandoned](Self::abandon). While it is open, other writers wait,
/// packets and readers do not.
///
/// A change that fails changes nothing, and the changes before it stand. The methods that read
/// tell the state with the changes made so far.
///
/// A change costs a few microseconds, whatever the size of the table (`benches/pipeline.rs`). Put
/// a whole P4Runtime `WriteRequest` into one `Write`: packets then see it all at once.
pub struct Write<'a> {
    instance: &'a Instance,
    draft: MutexGuard<'a, Draft>,
    now: u64,
    changed: bool,
    /// What is changed in place, when the rest is published.
    in_place: Vec<InPlace>,
    /// Some of it configures meters of entries.
    meters_wait: bool,
    /// What undoes the changes to what the draft knows besides the next snapshot, newest last.
    undo: Vec<Undo>,
}

/// One step back.
enum Undo {
    MemberUser { key: (u32, u32), more: bool },
    GroupUser { key: (u32, u32), more: bool },
    Replicas(usize),
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.changed {
            let next = Arc::new(self.draft.next.clone());
            let replaced = self.instance.published.swap(next);
            self.draft.retire(replaced);
        }
        for change in self.in_place.drain(..) {
            change.apply(&self.instance.state);
        }
    }
}

/// Counts the users of members and groups.
fn count(users: &mut HashMap<(u32, u32), usize>, key: (u32, u32), more: bool) {
    let n = users.entry(key).or_default();
    if more {
        *n += 1;
    } else if *n > 1 {
        *n -= 1;
    } else {
        users.remove(&key);
    }
}

impl<'a> Write<'a> {
    pub(super) fn new(control: &'a Control, now: Duration) -> Self {
        let instance = &*control.instance;
        Write {
            instance,
            draft: instance.draft.lock(),
            now: nanoseconds(now),
            changed: false,
            in_place: Vec::new(),
            meters_wait: false,
            undo: Vec::new(),
        }
    }

    /// Makes the changes visible to packets. Dropping does the same.
    pub fn commit(self) {}

    /// Takes every change back: no packet has seen any of them, and none ever will.
    pub fn abandon(mut self) {
        self.in_place.clear();
        if self.changed {
            // Nobody else can have published: this holds the draft.
            self.draft.next = Snapshot::clone(&self.instance.published.load());
            self.changed = false;
        }
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::MemberUser { key, more } => count(&mut self.draft.member_users, key, !more),
                Undo::GroupUser { key, more } => count(&mut self.draft.group_users, key, !more),
                Undo::Replicas(before) => self.draft.multicast_replicas = before,
            }
        }
    }

    /// What packets may see apart from the rest of the changes, because it is changed in place and
    /// steers packets: meters of existing entries, cells of meters and registers. `None` when
    /// packets see all changes at once.
    #[must_use]
    pub fn apart(&self) -> Option<&'static str> {
        self.in_place.iter().find_map(InPlace::steers_packets)
    }

    /// The table, to be changed.
    fn table(&mut self, table: TableHandle) -> &mut LiveTable {
        self.changed = true;
        Arc::make_mut(&mut self.draft.next.tables[table.index()])
    }

    fn live(&self, table: TableHandle) -> &LiveTable {
        &self.draft.next.tables[table.index()]
    }

    fn profile(&self, profile: ProfileHandle) -> &LiveProfile {
        &self.draft.next.profiles[profile.index()]
    }

    fn has_member(&self, profile: ProfileHandle, member: u32) -> bool {
        let id = [u64::from(member)];
        let members = &self.profile(profile).members;
        members.get(hash_words(&id), &id).is_some()
    }

    fn has_group(&self, profile: ProfileHandle, group: u32) -> bool {
        let id = [u64::from(group)];
        let groups = &self.profile(profile).groups;
        groups.get(hash_words(&id), &id).is_some()
    }

    fn member_user(&mut self, key: (u32, u32), more: bool) {
        count(&mut self.draft.member_users, key, more);
        self.undo.push(Undo::MemberUser { key, more });
    }

    fn group_user(&mut self, key: (u32, u32), more: bool) {
        count(&mut self.draft.group_users, key, more);
        self.undo.push(Undo::GroupUser { key, more });
    }
}
