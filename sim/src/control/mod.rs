//! The control plane of one loaded pipeline.
//!
//! [`Control`] is a handle to one *instance* of a pipeline: the program and all the state it has
//! in this switch (tables, action profiles, multicast groups, counters, …). Loading another
//! pipeline starts another, empty instance; an old `Control` then still answers, but nobody's
//! packets see it any more. Get the present one from [`Switch::control`](crate::Switch::control).
//!
//! Everything is addressed by handles ([`TableHandle`], …), small `Copy` numbers that belong to
//! one pipeline. They are found once by the full name that P4Info also carries
//! (`"MyIngress.dmac"`) with [`Pipeline::table`](crate::Pipeline::table) and its siblings, or
//! listed by [`Pipeline::tables`](crate::Pipeline::tables) and its siblings.
//!
//! * Reading: the methods of [`Control`]. Tables, groups and sessions are read from the snapshot
//!   that packets see at this moment.
//! * Writing tables, action profiles, value sets, multicast groups and clone sessions:
//!   [`Control::write`] opens a [`Write`]; its changes become visible to packets all at once,
//!   when it is committed or dropped. A packet sees either none or all of the changes of one
//!   `Write`, and keeps what it saw until its processing ends. Or none of it, when it is
//!   abandoned.
//! * Counters, meters and registers are shared state, changed in place by packets and by the
//!   control plane: at once by the methods of [`Control`], with the rest of its changes by a
//!   [`Write`].
//!
//! ```ignore
//! let control = switch.control().ok_or("no pipeline yet")?;
//! let dmac = control.pipeline().table("MyIngress.dmac").ok_or("no such table")?;
//! let forward = control.pipeline().table_info(dmac).action("MyIngress.forward").ok_or("…")?;
//! control.write(now).insert(dmac, TableEntry::new(
//!     EntryKey::exact([&[0, 0, 0, 0, 0, 1]]),
//!     TableAction::Direct(ActionCall::new(forward, [&[0, 3]])),
//! ))?;
//! ```
//!
//! # Values
//! Values are big-endian byte strings. On input any length is accepted as long as the number fits
//! the width of the field (leading zeros do not matter; too large a number is
//! [`ControlError::InvalidArgument`]). On output a value of `w` bits always has ⌈w/8⌉ bytes.
//!
//! # Time
//! `now` is the time since the switch started: the same clock as the one given to
//! [`Worker::process`](crate::Worker::process).

mod error;
mod info;
pub(crate) mod key;
mod read;
mod types;
mod write;

pub use error::ControlError;
pub use info::{
    ActionInfo, CounterInfo, DigestInfo, DirectMeterInfo, KeyInfo, MatchKind, MeterInfo, MeterUnit,
    ParamInfo, ProfileInfo, RegisterInfo, TableInfo, ValueSetInfo,
};
pub use read::Control;
pub use types::{
    ActionCall, ActionHandle, CloneSession, ColorCounts, CounterData, CounterHandle, DigestHandle,
    DigestMessage, EntryKey, GroupMember, IdleNotification, MatchValue, MeterConfig, MeterHandle,
    MulticastGroup, ProfileGroup, ProfileHandle, RegisterHandle, Replica, TableAction, TableEntry,
    TableHandle, ValueSetHandle,
};
pub use write::Write;
