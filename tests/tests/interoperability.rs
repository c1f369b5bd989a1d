//! The broker alone, and clients that nobody here wrote, over the kernel's sockets.

use system_tests::clients::{ForeignClient, Library};
use system_tests::plain_broker::PlainBroker;

const PREDEFINED: &str = "broker: { predefined_topics: { 7: pre/defined } }";

/// A broker and two clients of it, connected; `None` where the library is not here.
fn pair(library: Library) -> Option<(PlainBroker, ForeignClient, ForeignClient)> {
    if !library.is_here() {
        return None;
    }
    let broker = PlainBroker::start(PREDEFINED);
    let client = |client_id: &str| {
        let mut client = ForeignClient::start(library, broker.address, None);
        client.step(&format!("connect {client_id}"));
        client
    };
    let (publisher, subscriber) = (client("publisher"), client("subscriber"));
    Some((broker, publisher, subscriber))
}

#[test]
fn mqtt_sn_12_publishes_at_each_qos_on_each_kind_of_topic() {
    let Some((_broker, mut publisher, mut subscriber)) = pair(Library::MqttSn12) else {
        return;
    };
    publisher.step("search");
    for topic in ["plant/level", "#7", "ab", "wild/#", "+/leaf"] {
        subscriber.step(&format!("subscribe {topic}"));
    }
    let mut expected = Vec::new();
    for (topic, seen_as, qos) in [
        ("plant/level", "plant/level", 0..=2),
        ("wild/a/b", "wild/a/b", 0..=2),
        ("tree/leaf", "tree/leaf", 0..=2),
        ("#7", "#7", -1..=2),
        // What it calls a short name when it gets one: 0x6162.
        ("ab", "#24930", -1..=2),
    ] {
        for qos in qos {
            publisher.step(&format!("publish {topic} {qos} at{qos}"));
            expected.push(format!("message {seen_as} at{qos}"));
        }
    }
    expected.sort();
    assert_eq!(subscriber.receive(expected.len()), expected);
    subscriber.step("unsubscribe plant/level");
    publisher.step("publish plant/level 1 nobody");
    publisher.step("publish ab 1 last");
    assert_eq!(
        subscriber.receive(expected.len() + 1),
        ["message #24930 last"]
    );
    for client in [&mut publisher, &mut subscriber] {
        client.step("ping");
        client.step("disconnect");
    }
}

#[test]
fn mqtt_sn_12_gets_what_was_retained_until_it_is_deleted() {
    let Some((_broker, mut publisher, mut subscriber)) = pair(Library::MqttSn12) else {
        return;
    };
    publisher.step("publish kept/a 1 old retain");
    publisher.step("publish kept/a 0 new retain");
    publisher.step("publish kept/b 1 gone retain");
    publisher.step("delete_retained kept/b");
    subscriber.step("subscribe kept/+");
    assert_eq!(subscriber.receive(1), ["message kept/a new retained"]);
    publisher.step("publish kept/b 1 live");
    assert_eq!(subscriber.receive(2), ["message kept/b live"]);
}

#[test]
fn the_will_of_mqtt_sn_12_is_published_as_updated_when_it_is_killed_and_not_when_it_says_goodbye() {
    let Some((broker, mut polite, mut heir)) = pair(Library::MqttSn12) else {
        return;
    };
    heir.step("subscribe wills/#");
    polite.step("disconnect");
    polite.step("will wills/polite 1 never");
    polite.step("connect polite 1");
    polite.step("disconnect");
    let mut killed = ForeignClient::start(Library::MqttSn12, broker.address, None);
    killed.step("will wills/first 1 first");
    killed.step("connect killed 1");
    killed.step("update_will wills/second second");
    killed.kill();
    assert_eq!(heir.receive(1), ["message wills/second second"]);
}

#[test]
fn mqtt_sn_12_takes_its_session_up_again() {
    let Some((broker, mut publisher, mut other)) = pair(Library::MqttSn12) else {
        return;
    };
    let returning = || ForeignClient::start(Library::MqttSn12, broker.address, None);
    let mut before = returning();
    before.step("connect returning 0 persistent");
    before.step("subscribe news/#");
    before.step("disconnect");
    drop(before);
    let mut after = returning();
    after.step("expect news/#");
    after.step("connect returning 0 persistent");
    publisher.step("publish news/today 1 hello");
    assert_eq!(after.receive(1), ["message news/today hello"]);
    // And not if it says that it starts from nothing.
    drop(after);
    let mut clean = returning();
    clean.step("connect returning 0 clean");
    clean.step("subscribe other");
    other.step("publish news/today 1 unheard");
    other.step("publish other 1 heard");
    assert_eq!(clean.receive(1), ["message other heard"]);
}

#[test]
fn mqtt_sn_12_sleeps_and_fetches_what_came() {
    let Some((_broker, mut publisher, mut sleeper)) = pair(Library::MqttSn12) else {
        return;
    };
    sleeper.step("subscribe plant/level");
    sleeper.step("subscribe wild/#");
    for nap in [1, 2] {
        sleeper.step("disconnect 600");
        publisher.step("publish plant/level 0 zero");
        publisher.step("publish wild/a 1 one");
        publisher.step("publish wild/b 2 two");
        let mut messages = sleeper.step(&format!("wake {}", 3 * nap));
        messages.sort();
        let expected = [
            "message plant/level zero",
            "message wild/a one",
            "message wild/b two",
        ];
        assert_eq!(messages, expected);
    }
    sleeper.step("wake 6");
    sleeper.step("connect subscriber");
    sleeper.step("disconnect");
}

#[test]
fn mqttsn_publishes_and_subscribes_at_each_qos() {
    let Some((_broker, mut publisher, mut subscriber)) = pair(Library::Mqttsn) else {
        return;
    };
    subscriber.step("subscribe plant/one 1");
    subscriber.step("subscribe plant/two 2");
    subscriber.step("subscribe #7 1");
    subscriber.step("subscribe ab 2");
    publisher.step("register plant/one");
    publisher.step("register plant/two");
    publisher.step("register pre/defined");
    for qos in [1, 2] {
        publisher.step(&format!("publish plant/one {qos} one{qos}"));
        publisher.step(&format!("publish plant/two {qos} two{qos}"));
        publisher.step(&format!("publish pre/defined {qos} pre{qos}"));
        publisher.step(&format!("publish ab {qos} ab{qos}"));
    }
    publisher.step("publish ab 0 ab0");
    publisher.step("publish_without_connection ab nobody");
    let expected = [
        "message ab0 QoS 0",
        "message ab1 QoS 1",
        "message ab2 QoS 2",
        "message nobody QoS 0",
        "message one1 QoS 1",
        "message one2 QoS 1",
        "message pre1 QoS 1",
        "message pre2 QoS 1",
        "message two1 QoS 1",
        "message two2 QoS 2",
    ];
    assert_eq!(subscriber.receive(expected.len()), expected);
}
