//! Topic names and filters, with the examples of MQTT 3.1.1 §4.7.

use mqttsn::topic::{TopicError, has_wildcards, matches, validate_filter, validate_name};
use proptest::prelude::*;

#[test]
fn hash_matches_the_parent_and_every_level_below() {
    for name in [
        "sport/tennis/player1",
        "sport/tennis/player1/ranking",
        "sport/tennis/player1/score/wimbledon",
    ] {
        assert!(matches("sport/tennis/player1/#", name), "{name}");
    }
    assert!(matches("sport/#", "sport"));
    assert!(matches("#", "a/b/c"));
    assert!(!matches("sport/#", "sports"));
    assert!(!matches("sport/tennis/#", "sport"));
}

#[test]
fn plus_matches_exactly_one_level() {
    assert!(matches("sport/tennis/+", "sport/tennis/player1"));
    assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    assert!(!matches("sport/+", "sport"));
    assert!(matches("sport/+", "sport/"));
    assert!(matches("+/+", "/finance"));
    assert!(matches("/+", "/finance"));
    assert!(!matches("+", "/finance"));
    assert!(matches("+/tennis/#", "sport/tennis"));
}

#[test]
fn a_wildcard_at_the_start_matches_no_name_that_starts_with_a_dollar() {
    assert!(!matches("#", "$SYS/broker"));
    assert!(!matches("+/monitor/Clients", "$SYS/monitor/Clients"));
    assert!(matches("$SYS/#", "$SYS/broker"));
    assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
    assert!(matches("a/+", "a/$x"), "only the first level is special");
}

#[test]
fn names_are_compared_octet_for_octet() {
    assert!(!matches("ACCOUNTS", "Accounts"));
    assert!(!matches("/finance", "finance"));
    assert!(!matches("a/", "a"));
    assert!(matches("temp/été", "temp/été"));
}

#[test]
fn a_filter_has_wildcards_alone_in_their_level_and_hash_last() {
    for filter in [
        "#",
        "+",
        "sport/#",
        "+/tennis/#",
        "sport/+/player1",
        "/",
        "a//b",
        "$share/g/+",
    ] {
        assert_eq!(validate_filter(filter), Ok(()), "{filter}");
    }
    for (filter, error) in [
        ("", TopicError::Empty),
        (
            "sport/tennis#",
            TopicError::WildcardNotAlone {
                wildcard: '#',
                position: 12,
            },
        ),
        (
            "sport+",
            TopicError::WildcardNotAlone {
                wildcard: '+',
                position: 5,
            },
        ),
        (
            "a/++",
            TopicError::WildcardNotAlone {
                wildcard: '+',
                position: 2,
            },
        ),
        (
            "sport/tennis/#/ranking",
            TopicError::HashNotLast { position: 13 },
        ),
        ("#/", TopicError::HashNotLast { position: 0 }),
        ("a\0", TopicError::Null { position: 1 }),
    ] {
        assert_eq!(validate_filter(filter), Err(error), "{filter:?}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_name_has_no_wildcards() {
    assert_eq!(validate_name("sport/tennis"), Ok(()));
    let error = TopicError::WildcardInName {
        wildcard: '+',
        position: 2,
    };
    assert_eq!(validate_name("a/+/b"), Err(error));
    assert_eq!(validate_name(""), Err(TopicError::Empty));
    assert_eq!(validate_name("\0"), Err(TopicError::Null { position: 0 }));
    assert!(has_wildcards("a/#") && has_wildcards("+") && !has_wildcards("a/b"));
}

#[test]
fn a_topic_has_at_most_65535_octets() {
    let topic = "x".repeat(65_536);
    assert_eq!(validate_name(&topic[..65_535]), Ok(()));
    assert_eq!(
        validate_name(&topic),
        Err(TopicError::TooLong { length: 65_536 })
    );
    assert_eq!(
        validate_filter(&topic),
        Err(TopicError::TooLong { length: 65_536 })
    );
}

/// The rules once more, said by recursion over lists of levels.
fn matches_by_definition(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => matches_by_definition(filter, name),
        ([level, filter @ ..], [same, name @ ..]) if level == same => {
            matches_by_definition(filter, name)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_the_definition(
        filter in "([ab$]?|\\+)(/([ab]?|\\+)){0,3}(/#)?|#",
        name in "[ab$]?(/[ab]?){0,4}",
    ) {
        prop_assume!(!filter.is_empty() && !name.is_empty());
        prop_assert_eq!(validate_filter(&filter), Ok(()));
        prop_assert_eq!(validate_name(&name), Ok(()));
        let levels: Vec<&str> = filter.split('/').collect();
        let names: Vec<&str> = name.split('/').collect();
        let hidden = name.starts_with('$') && ["+", "#"].contains(&levels[0]);
        let expected = !hidden && matches_by_definition(&levels, &names);
        prop_assert_eq!(matches(&filter, &name), expected);
    }

    #[test]
    fn a_name_is_a_filter_that_matches_itself_alone(a in "[^+#\0]{1,12}", b in "[^+#\0]{1,12}") {
        prop_assert_eq!(validate_name(&a), Ok(()));
        prop_assert_eq!(validate_filter(&a), Ok(()));
        prop_assert!(matches(&a, &a));
        prop_assert_eq!(matches(&a, &b), a == b);
    }

    #[test]
    fn no_string_makes_a_topic_function_panic(a in any::<String>(), b in "[+#/$a\0]{0,8}") {
        let _ = (validate_name(&a), validate_filter(&a), validate_name(&b), validate_filter(&b));
        let _ = (matches(&a, &b), matches(&b, &a));
    }
}
