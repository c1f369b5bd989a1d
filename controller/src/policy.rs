//! Which topics deserve room in the switch.

use std::fmt;

use mqttsn::topic::{TopicError, matches, validate_filter};
use serde::de::{Error as _, MapAccess, VariantAccess as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The choice of topics to offload.
///
/// What is admitted by name may still find no room; `hot` measures who is to have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All that fit.
    #[default]
    All,
    /// Those whose name matches one of these topic filters (MQTT's, with `+` and `#`).
    Pinned(Vec<String>),
    /// Those with which the switch saves the broker most, by what is measured: see
    /// [`crate::HotConfig`].
    Hot,
}

impl Policy {
    /// Whether the topic of this name is to be offloaded.
    pub fn admits(&self, name: &str) -> bool {
        match self {
            Policy::All | Policy::Hot => true,
            Policy::Pinned(filters) => filters.iter().any(|filter| matches(filter, name)),
        }
    }

    /// A filter of it that is none, and so would match nothing, and why.
    pub(crate) fn misspelt(&self) -> Option<(&str, TopicError)> {
        let Policy::Pinned(filters) = self else {
            return None;
        };
        filters
            .iter()
            .find_map(|filter| Some((filter.as_str(), validate_filter(filter).err()?)))
    }
}

/// As in the configuration.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::All => f.write_str("all"),
            Policy::Hot => f.write_str("hot"),
            Policy::Pinned(filters) => write!(f, "pinned: [{}]", filters.join(", ")),
        }
    }
}

/// `all`, `hot` or `pinned: [filter, …]`; in YAML, `!pinned [filter, …]` means the same.
impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written)
    }
}

const KNOWN: &[&str] = &["all", "pinned", "hot"];

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Policy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, `hot` or `pinned: [filter, …]`")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Policy, E> {
        match name {
            "all" => Ok(Policy::All),
            "hot" => Ok(Policy::Hot),
            "pinned" => Err(E::custom(
                "`pinned` needs its filters: `pinned: [filter, …]`",
            )),
            other => Err(E::unknown_variant(other, KNOWN)),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Policy, M::Error> {
        let name: Option<String> = map.next_key()?;
        let policy = match name.as_deref() {
            Some("pinned") => Policy::Pinned(map.next_value()?),
            Some(name @ ("all" | "hot")) => {
                let message = format!("`{name}` stands alone: `policy: {name}`");
                return Err(M::Error::custom(message));
            }
            Some(other) => return Err(M::Error::unknown_variant(other, KNOWN)),
            None => return Err(M::Error::invalid_length(0, &self)),
        };
        match map.next_key::<String>()? {
            None => Ok(policy),
            Some(more) => {
                let message = format!("there is one policy, not `pinned` and `{more}`");
                Err(M::Error::custom(message))
            }
        }
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, tagged: A) -> Result<Policy, A::Error> {
        let (name, value) = tagged.variant::<String>()?;
        match name.as_str() {
            "pinned" => value.newtype_variant().map(Policy::Pinned),
            other => {
                value.unit_variant()?;
                self.visit_str(other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_filters_match_as_subscriptions_do() {
        for (filter, name, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("#", "a", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
        ] {
            assert_eq!(matches(filter, name), expected, "{filter} {name}");
        }
    }
}
