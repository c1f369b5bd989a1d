//! The topics of random workloads and histories, as clients name them.

use std::fmt;

use mqttsn::types::{Alias, TopicRef};

/// Names that are published to.
pub const NAMES: [&str; 5] = ["a", "a/b", "a/c", "b/c", "a/b/c"];
/// Filters that are subscribed to, with wildcards and without.
pub const FILTERS: [&str; 9] = ["a", "a/b", "a/c", "b/c", "a/+", "+/c", "#", "a/#", "+/+"];
/// Short names.
pub const SHORT: [[u8; 2]; 2] = [*b"xy", *b"zz"];

/// A topic or a filter, as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// By name.
    Name(String),
    /// By predefined topic id.
    Predefined(u16),
    /// By short name.
    Short([u8; 2]),
}

/// The predefined topics; the second one is also published to by name.
pub const PREDEFINED: [(u16, &str); 2] = [(1, "pre/one"), (2, "a/b")];

impl Topic {
    /// As a request carries it.
    pub fn as_ref(&self) -> TopicRef<'_> {
        match self {
            Topic::Name(name) => TopicRef::Name(name),
            Topic::Predefined(id) => TopicRef::Predefined(*id),
            Topic::Short(name) => TopicRef::Short(*name),
        }
    }

    /// The alias that needs no registration.
    pub fn alias(&self) -> Option<Alias> {
        match self {
            Topic::Name(_) => None,
            Topic::Predefined(id) => Some(Alias::predefined(*id)),
            Topic::Short(name) => Some(Alias::short(*name)),
        }
    }

    /// The name of the topic, or the filter.
    pub fn name(&self) -> String {
        match self {
            Topic::Name(name) => name.clone(),
            Topic::Predefined(id) => predefined_name(*id),
            Topic::Short(name) => String::from_utf8_lossy(name).into_owned(),
        }
    }
}

/// The filter of a `$share` subscription without its group; other filters as they are.
pub fn without_group(filter: &str) -> &str {
    let parts = filter.strip_prefix("$share/");
    let parts = parts.and_then(|parts| parts.split_once('/'));
    parts.map_or(filter, |(_, filter)| filter)
}

/// The name behind a predefined id.
pub fn predefined_name(id: u16) -> String {
    let known = PREDEFINED.iter().find(|(known, _)| *known == id);
    known.map_or_else(
        || format!("predefined:{id}"),
        |(_, name)| (*name).to_owned(),
    )
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Name(name) => f.write_str(name),
            Topic::Predefined(id) => write!(f, "predefined:{id}"),
            Topic::Short(name) => write!(f, "short:{}", String::from_utf8_lossy(name)),
        }
    }
}
