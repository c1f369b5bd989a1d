//! `topicswitch explain TOPIC`: what broker and controller know of one topic, put together.

mod ask;
mod path;
mod text;

use std::collections::BTreeMap;

use broker::{SubscriberPart, TopicAccount};
use controller::{Member, TopicReport, TopicState};
use serde::Serialize;
use serde_json::Value;

/// What a controller says of a topic.
#[derive(Clone, Debug, serde::Deserialize, Serialize)]
pub struct ControllerAccount {
    /// For how long its switch still offloads.
    pub lease_remaining_ms: u64,
    /// What keeps it from being renewed.
    #[serde(default)]
    pub lease_why: Option<String>,
    /// How it stands with its switch.
    pub mastership: Value,
    /// The topic, if the broker's intent has it.
    pub topic: Option<TopicReport>,
}

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The topic's name.
    pub topic: String,
    /// Where its messages go.
    pub verdict: Verdict,
    /// Why, a sentence each.
    pub why: Vec<String>,
    /// What broker and controller call it and its served set.
    pub numbers: Numbers,
    /// Who receives.
    pub subscribers: Vec<Subscriber>,
    /// Who may publish.
    pub publishers: Vec<Publisher>,
    /// Packets that the switch has counted for the topic.
    pub packets: Option<u64>,
    /// Their octets.
    pub bytes: Option<u64>,
    /// What becomes of a PUBLISH, step by step, by its QoS.
    pub path: BTreeMap<&'static str, Vec<String>>,
    /// Parts of the system that were not asked.
    pub not_asked: Vec<&'static str>,
}

/// Where a topic's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The switch serves all subscribers.
    Offloaded,
    /// The switch serves some, and the broker the others.
    Partly,
    /// The broker serves all.
    Software,
    /// The change is under way to the switch.
    Pending,
    /// Nobody uses the name.
    Unused,
}

/// What broker and controller call a topic and its served set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Numbers {
    /// The broker's index of the topic.
    pub index: Option<u32>,
    /// What most sessions call it on the wire.
    pub home_alias: Option<String>,
    /// The generation that the broker wants.
    pub generation: Option<u32>,
    /// The one that the switch has.
    pub generation_installed: Option<u32>,
    /// The group of the action selector, where the switch chooses a member of a share group.
    pub share_group: Option<u32>,
    /// Multicast groups at QoS 0 and at QoS 1.
    pub groups: Option<[Option<u16>; 2]>,
    /// What goes to the broker too.
    pub copies: Option<String>,
}

/// One who receives.
#[derive(Clone, Debug, Serialize)]
pub struct Subscriber {
    /// What the broker says.
    #[serde(flatten)]
    pub broker: SubscriberPart,
    /// Where the switch has it.
    pub switch: Option<Member>,
}

/// One who may publish.
#[derive(Clone, Debug, Serialize)]
pub struct Publisher {
    /// The client; none for anybody, at QoS −1.
    pub client_id: Option<String>,
    /// Where it is.
    pub address: Option<String>,
    /// What it calls the topic.
    pub alias: String,
    /// Whether the switch admits its messages; none where no controller was asked.
    pub installed: Option<bool>,
    /// Why not.
    pub why: Option<String>,
    /// Packets admitted by the switch.
    pub packets: Option<u64>,
}

impl Explanation {
    /// The same with the path of a PUBLISH at this QoS only.
    #[must_use]
    pub fn at_qos(mut self, qos: i8) -> Self {
        let level = path::level(qos);
        self.path.retain(|name, _| Some(*name) == level);
        self
    }

