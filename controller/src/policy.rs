//! Which topics deserve room in the switch.

use serde::{Deserialize, Serialize};

/// The choice of topics to offload.
///
/// What is admitted by name may still find no room; `hot` measures who is to have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
}

/// Topic filters as MQTT 3.1.1 §4.7 has them: `+` is one level, `#` the rest and the parent itself;
/// neither matches a leading `$`.
fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = name.split('/');
    for part in filter.split('/') {
        if part == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if part == "+" || part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
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
