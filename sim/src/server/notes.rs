//! What the control plane gave and the data plane does not keep: needed to answer reads with what
//! was written (P4Runtime specification, "Read-Write Symmetry").

use std::collections::{HashMap, HashSet};

use p4runtime::v1;

use crate::control::{EntryKey, ProfileHandle, TableHandle};

/// Ids from here on are those of the members and groups behind one-shot action sets.
pub(super) const FIRST_ONE_SHOT_ID: u32 = 0x8000_0000;

/// The notes on one instance of a pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// `controller_metadata` of entries that have one (deprecated in favour of `metadata`, which
    /// the entry itself keeps).
    pub(super) cookies: HashMap<(TableHandle, EntryKey), u64>,
    /// What default entries carry besides their action.
    pub(super) defaults: HashMap<TableHandle, DefaultNote>,
    /// One-shot action sets, by the group that stands for each.
    pub(super) one_shots: HashMap<(ProfileHandle, u32), OneShot>,
    /// How many members and groups the control plane programmed itself, per profile.
    pub(super) programmed: HashMap<ProfileHandle, usize>,
    /// `max_size` of the groups of selectors that count members: the data plane bounds weights.
    pub(super) max_members: HashMap<(ProfileHandle, u32), u32>,
    /// Multicast groups whose ports were given as numbers (deprecated) and not as bytes.
    pub(super) numbered_groups: HashSet<u16>,
    /// Clone sessions likewise.
    pub(super) numbered_sessions: HashSet<u32>,
    next_one_shot: u32,
}

/// What a default entry carries besides its action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DefaultNote {
    pub(super) metadata: Vec<u8>,
    pub(super) cookie: u64,
}

/// A one-shot action set: what was written, and the members made for it.
#[derive(Debug, Clone)]
pub(super) struct OneShot {
    pub(super) set: v1::ActionProfileActionSet,
    pub(super) members: Vec<u32>,
}

impl Notes {
    /// The `controller_metadata` of an entry.
    pub(super) fn cookie(&self, table: TableHandle, key: &EntryKey) -> u64 {
        if self.cookies.is_empty() {
            return 0;
        }
        self.cookies
            .get(&(table, key.clone()))
            .copied()
            .unwrap_or(0)
    }

    /// The next id for a member or a group of a one-shot action set.
    pub(super) fn one_shot_id(&mut self) -> u32 {
        let id = FIRST_ONE_SHOT_ID | self.next_one_shot;
        self.next_one_shot = self.next_one_shot.wrapping_add(1) & !FIRST_ONE_SHOT_ID;
        id
    }

    /// Whether any table of this profile is programmed with one-shots.
    pub(super) fn has_one_shots(&self, profile: ProfileHandle) -> bool {
        self.one_shots.keys().any(|(of, _)| *of == profile)
    }

    /// Whether members or groups of this profile were programmed by the control plane itself.
    pub(super) fn is_programmed(&self, profile: ProfileHandle) -> bool {
        self.programmed
            .get(&profile)
            .is_some_and(|&count| count > 0)
    }
}