    /// Puts together what the parts say.
    pub fn of(
        name: &str,
        broker: Option<&TopicAccount>,
        controller: Option<&ControllerAccount>,
    ) -> Self {
        let report = controller.and_then(|controller| controller.topic.as_ref());
        let (verdict, why) = judge(broker, controller);
        let mut not_asked = Vec::new();
        if broker.is_none() {
            not_asked.push("broker");
        }
        if controller.is_none() {
            not_asked.push("controller");
        }
        Explanation {
            topic: name.to_owned(),
            verdict,
            why,
            numbers: numbers(broker, report),
            subscribers: subscribers(broker, report),
            publishers: publishers(broker, report),
            packets: report.map(|report| report.packets),
            bytes: report.map(|report| report.bytes),
            path: path::of(broker, controller),
            not_asked,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        text::of(self)
    }
}

fn numbers(broker: Option<&TopicAccount>, report: Option<&TopicReport>) -> Numbers {
    let topic = broker.and_then(|broker| broker.topic.as_ref());
    let wanted = topic.filter(|topic| topic.wanted);
    Numbers {
        index: topic.map(|topic| topic.index).or(report.map(|r| r.index)),
        home_alias: topic.map(|topic| topic.home_alias.clone()),
        generation: wanted
            .map(|topic| topic.generation)
            .or(report.map(|r| r.generation)),
        generation_installed: report.and_then(|report| report.generation_installed),
        share_group: report.and_then(|report| report.share_group),
        groups: report.map(|report| report.groups),
        copies: report
            .map(|report| report.copies.clone())
            .filter(|copies| !copies.is_empty()),
    }
}

fn subscribers(broker: Option<&TopicAccount>, report: Option<&TopicReport>) -> Vec<Subscriber> {
    let members = report.map_or(&[][..], |report| &report.members);
    let of = |session| members.iter().find(|member| member.session == session);
    let Some(broker) = broker else {
        return Vec::new();
    };
    let subscribers = broker.subscribers.iter().map(|subscriber| Subscriber {
        broker: subscriber.clone(),
        switch: of(subscriber.session).cloned(),
    });
    subscribers.collect()
}

fn publishers(broker: Option<&TopicAccount>, report: Option<&TopicReport>) -> Vec<Publisher> {
    let rows = report.map_or(&[][..], |report| &report.publishers);
    let mut all = Vec::new();
    let Some(broker) = broker else {
        return rows
            .iter()
            .map(|row| Publisher {
                client_id: None,
                address: row.address.map(|address| address.to_string()),
                alias: row.alias.clone(),
                installed: Some(row.installed),
                why: row.why.clone(),
                packets: Some(row.packets),
            })
            .collect();
    };
    let anybody = broker.anybody.iter().map(|alias| (None, alias, None));
    let known = broker
        .publishers
        .iter()
        .map(|publisher| (Some(publisher), &publisher.alias, publisher.why.clone()));
    for (publisher, alias, why) in known.chain(anybody) {
        let address = publisher.map(|publisher| publisher.address);
        let row = rows
            .iter()
            .find(|row| row.address == address && row.alias == *alias);
        all.push(Publisher {
            client_id: publisher.map(|publisher| publisher.client_id.clone()),
            address: address.map(|address| address.to_string()),
            alias: alias.clone(),
            installed: report.map(|_| row.is_some_and(|row| row.installed)),
            why: why.or_else(|| row.and_then(|row| row.why.clone())),
            packets: row.map(|row| row.packets),
        });
    }
    all
}

/// Why the switch serves nobody whatever the topic, if so.
fn idle(broker: &TopicAccount, controller: Option<&ControllerAccount>) -> Option<String> {
    if !broker.offload {
        return Some(
            "the broker gives no work to the network: start it with --offload, or use `up`".into(),
        );
    }
    if broker.services.is_empty() {
        return Some(
            "the switch does not know what is for the broker, which listens on all addresses: list those \
             that clients write to under broker.offload.services"
                .into(),
        );
    }
    let Some(name) = &broker.controller else {
        return Some("no controller is linked to the broker".into());
    };
    let primary = controller.filter(|controller| controller.mastership["state"] == "primary");
    let because = primary
        .and_then(|controller| controller.lease_why.as_deref())
        .map_or(String::new(), |why| format!(": {why}"));
    if broker.lease_remaining_ms == 0 {
        let doing = match broker.installed == broker.revision {
            true => "does not renew it".into(),
            false => format!(
                "has not installed revision {} (it holds {})",
                broker.revision, broker.installed
            ),
        };
        return Some(format!(
            "there is no lease: the controller `{name}` {doing}{because}"
        ));
    }
    let lapsed = primary.filter(|controller| controller.lease_remaining_ms == 0);
    lapsed.map(|_| format!("the switch has no lease: the controller has not renewed it{because}"))
}

fn judge(
    broker: Option<&TopicAccount>,
    controller: Option<&ControllerAccount>,
) -> (Verdict, Vec<String>) {
    let report = controller.and_then(|controller| controller.topic.as_ref());
    let Some(broker) = broker else {
        return match report.map(|report| &report.state) {
            None => (
                Verdict::Software,
                vec!["the broker's intent has no such topic".into()],
            ),
            Some(TopicState::Offloaded) => (Verdict::Offloaded, Vec::new()),
            Some(TopicState::Pending) => (Verdict::Pending, Vec::new()),
            Some(TopicState::Software(why)) => (Verdict::Software, vec![why.clone()]),
        };
    };
    let mut why: Vec<String> = idle(broker, controller).into_iter().collect();
    let Some(topic) = &broker.topic else {
        why.insert(0, "nobody uses this topic name".into());
        let waiting = broker.subscribers.len();
        if waiting > 0 {
            why.push(format!(
                "{waiting} sessions subscribe to filters that match it: they receive its first message, \
                 and the switch is told of it then"
            ));
        }
        return (Verdict::Unused, why);
    };
    if broker.subscribers.is_empty() {
        why.push("nobody subscribes".into());
    }
    if let Some(refusal) = &topic.refusal {
        why.push(refusal.clone());
    }
    let unserved: Vec<_> = broker
        .subscribers
        .iter()
        .filter(|subscriber| !subscriber.served_q0)
        .collect();
    for subscriber in unserved.iter().take(SHOWN) {
        let reason = subscriber.why.as_deref().unwrap_or("it is about to be");
        why.push(format!(
            "the broker serves {}: {reason}",
            subscriber.client_id
        ));
    }
    if unserved.len() > SHOWN {
        why.push(format!("and {} others", unserved.len() - SHOWN));
    }
    let stopped = idle(broker, controller).is_some() || topic.refusal.is_some() || !topic.wanted;
    let verdict = match report.map(|report| &report.state) {
        _ if stopped => Verdict::Software,
        Some(TopicState::Software(reason)) => {
            why.push(reason.clone());
            Verdict::Software
        }
        Some(TopicState::Pending) => {
            why.push("the switch does not hold the last change yet".into());
            Verdict::Pending
        }
        _ if !broker.subscribers.is_empty() && unserved.len() == broker.subscribers.len() => {
            Verdict::Software
        }
        _ if topic.copy_q0 || !unserved.is_empty() => Verdict::Partly,
        _ => Verdict::Offloaded,
    };
    if verdict == Verdict::Partly && topic.copy_q0 && unserved.is_empty() {
        why.push("the broker wants a copy of each message".into());
    }
    (verdict, why)
}

/// Subscribers that are named one by one.
const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use broker::{PublisherPart, TopicPart};
    use controller::{PublicationReport, Selected};
    use serde_json::json;

