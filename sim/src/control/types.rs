//! Entries, keys, actions, groups and data as the control plane names them.

use std::time::Duration;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        /// Valid for the [`Pipeline`](crate::Pipeline) that gave it, and for no other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// The place of the object in the list of its kind, from 0.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

handles! {
    /// One match-action table.
    TableHandle;
    /// One action. One P4 action that several controls copied (`NoAction`) has several handles:
    /// take the one that [`TableInfo::action`](super::TableInfo::action) gives for the table.
    ActionHandle;
    /// One action profile or action selector.
    ProfileHandle;
    /// One indirect counter array.
    CounterHandle;
    /// One indirect meter array.
    MeterHandle;
    /// One register array.
    RegisterHandle;
    /// One digest type.
    DigestHandle;
    /// One parser value set.
    ValueSetHandle;
}

/// What one key of an entry matches. The kind must be the kind of the key
/// ([`KeyInfo::kind`](super::KeyInfo::kind)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MatchValue {
    /// The field equals the value.
    Exact(Vec<u8>),
    /// The first `prefix_len` bits of the field equal those of the value. The other bits of the
    /// value must be 0; `prefix_len` 0 is "don't care".
    Lpm {
        /// The prefix.
        value: Vec<u8>,
        /// Its length in bits.
        prefix_len: u32,
    },
    /// `field & mask == value`. Bits of the value outside the mask must be 0; mask 0 is "don't
    /// care".
    Ternary {
        /// The value.
        value: Vec<u8>,
        /// The mask.
        mask: Vec<u8>,
    },
    /// `low <= field <= high`; the full range is "don't care".
    Range {
        /// The least value that matches.
        low: Vec<u8>,
        /// The greatest value that matches.
        high: Vec<u8>,
    },
    /// The field equals the value, or anything (`None`).
    Optional(Option<Vec<u8>>),
    /// The header is valid or is not (P4-14's `valid` match kind).
    Valid(bool),
}

/// What identifies an entry in its table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryKey {
    /// One per key of the table, in its order.
    pub matches: Vec<MatchValue>,
    /// Greater wins. Must be greater than 0 in a table with a ternary, range or optional key
    /// ([`TableInfo::needs_priority`](super::TableInfo::needs_priority)) and 0 in any other.
    pub priority: u32,
}

impl EntryKey {
    /// The key of an entry whose keys are all exact.
    #[must_use]
    pub fn exact<'a, I: IntoIterator<Item = &'a [u8]>>(values: I) -> Self {
        let matches = values
            .into_iter()
            .map(|v| MatchValue::Exact(v.to_vec()))
            .collect();
        EntryKey {
            matches,
            priority: 0,
        }
    }
}

/// One action with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActionCall {
    /// Which action.
    pub action: ActionHandle,
    /// One value per parameter, in order.
    pub params: Vec<Vec<u8>>,
}

impl ActionCall {
    /// The action with these arguments.
    #[must_use]
    pub fn new<'a, I: IntoIterator<Item = &'a [u8]>>(action: ActionHandle, params: I) -> Self {
        ActionCall {
            action,
            params: params.into_iter().map(<[u8]>::to_vec).collect(),
        }
    }
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TableAction {
    /// An action with its data; for tables without an action profile.
    Direct(ActionCall),
    /// A member of the table's action profile.
    Member(u32),
    /// A group of the table's action selector.
    Group(u32),
}

/// One table entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableEntry {
    /// What it matches.
    pub key: EntryKey,
    /// What it does.
    pub action: TableAction,
    /// Notify after so long without a hit; zero for never. Refused
    /// ([`ControlError::Unsupported`](super::ControlError::Unsupported)) in a table without
    /// `support_timeout`.
    pub idle_timeout: Duration,
    /// Bytes of the control plane's own, kept and returned with the entry (P4Runtime
    /// `metadata`).
    pub metadata: Vec<u8>,
}

impl TableEntry {
    /// An entry without idle timeout and metadata.
    #[must_use]
    pub fn new(key: EntryKey, action: TableAction) -> Self {
        TableEntry {
            key,
            action,
            idle_timeout: Duration::ZERO,
            metadata: Vec::new(),
        }
    }
}

/// A member of a group of an action selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupMember {
    /// The member's id.
    pub member: u32,
    /// Its share, at least 1.
    pub weight: u32,
    /// Skip the member while this port is down ([`Switch::set_port_up`](crate::Switch::set_port_up)).
    pub watch_port: Option<u32>,
}

/// A group of an action selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ProfileGroup {
    /// Its members. An empty group runs no action.
    pub members: Vec<GroupMember>,
    /// The most weights it may ever hold together; 0 for the profile's own limit.
    pub max_size: u32,
}

/// Packets and bytes counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CounterData {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames as they arrived.
    pub bytes: u64,
}

/// A two-rate three-colour marker (RFC 2698, colour-blind unless the program gives a colour), in
/// bytes or packets as the meter's [`MeterUnit`](super::MeterUnit) says. A meter without a
/// configuration marks everything green.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MeterConfig {
    /// Committed rate, units per second.
    pub cir: u64,
    /// Committed burst, units.
    pub cburst: u64,
    /// Peak rate, units per second; at least `cir`.
    pub pir: u64,
    /// Peak burst, units.
    pub pburst: u64,
}

/// What a meter has marked, by colour, since the counts were last cleared. A meter without a
/// configuration counts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ColorCounts {
    /// Within the committed rate.
    pub green: CounterData,
    /// Over the committed rate, within the peak rate.
    pub yellow: CounterData,
    /// Over the peak rate.
    pub red: CounterData,
}

/// One copy of a multicast group or a clone session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replica {
    /// `egress_port` of the copy.
    pub port: u32,
    /// `egress_rid` of the copy (P4Runtime's `instance`).
    pub instance: u16,
}

/// A multicast group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct MulticastGroup {
    /// Its copies, no two alike.
    pub replicas: Vec<Replica>,
    /// Bytes of the control plane's own, kept and returned.
    pub metadata: Vec<u8>,
}

/// A clone session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CloneSession {
    /// Its copies, no two alike.
    pub replicas: Vec<Replica>,
    /// Clones are cut to so many bytes; 0 for the whole packet.
    pub packet_length_bytes: u32,
    /// Kept and returned; one class exists.
    pub class_of_service: u32,
}

/// One message of a digest: the program's struct, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DigestMessage {
    /// One value per field of [`DigestInfo::fields`](super::DigestInfo::fields).
    pub fields: Vec<Vec<u8>>,
}

/// An entry that nothing hit for its idle timeout. Told, its timer starts again: it is told once
/// more after another timeout without a hit. The entry stays: the control plane decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdleNotification {
    /// The table.
    pub table: TableHandle,
    /// The entry.
    pub entry: TableEntry,
}
