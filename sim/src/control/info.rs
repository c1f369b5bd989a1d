//! What a pipeline has: tables, actions, counters, … with their names and widths.

use super::types::{ActionHandle, ProfileHandle, TableHandle};

/// How a key matches. The names are those of core.p4 and v1model.p4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchKind {
    /// `exact`
    Exact,
    /// `lpm`
    Lpm,
    /// `ternary`
    Ternary,
    /// `range`
    Range,
    /// `optional`. p4c writes most of these down as ternary keys, and only P4Info knows better: a
    /// ternary key accepts [`MatchValue::Optional`](super::MatchValue::Optional) too, and returns
    /// it so; a `const` entry returns it as ternary, with a mask of all ones or all zeros.
    Optional,
    /// P4-14's `valid`
    Valid,
}

/// One key of a table. Keys of the kind `selector` are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The name, as P4Info's match field has it.
    pub name: String,
    /// How it matches.
    pub kind: MatchKind,
    /// Width in bits.
    pub width: u32,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Full name, e.g. `MyIngress.dmac`.
    pub name: String,
    /// Keys in order, which is P4Info's order.
    pub keys: Vec<KeyInfo>,
    /// The most entries it holds.
    pub size: usize,
    /// Name and handle of each action its entries and its default may use.
    pub actions: Vec<(String, ActionHandle)>,
    /// Its action profile or selector, if it has one. Its entries then name members or groups.
    pub profile: Option<ProfileHandle>,
    /// Entries have an idle timeout (`support_timeout`).
    pub idle_timeout: bool,
    /// Entries have a counter.
    pub direct_counter: bool,
    /// Entries have a meter.
    pub direct_meter: Option<DirectMeterInfo>,
    /// Entries need a priority: some key is ternary, range or optional.
    pub needs_priority: bool,
    /// The entries are `const` in the program: they can be read, not written.
    pub const_entries: bool,
    /// The default action is `const`.
    pub const_default_action: bool,
}

impl TableInfo {
    /// The action of this table with this full name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<ActionHandle> {
        self.actions
            .iter()
            .find(|(n, _)| n == name)
            .map(|&(_, handle)| handle)
    }
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionInfo {
    /// Full name, e.g. `MyIngress.forward`.
    pub name: String,
    /// Parameters in order.
    pub params: Vec<ParamInfo>,
}

/// A parameter of an action, or a field of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamInfo {
    /// Name.
    pub name: String,
    /// Width in bits.
    pub width: u32,
}

/// An action profile, or an action selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileInfo {
    /// Full name.
    pub name: String,
    /// The most members it holds.
    pub size: usize,
    /// It has groups: it is an action selector.
    pub with_selector: bool,
    /// The tables that use it.
    pub tables: Vec<TableHandle>,
}

/// What a meter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeterUnit {
    /// Bytes
    Bytes,
    /// Packets
    Packets,
}

/// The direct meter of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectMeterInfo {
    /// Full name.
    pub name: String,
    /// What it counts.
    pub unit: MeterUnit,
}

/// An indirect counter array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterInfo {
    /// Full name.
    pub name: String,
    /// Number of cells.
    pub size: usize,
}

/// An indirect meter array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterInfo {
    /// Full name.
    pub name: String,
    /// Number of cells.
    pub size: usize,
    /// What it counts.
    pub unit: MeterUnit,
}

/// A register array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterInfo {
    /// Full name.
    pub name: String,
    /// Number of cells.
    pub size: usize,
    /// Width of a cell in bits.
    pub width: u32,
}

/// A digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestInfo {
    /// The name p4c gives it: the name of the struct, or `digest_0`, … for an unnamed one.
    pub name: String,
    /// The fields of a message, in order.
    pub fields: Vec<ParamInfo>,
}

/// A parser value set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSetInfo {
    /// Full name.
    pub name: String,
    /// Width in bits of a member: the widths of its fields together.
    pub width: u32,
    /// The most members it holds.
    pub size: usize,
}