    fn subscriber(session: u32, by_switch: bool, why: Option<&str>) -> SubscriberPart {
        SubscriberPart {
            session,
            client_id: format!("client{session}"),
            address: "10.0.0.3:4000".parse().unwrap(),
            state: "active".into(),
            granted: Some(0),
            share_groups: Vec::new(),
            alias: Some("normal:7".into()),
            served_q0: by_switch,
            served_q1: by_switch,
            why: why.map(str::to_owned),
        }
    }

    /// A topic with one subscriber that the switch serves, and one publisher.
    fn broker() -> TopicAccount {
        TopicAccount {
            name: "a/b".into(),
            offload: true,
            services: vec!["10.0.0.1:1884".parse().unwrap()],
            controller: Some("c".into()),
            revision: 9,
            installed: 9,
            lease_remaining_ms: 250,
            topic: Some(TopicPart {
                index: 3,
                home_alias: "normal:7".into(),
                wanted: true,
                generation: 5,
                ack_q1: true,
                ..TopicPart::default()
            }),
            subscribers: vec![subscriber(1, true, None)],
            publishers: vec![PublisherPart {
                session: 2,
                client_id: "sensor".into(),
                address: "10.0.0.2:4000".parse().unwrap(),
                alias: "normal:7".into(),
                why: None,
            }],
            anybody: Vec::new(),
        }
    }

