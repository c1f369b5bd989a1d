//! The objects of P4Info, with their references resolved.

use std::sync::Arc;

use super::data_type::DataType;
use super::names::{Named, Objects};
pub use crate::config::action_ref::Scope;
pub use crate::config::counter_spec::Unit as CounterUnit;
pub use crate::config::meter_spec::{Type as MeterType, Unit as MeterUnit};
use crate::v1;

/// How a match field compares (P4Runtime specification, "Match Format").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchKind {
    /// Equal to the value.
    Exact,
    /// The longest prefix wins.
    Lpm,
    /// Equal under a mask; priority decides.
    Ternary,
    /// Between two bounds, both included; priority decides.
    Range,
    /// Equal to the value or anything; priority decides.
    Optional,
    /// A kind of the architecture's own, by its name.
    Other(String),
}

impl MatchKind {
    /// The name in P4 source.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact => "exact",
            Self::Lpm => "lpm",
            Self::Ternary => "ternary",
            Self::Range => "range",
            Self::Optional => "optional",
            Self::Other(name) => name,
        }
    }

    /// Whether entries of a table with such a field carry a priority.
    pub fn needs_priority(&self) -> bool {
        matches!(self, Self::Ternary | Self::Range | Self::Optional)
    }
}

/// One component of a table's key, or of a value set.
#[derive(Debug, Clone)]
pub struct MatchField {
    /// Unique in the table, from 1.
    pub id: u32,
    /// As in the P4 source, e.g. `hdr.ethernet.dst_addr`.
    pub name: String,
    /// In bits; 0 where the controller sees a string (`@p4runtime_translation`).
    pub bitwidth: u32,
    /// How it compares.
    pub kind: MatchKind,
    /// Annotations as written.
    pub annotations: Vec<String>,
}

/// A run-time parameter of an action, or a metadata field of a controller packet.
#[derive(Debug, Clone)]
pub struct Param {
    /// Unique among its siblings.
    pub id: u32,
    /// As in the P4 source.
    pub name: String,
    /// In bits; 0 where the controller sees a string (`@p4runtime_translation`).
    pub bitwidth: u32,
    /// Annotations as written.
    pub annotations: Vec<String>,
}

/// An action.
#[derive(Debug, Clone)]
pub struct Action {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// Annotations as written.
    pub annotations: Vec<String>,
    /// Parameters in order.
    pub params: Objects<Param>,
}

/// An action that a table may use.
#[derive(Debug, Clone)]
pub struct ActionRef {
    /// The action.
    pub action: Arc<Action>,
    /// Whether in entries, as the default action, or both.
    pub scope: Scope,
    /// Annotations as written.
    pub annotations: Vec<String>,
}

/// A match-action table.
#[derive(Debug, Clone)]
pub struct Table {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// Annotations as written.
    pub annotations: Vec<String>,
    /// The key, in order.
    pub match_fields: Objects<MatchField>,
    /// The actions it may use.
    pub actions: Objects<ActionRef>,
    /// The default action, where the program fixes it.
    pub const_default_action: Option<Arc<Action>>,
    /// The default action and its arguments at the start, where the compiler says so.
    pub initial_default_action: Option<v1::Action>,
    /// The action profile or selector that implements it; none for a direct table.
    pub implementation: Option<Arc<ActionProfile>>,
    /// Its direct counter.
    pub direct_counter: Option<Arc<DirectCounter>>,
    /// Its direct meter.
    pub direct_meter: Option<Arc<DirectMeter>>,
    /// Ids of all direct resources, externs included.
    pub direct_resource_ids: Vec<u32>,
    /// Entries that the program asks room for; 0 means that it does not say.
    pub size: u64,
    /// Whether entries may have an idle timeout.
    pub idle_timeout: bool,
    /// Whether its entries are fixed by the program.
    pub is_const: bool,
    /// Whether the program puts entries in at the start.
    pub has_initial_entries: bool,
}

impl Table {
    /// Whether its entries carry a priority: some field is ternary, range or optional.
    pub fn needs_priority(&self) -> bool {
        self.match_fields
            .iter()
            .any(|field| field.kind.needs_priority())
    }
}

/// Members shared by tables; with a selector, groups of members too.
#[derive(Debug, Clone)]
pub struct ActionProfile {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// Annotations as written.
    pub annotations: Vec<String>,
    /// Ids of the tables that it implements.
    pub table_ids: Vec<u32>,
    /// Whether it is an action selector.
    pub with_selector: bool,
    /// Members (or weights, by its size semantics) that the program asks room for.
    pub size: u64,
    /// The largest group; 0 means that only `size` bounds it.
    pub max_group_size: u32,
}

/// An indexed counter.
#[derive(Debug, Clone)]
pub struct Counter {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// What it counts.
    pub unit: CounterUnit,
    /// Number of cells.
    pub size: u64,
}

/// A counter for each entry of a table.
#[derive(Debug, Clone)]
pub struct DirectCounter {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// What it counts.
    pub unit: CounterUnit,
    /// The table.
    pub table_id: u32,
}

/// An indexed meter.
#[derive(Debug, Clone)]
pub struct Meter {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// What it measures.
    pub unit: MeterUnit,
    /// Rates and colours.
    pub meter_type: MeterType,
    /// Number of cells.
    pub size: u64,
}

/// A meter for each entry of a table.
#[derive(Debug, Clone)]
pub struct DirectMeter {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// What it measures.
    pub unit: MeterUnit,
    /// Rates and colours.
    pub meter_type: MeterType,
    /// The table.
    pub table_id: u32,
}

/// A register array.
#[derive(Debug, Clone)]
pub struct Register {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// The type of a cell.
    pub data_type: DataType,
    /// Number of cells.
    pub size: u64,
}

/// A digest type.
#[derive(Debug, Clone)]
pub struct Digest {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// The type of one message.
    pub data_type: DataType,
}

/// A parser value set.
#[derive(Debug, Clone)]
pub struct ValueSet {
    /// P4Info id.
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// What its members match on.
    pub match_fields: Objects<MatchField>,
    /// Number of members.
    pub size: u64,
}

/// The metadata of `packet_in` or of `packet_out`.
#[derive(Debug, Clone)]
pub struct ControllerPacketMetadata {
    /// P4Info id.
    pub id: u32,
    /// `packet_in` or `packet_out`.
    pub name: String,
    /// Shortest unique suffix of the name.
    pub alias: String,
    /// The metadata in order.
    pub metadata: Objects<Param>,
}

macro_rules! named {
    ($($object:ty),*) => {$(
        impl Named for $object {
            fn id(&self) -> u32 {
                self.id
            }
            fn name(&self) -> &str {
                &self.name
            }
            fn alias(&self) -> &str {
                &self.alias
            }
        }
    )*};
}
named!(
    Action,
    Table,
    ActionProfile,
    Counter,
    DirectCounter,
    Meter,
    DirectMeter,
    Register,
    Digest,
    ValueSet,
    ControllerPacketMetadata
);

macro_rules! named_part {
    ($($part:ty),*) => {$(
        impl Named for $part {
            fn id(&self) -> u32 {
                self.id
            }
            fn name(&self) -> &str {
                &self.name
            }
        }
    )*};
}
named_part!(MatchField, Param);

impl Named for ActionRef {
    fn id(&self) -> u32 {
        self.action.id
    }
    fn name(&self) -> &str {
        &self.action.name
    }
    fn alias(&self) -> &str {
        &self.action.alias
    }
}
