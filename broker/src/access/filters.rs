//! Topic filters against each other: a subscription is a set of topic names, and so is a permission.
//!
//! The rules of matching are those of MQTT 3.1.1 §4.7: `+` is one level, `#` any number of levels and
//! none, and a filter that begins with either matches no name that begins with `$`.

/// Whether every topic name that `specific` matches is matched by `general`. Both must be valid.
pub(super) fn covers(general: &str, specific: &str) -> bool {
    if is_apart(general, specific) {
        return false;
    }
    let mut general = levels(general);
    let mut specific = levels(specific);
    loop {
        match (general.next(), specific.next()) {
            // All levels that are left, and none.
            (Some("#"), _) => return true,
            (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// Whether some topic name is matched by both. Both must be valid.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    if is_apart(one, other) || is_apart(other, one) {
        return false;
    }
    let mut one = levels(one);
    let mut other = levels(other);
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(level), Some(same)) if level == same => {}
            _ => return false,
        }
    }
}

/// Whether `wild` begins with a wildcard and `other` with `$`: they have no name in common.
fn is_apart(wild: &str, other: &str) -> bool {
    wild.starts_with(['+', '#']) && other.starts_with('$')
}

/// The levels of a filter. A name has at least one character, so that `#` alone says the same as `+/#`
/// and `/#` the same as `/+/#`; as the latter they compare level by level.
fn levels(filter: &str) -> impl Iterator<Item = &str> {
    match filter {
        "#" => "+/#",
        "/#" => "/+/#",
        other => other,
    }
    .split('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn containment_is_no_match_of_names() {
        for (general, specific) in [
            ("a/#", "a"),
            ("a/#", "a/+/b"),
            ("a/+", "a/+"),
            ("#", "#"),
            ("+/#", "#"),
            ("#", "a/#"),
            ("a/+/#", "a/b/#"),
        ] {
            assert!(covers(general, specific), "{general} covers {specific}");
        }
        for (general, specific) in [
            ("a/+", "a/#"),
            ("a/+/#", "a/#"),
            ("a/b", "a/+"),
            ("#", "$SYS/#"),
            ("+/b", "$SYS/b"),
            ("a/+", "#"),
            ("a", "a/b"),
        ] {
            assert!(!covers(general, specific), "{general} covers {specific}");
        }
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            3 => Just("a"), 3 => Just("b"), 1 => Just(""), 1 => Just("$s"), 3 => Just("+")
        ]
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 0..4), any::<bool>())
            .prop_map(|(mut levels, hash)| {
                if hash {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("valid", |filter| {
                mqttsn::topic::validate_filter(filter).is_ok()
            })
    }

    /// All names of up to five levels: one more than any filter above tells apart, and with a level
    /// (`z`) that no filter spells out, so that what holds for these holds for all.
    fn names() -> Vec<String> {
        let mut names = Vec::new();
        let mut longer = vec![String::new()];
        for depth in 0..5 {
            let before = std::mem::take(&mut longer);
            for name in &before {
                for level in ["a", "b", "", "$s", "z"] {
                    longer.push(match depth {
                        0 => level.to_owned(),
                        _ => format!("{name}/{level}"),
                    });
                }
            }
            names.extend(longer.iter().filter(|name| !name.is_empty()).cloned());
        }
        names
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn both_questions_are_answered_as_all_names_would_answer_them(
            pairs in prop::collection::vec((filter(), filter()), 1..24),
        ) {
            let names = names();
            for (one, other) in pairs {
                let of = |filter: &str| -> Vec<bool> {
                    names.iter().map(|name| mqttsn::topic::matches(filter, name)).collect()
                };
                let (in_one, in_other) = (of(&one), of(&other));
                let mut both = in_one.iter().zip(&in_other);
                prop_assert_eq!(
                    covers(&one, &other),
                    both.clone().all(|(&one, &other)| one || !other),
                    "{} covers {}", one, other
                );
                prop_assert_eq!(
                    overlap(&one, &other),
                    both.any(|(&one, &other)| one && other),
                    "{} overlaps {}", one, other
                );
            }
        }
    }
}