    fn controller() -> ControllerAccount {
        ControllerAccount {
            lease_remaining_ms: 250,
            lease_why: None,
            mastership: json!({"state": "primary"}),
            topic: Some(TopicReport {
                index: 3,
                name: "a/b".into(),
                state: TopicState::Offloaded,
                generation: 5,
                generation_installed: Some(5),
                share_group: None,
                groups: [Some(12), Some(12)],
                to_one: None,
                copies: "PUBACK by the switch".into(),
                members: vec![Member {
                    session: 1,
                    address: Some("10.0.0.3:4000".parse().unwrap()),
                    port: Some(4),
                    rid: Some(9),
                    alias: "normal:7".into(),
                    q0: true,
                    q1: true,
                    shared: false,
                    selected: None,
                    packets: 40,
                }],
                publications: 1,
                publishers: vec![PublicationReport {
                    address: Some("10.0.0.2:4000".parse().unwrap()),
                    alias: "normal:7".into(),
                    installed: true,
                    why: None,
                    packets: 41,
                }],
                packets: 42,
                bytes: 4200,
            }),
        }
    }

    fn explain(broker: &TopicAccount, controller: &ControllerAccount) -> (Verdict, String) {
        let explanation = Explanation::of("a/b", Some(broker), Some(controller));
        (explanation.verdict, explanation.text())
    }

    #[test]
    fn an_offloaded_topic_is_told_with_its_entries_and_counters() {
        let (verdict, text) = explain(&broker(), &controller());
        assert_eq!(verdict, Verdict::Offloaded);
        for wanted in [
            "index 3, home alias normal:7, generation 5 (on the switch: 5)",
            "42 packets, 4200 octets",
            "client1 at 10.0.0.3:4000 (active), QoS 0, as normal:7: by the switch, port 4, rid 9 (40 copies, of all its topics)",
            "sensor at 10.0.0.2:4000 as normal:7: admitted by the switch, 41 packets",
            "index 3 is offloaded as generation 5: multicast group 12",
            "rid 9 leaves port 4 for 10.0.0.3:4000 at QoS 0 as normal:7",
            "with Retain the broker gets a tagged copy, and acknowledges in place of the switch",
            "PUBACK: the switch sends it to the publisher",
        ] {
            assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
        }
    }

    #[test]
    fn a_subscriber_left_to_the_broker_makes_it_partly_and_is_named_with_the_reason() {
        let mut broker = broker();
        let sleeper = subscriber(8, false, Some("it is asleep"));
        broker.subscribers.push(sleeper);
        broker.topic.as_mut().unwrap().copy_q0 = true;
        let (verdict, text) = explain(&broker, &controller());
        assert_eq!(verdict, Verdict::Partly);
        assert!(
            text.contains("the broker serves client8: it is asleep"),
            "{text}"
        );
        assert!(text.contains("tagged with index 3"), "{text}");
        assert!(text.contains("whom generation 5 does not: 1"), "{text}");
    }

