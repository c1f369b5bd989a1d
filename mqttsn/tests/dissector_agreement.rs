//! The same octets, read by a dissector that nobody here wrote: tshark's, for MQTT-SN.
//!
//! Two directions. What this crate encodes must show the fields that went in; what this crate
//! decodes, from octets it would not have written itself, must show the fields that came out.
//!
//! Where tshark (seen with 4.0.17) and the text of MQTT-SN 1.2 differ, the text wins:
//! - The 2-octet WILLTOPIC and WILLTOPICUPD (§5.4.7, §5.4.22) are malformed to tshark, which looks
//!   for Flags behind their end. Only type and length are compared.
//! - The Wireless Node Id (§5.5) has no fixed length; tshark reads it as a number and marks one of
//!   0 or more than 8 octets as malformed. Its octets are compared, the mark is passed over; behind
//!   one of 0 octets tshark stops.
//! - QoS and Retain of WILLTOPIC, DUP and QoS of SUBSCRIBE and the granted QoS of SUBACK are not
//!   shown, so not compared. The TopicIdType of CONNECT, WILLTOPIC, WILLTOPICUPD and SUBACK is
//!   shown although these messages do not use it, and passed over.
//! - Strings are shown as ASCII, they are UTF-8 (§5.3.12); their octets are compared.
//! - The TopicId of SUBSCRIBE and UNSUBSCRIBE (§5.4.15) is two octets; tshark takes any number for
//!   it, as for a topic name.
//! - A Length that differs from the datagram's is no error to tshark.

mod any_packet;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use any_packet::{Ingredients, ingredients, with_long_length};
use mqttsn::{DecodeError, Encapsulation, Frame, MsgType, Packet, Tag, TopicRef};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value};

/// UDP carries no more than this in IPv4.
const MAX_UDP_PAYLOAD: usize = 65_507;

/// Whether tshark is there. Without it a test says so and passes, unless the environment variable
/// `TOPICSWITCH_REQUIRE`, a comma-separated list, names it.
fn tshark_is_here(test: &str) -> bool {
    if Command::new("tshark")
        .arg("--version")
        .output()
        .is_ok_and(|run| run.status.success())
    {
        return true;
    }
    let required = std::env::var("TOPICSWITCH_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|thing| thing.trim() == "tshark"),
        "TOPICSWITCH_REQUIRE names tshark, which is not on PATH: install the package tshark"
    );
    println!("SKIPPED {test}: tshark is not on PATH (install the package tshark)");
    false
}

/// A capture of these datagrams, each in UDP over IPv4, to port 1884.
fn pcap(datagrams: &[Vec<u8>]) -> Vec<u8> {
    const LINKTYPE_RAW: u32 = 101;
    let mut file = Vec::new();
    file.extend(0xA1B2_C3D4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(LINKTYPE_RAW.to_le_bytes());
    for (second, payload) in datagrams.iter().enumerate() {
        let udp_length = u16::try_from(8 + payload.len()).expect("at most MAX_UDP_PAYLOAD");
        let ip_length = udp_length + 20;
        file.extend((second as u32).to_le_bytes());
        file.extend([0; 4]);
        file.extend(u32::from(ip_length).to_le_bytes());
        file.extend(u32::from(ip_length).to_le_bytes());
        file.extend([0x45, 0]);
        file.extend(ip_length.to_be_bytes());
        file.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        file.extend(40_000_u16.to_be_bytes());
        file.extend(1884_u16.to_be_bytes());
        file.extend(udp_length.to_be_bytes());
        file.extend([0, 0]);
        file.extend(payload);
    }
    file
}

/// What tshark says about each datagram: its outermost `mqttsn.msg`, and whether it is malformed.
fn dissect(datagrams: &[Vec<u8>]) -> Vec<(Map<String, Value>, bool)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let capture = directory.path().join("capture.pcap");
    std::fs::write(&capture, pcap(datagrams)).expect("the capture is written");
    let frames = run_tshark(&capture, directory.path());
    assert_eq!(frames.len(), datagrams.len(), "one frame for each datagram");
    frames
        .into_iter()
        .map(|frame| {
            let layers = &frame["_source"]["layers"];
            let message = layers["mqttsn"]["mqttsn.msg"].as_object().cloned();
            (
                message.unwrap_or_default(),
                layers.get("_ws.malformed").is_some(),
            )
        })
        .collect()
}

fn run_tshark(capture: &Path, configuration: &Path) -> Vec<Value> {
    let run = Command::new("tshark")
        // No preferences of whoever runs the test.
        .env("WIRESHARK_CONFIG_DIR", configuration)
        .args([
            "-n",
            "-d",
            "udp.port==1884,mqttsn",
            "-T",
            "json",
            "-x",
            "-J",
            "mqttsn",
            "-r",
        ])
        .arg(capture)
        .output()
        .expect("tshark runs");
    assert!(
        run.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).expect("tshark writes JSON")
}

