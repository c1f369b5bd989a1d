//! Which target to be like: in behaviour where specification and BMv2's server differ, and in
//! bounds.

use std::fmt;
use std::str::FromStr;

use crate::Limits;

/// Whose behaviour to show where BMv2's P4Runtime server and the specification differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// The specification's.
    #[default]
    Spec,
    /// BMv2's: device id 0 is the device, a Write needs no election id while no controller is
    /// connected, registers and value sets are UNIMPLEMENTED, a group's `max_size` may be 0.
    Bmv2,
}

/// A text that names no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a behaviour to be compatible with: there are `spec` and `bmv2`")]
pub struct CompatError(String);

impl FromStr for Compat {
    type Err = CompatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "spec" => Ok(Compat::Spec),
            "bmv2" => Ok(Compat::Bmv2),
            _ => Err(CompatError(text.to_owned())),
        }
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compat::Spec => "spec",
            Compat::Bmv2 => "bmv2",
        })
    }
}

/// Whose resources to have: beyond them a write fails with RESOURCE_EXHAUSTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// As many as memory holds; tables up to the program's sizes.
    #[default]
    Unlimited,
    /// BMv2's simple_switch.
    Bmv2,
    /// A first-generation Tofino.
    Tofino,
}

impl Profile {
    /// The bounds of this profile.
    pub fn limits(self) -> Limits {
        match self {
            Profile::Unlimited => Limits::default(),
            // simple_pre.h: 4096 groups and as many nodes (a node is one instance in one group,
            // here bounded as if each replica had its own); 15-bit mirroring sessions.
            Profile::Bmv2 => Limits {
                multicast_groups: Some(4096),
                multicast_replicas: Some(4096),
                max_instance: Some(65_535),
                clone_sessions: Some(32_767),
                ..Limits::default()
            },
            // Widths of ids: 16 bits of multicast group and replication id (tna.p4 of p4c's open
            // back end). 1015 sessions are what its open P4Runtime server offers. Replicas are
            // bounded here to what one pipe replicates to without sharing nodes, which a real device
            // may exceed. 65 536 entries are the largest tables with which a program of our shape
            // compiled for it (the design's feasibility figures); a table without our neighbours may
            // be larger there. How many updates it takes a second is not public and depends on the
            // host: `updates_per_second` has to be given.
            Profile::Tofino => Limits {
                table_entries: Some(65_536),
                multicast_groups: Some(65_535),
                multicast_replicas: Some(32_768),
                max_instance: Some(65_535),
                clone_sessions: Some(1_015),
                ..Limits::default()
            },
        }
    }
}

/// A text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a resource profile: there are `unlimited`, `bmv2` and `tofino`")]
pub struct ProfileError(String);

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "unlimited" => Ok(Profile::Unlimited),
            "bmv2" => Ok(Profile::Bmv2),
            "tofino" => Ok(Profile::Tofino),
            _ => Err(ProfileError(text.to_owned())),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::Unlimited => "unlimited",
            Profile::Bmv2 => "bmv2",
            Profile::Tofino => "tofino",
        })
    }
}