    #[test]
    fn a_share_group_is_told_with_each_member_of_the_selector() {
        let mut broker = broker();
        let member = SubscriberPart {
            share_groups: vec!["pumps".into()],
            ..subscriber(2, true, None)
        };
        broker.subscribers.push(member);
        let mut controller = controller();
        let topic = controller.topic.as_mut().unwrap();
        topic.share_group = Some(3);
        topic.generation_installed = None;
        topic.groups = [None, None];
        topic.members.push(Member {
            session: 2,
            shared: true,
            selected: Some(Selected {
                member_id: Some(17),
                generation: 31,
                generation_installed: Some(30),
                groups: [Some(21), Some(22)],
            }),
            ..topic.members[0].clone()
        });
        let (verdict, text) = explain(&broker, &controller);
        assert_eq!(verdict, Verdict::Offloaded);
        for wanted in [
            "generation 5 (on the switch: each share member its own)",
            "share group 3 of the action selector; its members: 1",
            "client2: member 17, generation 31 (on the switch: 30), multicast groups 21 and 22",
            "client2 at 10.0.0.3:4000 (active), QoS 0, as normal:7: by the switch, member of pumps",
            "table shared_topic: index 3 goes to share group 3, which chooses one member by the \
             publisher's address",
            "member 17 is offloaded as generation 30: multicast group 21",
        ] {
            assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
        }
        let topic = controller.topic.as_mut().unwrap();
        topic.members[1].selected = Some(Selected {
            member_id: None,
            generation: 31,
            generation_installed: None,
            groups: [None, None],
        });
        let (_, text) = explain(&broker, &controller);
        assert!(
            text.contains("client2: not on the switch yet, generation 31"),
            "{text}"
        );
    }

    #[test]
    fn whatever_keeps_a_topic_in_software_is_said() {
        type Spoil = fn(&mut TopicAccount, &mut ControllerAccount);
        let cases: [(Spoil, &str); 10] = [
            (|broker, _| broker.offload = false, "--offload"),
            (
                |broker, _| broker.services.clear(),
                "under broker.offload.services",
            ),
            (
                |broker, _| broker.controller = None,
                "no controller is linked",
            ),
            (
                |broker, _| broker.lease_remaining_ms = 0,
                "there is no lease",
            ),
            (
                |broker, _| {
                    broker.lease_remaining_ms = 0;
                    broker.installed = 7;
                },
                "has not installed revision 9 (it holds 7)",
            ),
            (
                |broker, _| broker.lease_remaining_ms = 0,
                "the controller `c` does not renew it\n",
            ),
            (
                |broker, controller| {
                    broker.lease_remaining_ms = 0;
                    controller.lease_why = Some("the switch is late".into());
                },
                "does not renew it: the switch is late",
            ),
            (
                |_, controller| controller.lease_remaining_ms = 0,
                "the switch has no lease",
            ),
            (
                |broker, controller| {
                    broker.topic.as_mut().unwrap().refusal = Some("no room: topic".into());
                    controller.topic.as_mut().unwrap().state =
                        TopicState::Software("no room: topic".into());
                },
                "no room: topic",
            ),
            (
                |broker, _| {
                    broker.topic.as_mut().unwrap().wanted = false;
                    broker.subscribers = vec![subscriber(1, false, Some("it is asleep"))];
                },
                "client1: it is asleep",
            ),
        ];
        for (spoil, wanted) in cases {
            let (mut broker, mut controller) = (broker(), controller());
            spoil(&mut broker, &mut controller);
            let (verdict, text) = explain(&broker, &controller);
            assert_eq!(verdict, Verdict::Software, "{wanted}");
            assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
            assert!(!text.contains(": by the switch"), "{text}");
        }
    }

    #[test]
    fn a_name_that_nobody_uses_is_told_with_who_would_receive_it() {
        let mut broker = broker();
        broker.topic = None;
        let mut controller = controller();
        controller.topic = None;
        let (verdict, text) = explain(&broker, &controller);
        assert_eq!(verdict, Verdict::Unused);
        assert!(text.contains("1 sessions subscribe to filters"), "{text}");
    }

    #[test]
    fn a_part_that_was_not_asked_is_named() {
        let alone = Explanation::of("a/b", Some(&broker()), None);
        assert_eq!(alone.verdict, Verdict::Offloaded);
        assert_eq!(alone.not_asked, ["controller"]);
        assert!(alone.text().contains("no controller was asked"));
        let alone = Explanation::of("a/b", None, Some(&controller()));
        assert_eq!(alone.not_asked, ["broker"]);
        assert_eq!(alone.publishers.len(), 1);
    }
}