/// A field: a number as tshark shows it, or the octets it covers.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Number(u64),
    Octets(Vec<u8>),
}

/// The fields of one message, without those inside an encapsulation.
fn shown(message: &Map<String, Value>) -> BTreeMap<&str, Shown> {
    let strings = [
        "mqttsn.gw.addr",
        "mqttsn.client.id",
        "mqttsn.topic",
        "mqttsn.topic.name.or.id",
        "mqttsn.will.topic",
        "mqttsn.will.msg",
        "mqttsn.pub.msg",
        "mqttsn.wireless.node.id",
    ];
    let mut fields = BTreeMap::new();
    for (key, value) in message {
        let is_field = key.starts_with("mqttsn.") && key != "mqttsn.msg";
        if !is_field || key.ends_with("_raw") || key.ends_with("_tree") {
            continue;
        }
        let shown = if strings.contains(&key.as_str()) {
            // A string without octets has no raw form.
            let raw = &message.get(&format!("{key}_raw")).unwrap_or(&Value::Null)[0];
            Shown::Octets(from_hex(raw.as_str().unwrap_or_default()))
        } else {
            Shown::Number(number(
                value.as_str().expect("tshark writes numbers as strings"),
            ))
        };
        fields.insert(key.as_str(), shown);
    }
    // Whether an absent string is shown as an empty one differs from message to message.
    fields.retain(|_, shown| *shown != Shown::Octets(Vec::new()));
    fields
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("tshark writes hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn number(text: &str) -> u64 {
    match (text, text.strip_prefix("0x")) {
        ("True", _) => 1,
        ("False", _) => 0,
        (_, Some(hex)) => u64::from_str_radix(hex, 16).expect("a number in hex"),
        (decimal, None) => decimal.parse().expect("a number"),
    }
}

/// What tshark should show of a packet, from the values of its fields.
fn expected(packet: &Packet<'_>, length: usize) -> BTreeMap<&'static str, Shown> {
    use Shown::{Number, Octets};
    let octets = |octets: &[u8]| Octets(octets.to_vec());
    let topic = |topic: TopicRef<'_>| {
        let (topic_id_type, octets) = match topic {
            TopicRef::Name(name) => (0, name.as_bytes().to_vec()),
            TopicRef::Predefined(id) => (1, id.to_be_bytes().to_vec()),
            TopicRef::Short(name) => (2, name.to_vec()),
        };
        [
            ("mqttsn.topic.id.type", Number(topic_id_type)),
            ("mqttsn.topic.name.or.id", Octets(octets)),
        ]
    };
    let mut fields = BTreeMap::from([
        ("mqttsn.msg.len", Number(length as u64)),
        ("mqttsn.msg.type", Number(packet.msg_type().code().into())),
    ]);
    match packet {
        Packet::Advertise(p) => fields.extend([
            ("mqttsn.gw.id", Number(p.gw_id.into())),
            ("mqttsn.adv.interv", Number(p.duration.0.into())),
        ]),
        Packet::SearchGw(p) => fields.extend([("mqttsn.radius", Number(p.radius.into()))]),
        Packet::GwInfo(p) => fields.extend([
            ("mqttsn.gw.id", Number(p.gw_id.into())),
            ("mqttsn.gw.addr", octets(p.gw_add)),
        ]),
        Packet::Connect(p) => fields.extend([
            ("mqttsn.will", Number(p.will.into())),
            ("mqttsn.clean.session", Number(p.clean_session.into())),
            ("mqttsn.protocol.id", Number(p.protocol_id.into())),
            ("mqttsn.keep.alive", Number(p.duration.0.into())),
            ("mqttsn.client.id", octets(p.client_id.as_bytes())),
        ]),
        Packet::Connack(code) | Packet::WillTopicResp(code) | Packet::WillMsgResp(code) => {
            fields.extend([("mqttsn.return.code", Number(code.code().into()))]);
        }
        Packet::WillTopic(Some(p)) | Packet::WillTopicUpd(Some(p)) => {
            fields.extend([("mqttsn.will.topic", octets(p.topic.as_bytes()))]);
        }
        Packet::WillMsg(message) | Packet::WillMsgUpd(message) => {
            fields.extend([("mqttsn.will.msg", octets(message))]);
        }
        Packet::Register(p) => fields.extend([
            ("mqttsn.topic.id", Number(p.topic_id.into())),
            ("mqttsn.msg.id", Number(p.msg_id.0.into())),
            ("mqttsn.topic", octets(p.topic_name.as_bytes())),
        ]),
        Packet::Regack(p) => fields.extend([
            ("mqttsn.topic.id", Number(p.topic_id.into())),
            ("mqttsn.msg.id", Number(p.msg_id.0.into())),
            ("mqttsn.return.code", Number(p.return_code.code().into())),
        ]),
        Packet::Publish(p) => fields.extend([
            ("mqttsn.dup", Number(p.dup.into())),
            ("mqttsn.qos", Number((p.qos.level() & 0b11) as u64)),
            ("mqttsn.retain", Number(p.retain.into())),
            ("mqttsn.topic.id.type", Number(p.alias.topic_id_type as u64)),
            ("mqttsn.topic.id", Number(p.alias.topic_id.into())),
            ("mqttsn.msg.id", Number(p.msg_id.0.into())),
            ("mqttsn.pub.msg", octets(p.data)),
        ]),
        Packet::Puback(p) => fields.extend([
            ("mqttsn.topic.id", Number(p.topic_id.into())),
            ("mqttsn.msg.id", Number(p.msg_id.0.into())),
            ("mqttsn.return.code", Number(p.return_code.code().into())),
        ]),
        Packet::Pubcomp(msg_id)
        | Packet::Pubrec(msg_id)
        | Packet::Pubrel(msg_id)
        | Packet::Unsuback(msg_id) => {
            fields.extend([("mqttsn.msg.id", Number(msg_id.0.into()))]);
        }
        Packet::Subscribe(p) => {
            fields.extend(topic(p.topic));
            fields.extend([("mqttsn.msg.id", Number(p.msg_id.0.into()))]);
        }
        Packet::Suback(p) => fields.extend([
            ("mqttsn.topic.id", Number(p.topic_id.into())),
            ("mqttsn.msg.id", Number(p.msg_id.0.into())),
            ("mqttsn.return.code", Number(p.return_code.code().into())),
        ]),
        Packet::Unsubscribe(p) => {
            fields.extend(topic(p.topic));
            fields.extend([("mqttsn.msg.id", Number(p.msg_id.0.into()))]);
        }
        Packet::Pingreq(p) => {
            fields.extend([("mqttsn.client.id", octets(p.client_id.as_bytes()))]);
        }
        Packet::Disconnect(p) => {
            fields.extend(
                p.duration
                    .map(|d| ("mqttsn.sleep.timer", Number(d.0.into()))),
            );
        }
        Packet::WillTopicReq
        | Packet::WillTopic(None)
        | Packet::WillMsgReq
        | Packet::Pingresp
        | Packet::WillTopicUpd(None) => {}
    }
    fields.retain(|_, shown| *shown != Octets(Vec::new()));
    fields
}

/// Asserts that tshark shows what this crate decodes from the datagram.
fn agrees(datagram: &[u8], message: &Map<String, Value>, malformed: bool) {
    let frame = Frame::decode(datagram).expect("only whole frames are compared");
    let mut message = message;
    let mut odd_node_id = false;
    for layer in frame.layers() {
        let node_id = layer.wireless_node_id;
        let fields = BTreeMap::from([
            ("mqttsn.msg.type", Shown::Number(0xFE)),
            ("mqttsn.msg.len", Shown::Number(layer.encoded_len() as u64)),
            ("mqttsn.control.info", Shown::Number(layer.radius().into())),
            ("mqttsn.wireless.node.id", Shown::Octets(node_id.to_vec())),
        ]);
        assert_eq!(shown(message), fields, "{datagram:02x?}");
        odd_node_id |= node_id.len() > 8;
        message = message["mqttsn.msg"].as_object().expect("a message inside");
    }
    let packet = frame.packet().expect("only whole messages are compared");
    let mut fields = shown(message);
    if !matches!(
        packet,
        Packet::Publish(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_)
    ) {
        fields.remove("mqttsn.topic.id.type");
    }
    assert_eq!(
        fields,
        expected(&packet, frame.message().len()),
        "{packet:?} {datagram:02x?}"
    );
    let empty_will = matches!(packet, Packet::WillTopic(None) | Packet::WillTopicUpd(None));
    assert!(
        !malformed || empty_will || odd_node_id,
        "malformed to tshark: {packet:?}"
    );
}

/// `count` packets of each type, the same in every run.
fn corpus(count: usize) -> Vec<(Ingredients, Vec<u8>)> {
    let mut runner = TestRunner::deterministic();
    let mut missing: BTreeMap<MsgType, usize> = MsgType::ALL
        .iter()
        .filter(|&&msg_type| msg_type != MsgType::Encapsulated)
        .map(|&msg_type| (msg_type, count))
        .collect();
    let mut long_ones = 8;
    let mut corpus = Vec::new();
    while missing.values().any(|&missing| missing > 0) {
        let made = ingredients()
            .new_tree(&mut runner)
            .expect("never rejects")
            .current();
        let Some(octets) = made.octets() else {
            continue;
        };
        let missing = missing
            .get_mut(&made.msg_type)
            .expect("one of the messages");
        let long = octets.len() > 1000;
        if *missing == 0 || octets.len() > MAX_UDP_PAYLOAD || (long && long_ones == 0) {
            continue;
        }
        long_ones -= usize::from(long);
        *missing -= 1;
        corpus.push((made, octets));
    }
    corpus
}

#[test]
fn tshark_shows_the_fields_that_were_encoded() {
    if !tshark_is_here("tshark_shows_the_fields_that_were_encoded") {
        return;
    }
    let corpus = corpus(60);
    let datagrams: Vec<Vec<u8>> = corpus.iter().map(|(_, octets)| octets.clone()).collect();
    for ((made, octets), (message, malformed)) in corpus.iter().zip(dissect(&datagrams)) {
        // The values before they were encoded, not what this crate decodes.
        assert_eq!(Packet::decode(octets), Ok(made.packet()));
        agrees(octets, &message, malformed);
    }
}

#[test]
fn tshark_shows_the_fields_that_are_decoded() {
    if !tshark_is_here("tshark_shows_the_fields_that_are_decoded") {
        return;
    }
    // Octets that the encoder never writes: the 3-octet Length of a short message, unused flag
    // bits, reserved return codes, whatever a changed octet makes of a message.
    let mut datagrams = Vec::new();
    for (at, (_, mut octets)) in corpus(120).into_iter().enumerate() {
        if octets.len() > 1000 {
            continue;
        }
        if at % 3 == 0 {
            octets = with_long_length(&octets).expect("short enough");
        }
        let changed = at % octets.len().min(10);
        octets[changed] = octets[changed].wrapping_add(1 + (at % 250) as u8);
        if Packet::decode(&octets).is_ok() {
            datagrams.push(octets);
        }
    }
    assert!(
        datagrams.len() > 1000,
        "{} changed messages are still messages",
        datagrams.len()
    );
    for (octets, (message, malformed)) in datagrams.iter().zip(dissect(&datagrams)) {
        agrees(octets, &message, malformed);
    }
}

#[test]
fn tshark_finds_the_message_inside_the_same_layers() {
    if !tshark_is_here("tshark_finds_the_message_inside_the_same_layers") {
        return;
    }
    let mut datagrams = Vec::new();
    for (at, (_, message)) in corpus(6).into_iter().enumerate() {
        let tag = Tag {
            topic_index: at as u32,
            generation: 0x0102_0304,
        }
        .to_node_id();
        let layers = [
            Encapsulation {
                ctrl: (at % 4) as u8,
                wireless_node_id: &tag[..1 + at % 4],
            },
            Encapsulation {
                ctrl: 0,
                wireless_node_id: &tag,
            },
        ];
        let mut datagram = Vec::new();
        for layer in &layers[at % 2..] {
            let mut octets = [0; 255];
            let length = layer.encode(&mut octets).expect("room enough");
            datagram.extend(&octets[..length]);
        }
        datagram.extend(message);
        if datagram.len() <= MAX_UDP_PAYLOAD {
            datagrams.push(datagram);
        }
    }
    for (octets, (message, malformed)) in datagrams.iter().zip(dissect(&datagrams)) {
        agrees(octets, &message, malformed);
    }
}

#[test]
fn what_is_truncated_here_is_malformed_to_tshark() {
    if !tshark_is_here("what_is_truncated_here_is_malformed_to_tshark") {
        return;
    }
    let mut datagrams = Vec::new();
    for (_, octets) in corpus(6) {
        // The Length is made to agree, so that only the fields are missing.
        for length in 2..octets.len().min(9) {
            let mut cut = octets[..length].to_vec();
            cut[0] = length as u8;
            // Fewer octets of TopicId than two are no error to tshark.
            let is_compared = |msg_type, needed| {
                needed == 3 || !matches!(msg_type, MsgType::Subscribe | MsgType::Unsubscribe)
            };
            if let Err(DecodeError::Truncated {
                msg_type, needed, ..
            }) = Packet::decode(&cut)
                && is_compared(msg_type, needed)
            {
                datagrams.push(cut);
            }
        }
    }
    assert!(
        datagrams.len() > 100,
        "{} truncated messages",
        datagrams.len()
    );
    for (octets, (message, malformed)) in datagrams.iter().zip(dissect(&datagrams)) {
        assert!(malformed, "{octets:02x?} is {message:?}");
    }
}
