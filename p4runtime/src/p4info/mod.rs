//! P4Info as a schema: objects by name, alias or id, and entities from names and values.
//!
//! [`P4Info`] resolves the ids of `p4.config.v1.P4Info` once, so that the rest of a program speaks
//! of tables, fields and actions by name, and every value is checked against its bitwidth before it
//! goes on the wire.
//!
//! A name is a full name (`MyIngress.dmac`), an alias, or any dotted suffix of a full name that
//! only one object of its kind has; match fields, parameters and metadata are found the same way.
//!
//! ```
//! use p4runtime::p4info::P4Info;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let text = include_str!("../../tests/data/l2.p4info.txtpb");
//! let p4info = P4Info::from_text(text)?;
//! let entry = p4info.table("dmac")?.entry().exact("dst_addr", [0x02, 0, 0, 0, 0, 1])?;
//! let entry = entry.action("forward")?.param("port", 3u16)?.build()?;
//! let view = p4info.decode_entry(&entry)?;
//! assert_eq!(view.param("port")?.to_u16()?, 3);
//! # Ok(()) }
//! ```

mod build;
mod data_type;
mod digest;
mod entry;
mod error;
mod load;
mod names;
mod packet;
mod rules;
mod schema;
mod view;

pub use data_type::{DataType, Leaf};
pub use digest::DigestMessage;
pub use entry::{ActionCall, EntryBuilder};
pub use error::{EntityError, SchemaError};
pub use load::LoadError;
pub use names::{LookupError, Named, Objects};
pub use packet::{PacketBuilder, PacketView};
pub use schema::{
    Action, ActionProfile, ActionRef, ControllerPacketMetadata, Counter, CounterUnit, Digest,
    DirectCounter, DirectMeter, MatchField, MatchKind, Meter, MeterType, MeterUnit, Param,
    Register, Scope, Table, ValueSet,
};
pub use view::{ActionView, EntryView, MatchValue, TableActionView};

use std::sync::Arc;

use crate::{config, v1};

/// The control-plane interface of one P4 program.
///
/// Objects are behind [`Arc`], so a caller can keep the one table it works with.
#[derive(Debug, Clone)]
pub struct P4Info {
    message: config::P4Info,
    tables: Objects<Table>,
    actions: Objects<Action>,
    action_profiles: Objects<ActionProfile>,
    counters: Objects<Counter>,
    direct_counters: Objects<DirectCounter>,
    meters: Objects<Meter>,
    direct_meters: Objects<DirectMeter>,
    registers: Objects<Register>,
    digests: Objects<Digest>,
    value_sets: Objects<ValueSet>,
    controller_packets: Objects<ControllerPacketMetadata>,
}

macro_rules! lookups {
    ($($one:ident, $by_id:ident, $all:ident: $object:ty, $what:literal;)*) => {$(
        #[doc = concat!("The ", $what, " of this name.")]
        ///
        /// # Errors
        /// [`LookupError`] with the nearest known names.
        pub fn $one(&self, name: &str) -> Result<&Arc<$object>, LookupError> {
            self.$all.get(name)
        }

        #[doc = concat!("The ", $what, " with this id.")]
        ///
        /// # Errors
        /// [`LookupError::UnknownId`].
        pub fn $by_id(&self, id: u32) -> Result<&Arc<$object>, LookupError> {
            self.$all.by_id(id)
        }

        #[doc = concat!("Every ", $what, ", in the order of P4Info.")]
        pub fn $all(&self) -> &Objects<$object> {
            &self.$all
        }
    )*};
}

impl P4Info {
    lookups! {
        table, table_by_id, tables: Table, "table";
        action, action_by_id, actions: Action, "action";
        action_profile, action_profile_by_id, action_profiles: ActionProfile, "action profile";
        counter, counter_by_id, counters: Counter, "counter";
        direct_counter, direct_counter_by_id, direct_counters: DirectCounter, "direct counter";
        meter, meter_by_id, meters: Meter, "meter";
        direct_meter, direct_meter_by_id, direct_meters: DirectMeter, "direct meter";
        register, register_by_id, registers: Register, "register";
        digest, digest_by_id, digests: Digest, "digest";
        value_set, value_set_by_id, value_sets: ValueSet, "value set";
        controller_packet, controller_packet_by_id, controller_packets:
            ControllerPacketMetadata, "controller packet header";
    }

    /// The message that this was made from, as a pipeline configuration carries it.
    pub fn message(&self) -> &config::P4Info {
        &self.message
    }

    /// What the program is called and which architecture it is for.
    pub fn pkg_info(&self) -> Option<&config::PkgInfo> {
        self.message.pkg_info.as_ref()
    }

    /// The metadata of packets from switch to controller.
    ///
    /// # Errors
    /// [`LookupError`] when the program has none.
    pub fn packet_in(&self) -> Result<&Arc<ControllerPacketMetadata>, LookupError> {
        self.controller_packet("packet_in")
    }

    /// The metadata of packets from controller to switch.
    ///
    /// # Errors
    /// [`LookupError`] when the program has none.
    pub fn packet_out(&self) -> Result<&Arc<ControllerPacketMetadata>, LookupError> {
        self.controller_packet("packet_out")
    }

    /// Reads a table entry of any table, checking it against the schema.
    ///
    /// # Errors
    /// [`EntityError`]: what in the entry the schema does not allow.
    pub fn decode_entry<'p>(
        &'p self,
        entry: &v1::TableEntry,
    ) -> Result<EntryView<'p>, EntityError> {
        self.table_by_id(entry.table_id)?.decode(entry)
    }

    /// Reads an action call, e.g. that of an action profile member.
    ///
    /// # Errors
    /// [`EntityError`]: what in the call the schema does not allow.
    pub fn decode_action<'p>(&'p self, action: &v1::Action) -> Result<ActionView<'p>, EntityError> {
        self.action_by_id(action.action_id)?.decode(action)
    }
}
