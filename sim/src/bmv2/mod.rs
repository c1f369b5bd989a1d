//! Pipelines from p4c's BMv2 JSON.

use crate::control::{
    ActionHandle, ActionInfo, CounterHandle, CounterInfo, DigestHandle, DigestInfo, MeterHandle,
    MeterInfo, ProfileHandle, ProfileInfo, RegisterHandle, RegisterInfo, TableHandle, TableInfo,
    ValueSetHandle, ValueSetInfo,
};

/// Why a BMv2 JSON document cannot be run: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct LoadError {
    /// Where in the document, e.g. `pipelines[0].tables[3].key[1].match_type`.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

/// A program, ready to run: immutable, shared by all workers.
#[derive(Debug)]
pub struct Pipeline {}

macro_rules! lookup {
    ($($one:ident $all:ident $info_of:ident $handle:ident $info:ident $what:literal;)*) => {$(
        #[doc = concat!("The ", $what, " with this full name.")]
        #[must_use]
        pub fn $one(&self, name: &str) -> Option<$handle> {
            unimplemented!("{name}")
        }
        #[doc = concat!("Every ", $what, " with its handle.")]
        pub fn $all(&self) -> impl Iterator<Item = ($handle, &$info)> {
            std::iter::empty()
        }
        #[doc = concat!("What a ", $what, " is. The handle must be of this pipeline.")]
        #[must_use]
        pub fn $info_of(&self, handle: $handle) -> &$info {
            unimplemented!("{handle:?}")
        }
    )*};
}

impl Pipeline {
    /// Reads a BMv2 JSON document (v1model) and lowers it.
    pub fn load(json: &[u8]) -> Result<Pipeline, LoadError> {
        unimplemented!("{json:?}")
    }

    lookup! {
        table tables table_info TableHandle TableInfo "table";
        action actions action_info ActionHandle ActionInfo "action";
        profile profiles profile_info ProfileHandle ProfileInfo "action profile";
        counter counters counter_info CounterHandle CounterInfo "indirect counter";
        meter meters meter_info MeterHandle MeterInfo "indirect meter";
        register registers register_info RegisterHandle RegisterInfo "register";
        digest digests digest_info DigestHandle DigestInfo "digest";
        value_set value_sets value_set_info ValueSetHandle ValueSetInfo "value set";
    }
}
