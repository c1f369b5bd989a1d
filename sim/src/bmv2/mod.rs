//! Pipelines from p4c's BMv2 JSON: reading the document and lowering it to a program.

mod json;
mod lower;

use std::fmt;

pub use json::LoadError;

use crate::control::{
    ActionHandle, ActionInfo, CounterHandle, CounterInfo, DigestHandle, DigestInfo, MeterHandle,
    MeterInfo, ProfileHandle, ProfileInfo, RegisterHandle, RegisterInfo, TableHandle, TableInfo,
    ValueSetHandle, ValueSetInfo,
};
use crate::program::Program;

/// How a program is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// So that [`Worker::process_traced`](crate::Worker::process_traced) tells what packets meet.
    /// The program is slower then; without it, it carries nothing of this.
    pub trace: bool,
}

/// A program, ready to run: immutable, shared by all workers.
pub struct Pipeline {
    pub(crate) program: Program,
    infos: lower::Infos,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("tables", &self.infos.tables.len())
            .field("actions", &self.infos.actions.len())
            .finish_non_exhaustive()
    }
}

macro_rules! lookup {
    ($($one:ident $all:ident $info_of:ident $handle:ident $info:ident $what:literal;)*) => {$(
        #[doc = concat!("The ", $what, " with this full name.")]
        #[must_use]
        pub fn $one(&self, name: &str) -> Option<$handle> {
            let at = self.infos.$all.iter().position(|info| info.name == name)?;
            Some($handle(at as u32))
        }
        #[doc = concat!("Every ", $what, " with its handle.")]
        pub fn $all(&self) -> impl Iterator<Item = ($handle, &$info)> {
            self.infos.$all.iter().enumerate().map(|(i, info)| ($handle(i as u32), info))
        }
        #[doc = concat!("What a ", $what, " is. The handle must be of this pipeline: this panics ",
            "for a handle beyond the last of this one.")]
        #[must_use]
        pub fn $info_of(&self, handle: $handle) -> &$info {
            &self.infos.$all[handle.index()]
        }
    )*};
}

impl Pipeline {
    /// Reads a BMv2 JSON document (format 2.x, as `p4c-bm2-ss` writes it for v1model) and lowers
    /// it. What the document says wrongly, or what this target does not do, is an error that
    /// names the place.
    pub fn load(json: &[u8]) -> Result<Pipeline, LoadError> {
        Self::load_with(json, LoadOptions::default())
    }

    /// As [`load`](Self::load), with options.
    pub fn load_with(json: &[u8], options: LoadOptions) -> Result<Pipeline, LoadError> {
        let document = serde_json::from_slice(json).map_err(|error| LoadError {
            path: format!("line {}, column {}", error.line(), error.column()),
            reason: format!("not a JSON document: {error}"),
        })?;
        let (program, infos) = lower::lower(&json::At::root(&document), options)?;
        Ok(Pipeline { program, infos })
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
