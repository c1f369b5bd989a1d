//! Access control lists: who may publish and subscribe to what. The first rule that matches decides.

use std::borrow::Cow;

use super::filters::{covers, overlap};
use crate::config::{AclAction, AclConfig, AclRule, ClientPattern, Permit};

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish<'a> {
    /// To publish to a topic name.
    Publish(&'a str),
    /// To receive each topic that a filter matches.
    Subscribe(&'a str),
}

/// The rules of a configuration that has been checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    config: AclConfig,
}

impl Rules {
    pub(super) fn new(config: AclConfig) -> Self {
        Rules { config }
    }

    pub(super) fn may_publish(&self, client: Option<&str>, topic: &str) -> bool {
        self.decide(client, Wish::Publish(topic))
    }

    pub(super) fn may_subscribe(&self, client: &str, filter: &str) -> bool {
        self.decide(Some(client), Wish::Subscribe(filter))
    }

    fn decide(&self, client: Option<&str>, wish: Wish<'_>) -> bool {
        let rules = self.config.rules.iter();
        let permit = rules
            .filter(|rule| applies(rule, client, wish))
            .map(|rule| rule.permit)
            .next()
            .unwrap_or(self.config.default);
        permit == Permit::Allow
    }
}

/// Whether the rule decides. A subscription is allowed by a rule that knows all of its topics and
/// denied by one that knows any of them: so each topic it brings is one that a rule, or the default,
/// allows.
fn applies(rule: &AclRule, client: Option<&str>, wish: Wish<'_>) -> bool {
    let concerned = match &rule.client {
        None => true,
        Some(pattern) => client.is_some_and(|client| pattern.matches(client)),
    };
    let action = match wish {
        Wish::Publish(_) => rule.action != AclAction::Subscribe,
        Wish::Subscribe(_) => rule.action != AclAction::Publish,
    };
    if !concerned || !action {
        return false;
    }
    let Some(topic) = topic_for(rule, client) else {
        return false;
    };
    match (wish, rule.permit) {
        (Wish::Publish(name), _) => mqttsn::topic::matches(&topic, name),
        (Wish::Subscribe(filter), Permit::Allow) => covers(&topic, filter),
        (Wish::Subscribe(filter), Permit::Deny) => overlap(&topic, filter),
    }
}

/// The rule's filter for this client; `None` where it has none: `%c` without a ClientId, or with one
/// that would be read as levels and wildcards.
fn topic_for<'r>(rule: &'r AclRule, client: Option<&str>) -> Option<Cow<'r, str>> {
    if !rule.topic.contains("%c") {
        return Some(Cow::Borrowed(&rule.topic));
    }
    let client = client.filter(|client| !client.contains(['/', '+', '#', '\0']))?;
    Some(Cow::Owned(rule.topic.replace("%c", client)))
}

impl ClientPattern {
    /// Whether this ClientId is meant.
    pub fn matches(&self, client_id: &str) -> bool {
        match self.as_str().strip_suffix('*') {
            Some(prefix) => client_id.starts_with(prefix),
            None => client_id == self.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(yaml: &str) -> Rules {
        let config: AclConfig = serde_yaml::from_str(yaml).unwrap();
        config.check().unwrap();
        Rules::new(config)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(
            "default: deny\nrules:\n\
             - {permit: deny, client: guest*, topic: '#'}\n\
             - {permit: allow, action: publish, client: '*', topic: 'up/%c/#'}\n\
             - {permit: allow, action: subscribe, client: '*', topic: 'down/%c/#'}\n\
             - {permit: allow, action: publish, topic: alarm}\n\
             - {permit: allow, client: boss, topic: '#'}",
        );
        let may_publish = |client, topic| rules.may_publish(client, topic);
        assert!(may_publish(Some("x"), "up/x/temp"));
        assert!(!may_publish(Some("x"), "up/y/temp"));
        assert!(!may_publish(Some("x"), "down/x"));
        assert!(!may_publish(Some("guest1"), "up/guest1"));
        assert!(may_publish(None, "alarm"));
        assert!(!may_publish(None, "up/x"));
        assert!(rules.may_subscribe("x", "down/x/+"));
        assert!(!rules.may_subscribe("x", "down/+/a"));
        assert!(rules.may_subscribe("boss", "#"));
        assert!(!rules.may_subscribe("boss", "$SYS/#"));
    }

    #[test]
    fn a_subscription_that_reaches_what_is_denied_is_denied() {
        let rules = rules("rules:\n- {permit: deny, topic: secret/#}");
        for filter in ["#", "+", "+/x", "secret", "secret/a", "+/#"] {
            assert!(!rules.may_subscribe("x", filter), "{filter}");
        }
        for filter in ["a/#", "$SYS/#", "public/+"] {
            assert!(rules.may_subscribe("x", filter), "{filter}");
        }
    }

    #[test]
    fn a_client_id_brings_neither_levels_nor_wildcards_into_a_rule() {
        let rules = rules("default: deny\nrules:\n- {permit: allow, topic: '%c/#'}");
        for client in ["+", "#", "a/b", "a+"] {
            assert!(!rules.may_publish(Some(client), "a/b"), "{client}");
            assert!(!rules.may_subscribe(client, "a/b"), "{client}");
        }
        assert!(!rules.may_publish(None, "%c/x"));
    }

    fn rule() -> impl Strategy<Value = AclRule> {
        let topic = prop_oneof![
            Just("#"),
            Just("a/#"),
            Just("a"),
            Just("+/b"),
            Just("a/+"),
            Just("$s/#"),
            Just("%c/#")
        ];
        (any::<bool>(), topic, any::<bool>()).prop_map(|(allow, topic, all)| AclRule {
            permit: if allow { Permit::Allow } else { Permit::Deny },
            action: if all {
                AclAction::All
            } else {
                AclAction::Subscribe
            },
            client: None,
            topic: topic.to_owned(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_subscription_is_never_granted_more_than_its_topics_one_by_one(
            list in prop::collection::vec(rule(), 0..6),
            allow: bool,
        ) {
            let rules = Rules::new(AclConfig {
                default: if allow { Permit::Allow } else { Permit::Deny },
                rules: list,
            });
            let names = ["a", "b", "a/b", "a/c", "c/b", "$s", "$s/b", "a/b/c", "z", "x/y"];
            for filter in ["#", "+", "a/#", "a/+", "+/b", "$s/#", "a", "a/b", "x/#", "+/+"] {
                if rules.may_subscribe("x", filter) {
                    for name in names.iter().filter(|name| mqttsn::topic::matches(filter, name)) {
                        prop_assert!(rules.may_subscribe("x", name), "{} in {}", name, filter);
                    }
                }
            }
        }
    }
}
