//! Our `.proto` files say the same as those that everyone else generates code from: PyPI's
//! `p4runtime` package.

#![allow(clippy::unwrap_used)] // What helpers of tests meet fails the test.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use p4runtime::DESCRIPTOR_SET;
use prost::Message;
use prost_reflect::{DescriptorPool, EnumDescriptor, Kind, MessageDescriptor};
use prost_types::FileDescriptorSet;

/// What is named, and what is said of it.
type Facts = BTreeMap<String, String>;

const PACKAGES: [&str; 3] = ["p4.v1", "p4.config.v1", "google.rpc"];
/// What `dump_descriptors.py` exits with when the packages cannot be had.
const UNAVAILABLE: i32 = 77;

/// The descriptors of PyPI's package; `None`, after saying so, where they cannot be had.
fn standard() -> Option<DescriptorPool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Below target/, so that the second run installs nothing.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pypi-p4runtime");
    let output = Command::new("python3")
        .arg(root.join("tests/dump_descriptors.py"))
        .arg(&cache)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let why = match output {
        Ok(output) if output.status.success() => {
            let mut files = FileDescriptorSet::decode(output.stdout.as_slice()).unwrap();
            // Any and the other well-known files.
            let ours = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
            files.file.extend(
                ours.file
                    .into_iter()
                    .filter(|file| file.package() == "google.protobuf"),
            );
            return Some(DescriptorPool::from_file_descriptor_set(files).unwrap());
        }
        Ok(output) if output.status.code() == Some(UNAVAILABLE) => {
            String::from_utf8_lossy(&output.stderr).into_owned()
        }
        Ok(output) => panic!(
            "dump_descriptors.py: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => format!("python3: {error}"),
    };
    let required = std::env::var("TOPICSWITCH_REQUIRE").unwrap_or_default();
    assert!(
        !required
            .split(',')
            .any(|thing| thing.trim() == "pypi-p4runtime"),
        "TOPICSWITCH_REQUIRE names pypi-p4runtime, which cannot be had: {why}"
    );
    println!("SKIPPED wire_compatibility: PyPI's p4runtime package cannot be had: {why}");
    None
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!("message {}", message.full_name()),
        Kind::Enum(of) => format!("enum {}", of.full_name()),
        scalar => format!("{scalar:?}"),
    }
}

fn describe_message(message: &MessageDescriptor, facts: &mut Facts) {
    let name = message.full_name();
    let shape = if message.is_map_entry() {
        "map entry"
    } else {
        "message"
    };
    facts.insert(name.to_owned(), shape.to_owned());
    for field in message.fields() {
        let oneof = field
            .containing_oneof()
            .map(|oneof| oneof.name().to_owned());
        let fact = format!(
            "{} {:?} {} in {oneof:?}, presence {}, packed {}, json {}",
            field.name(),
            field.cardinality(),
            kind(&field.kind()),
            field.supports_presence(),
            field.is_packed(),
            field.json_name(),
        );
        facts.insert(format!("{name} field {}", field.number()), fact);
    }
    message
        .child_messages()
        .for_each(|child| describe_message(&child, facts));
    message
        .child_enums()
        .for_each(|child| describe_enum(&child, facts));
}

fn describe_enum(of: &EnumDescriptor, facts: &mut Facts) {
    for value in of.values() {
        facts.insert(
            format!("{}.{}", of.full_name(), value.name()),
            value.number().to_string(),
        );
    }
}

/// Everything that two sides of a wire, or of JSON and text, must agree on.
fn describe(pool: &DescriptorPool) -> Facts {
    let mut facts = Facts::new();
    for file in pool
        .files()
        .filter(|file| PACKAGES.contains(&file.package_name()))
    {
        file.messages()
            .for_each(|message| describe_message(&message, &mut facts));
        file.enums().for_each(|of| describe_enum(&of, &mut facts));
        for service in file.services() {
            for method in service.methods() {
                let side = |streams: bool| if streams { "stream " } else { "" };
                let fact = format!(
                    "({}{}) returns ({}{})",
                    side(method.is_client_streaming()),
                    method.input().full_name(),
                    side(method.is_server_streaming()),
                    method.output().full_name(),
                );
                facts.insert(
                    format!("{} of {}", method.name(), service.full_name()),
                    fact,
                );
            }
        }
    }
    facts
}

fn differences(standard: &Facts, ours: &Facts) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, fact) in standard {
        match ours.get(name) {
            Some(found) if found == fact => {}
            found => differences.push(format!("{name}: standard {fact}, ours {found:?}")),
        }
    }
    for (name, fact) in ours
        .iter()
        .filter(|(name, _)| !standard.contains_key(*name))
    {
        differences.push(format!("{name}: ours {fact}, not in the standard"));
    }
    differences
}

/// The comparison itself, tried on a slip of the kind that it is there for.
#[test]
fn one_changed_field_number_is_noticed_in_both_directions() {
    let ours = describe(&DescriptorPool::decode(DESCRIPTOR_SET).unwrap());
    let mut files = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let messages = files
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type);
    let entry = messages
        .into_iter()
        .find(|m| m.name() == "MulticastGroupEntry")
        .unwrap();
    entry
        .field
        .iter_mut()
        .find(|field| field.name() == "metadata")
        .unwrap()
        .number = Some(9);
    let changed = describe(&DescriptorPool::from_file_descriptor_set(files).unwrap());
    let found = differences(&ours, &changed);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("p4.v1.MulticastGroupEntry field 3: standard metadata"));
    assert!(found[1].starts_with("p4.v1.MulticastGroupEntry field 9: ours metadata"));
}

#[test]
fn messages_enums_and_services_are_those_of_the_standard() {
    let Some(standard) = standard() else { return };
    let standard = describe(&standard);
    let ours = describe(&DescriptorPool::decode(DESCRIPTOR_SET).unwrap());
    assert!(
        standard.len() > 400,
        "only {} facts: the comparison compares nothing",
        standard.len()
    );

    let mut differences = Vec::new();
    for (name, fact) in &standard {
        match ours.get(name) {
            Some(found) if found == fact => {}
            found => differences.push(format!("{name}: standard {fact}, ours {found:?}")),
        }
    }
    for (name, fact) in ours
        .iter()
        .filter(|(name, _)| !standard.contains_key(*name))
    {
        differences.push(format!("{name}: ours {fact}, not in the standard"));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    println!("{} facts agree", standard.len());
}
