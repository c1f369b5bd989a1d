//! The state of v1model's externs, and its hash algorithms.

pub(crate) mod counter;
pub(crate) mod digest;
pub(crate) mod hash;
pub(crate) mod meter;
pub(crate) mod register;
