//! The store on a disk: what it refuses, and that it leaves what it refuses as it was.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the functions its cases share"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use broker::store::{OpenError, Store, Sync};
use broker::{AllowAll, Broker, Config, Restore};
use mqttsn::packet::{Connect, Register, Subscribe};
use mqttsn::types::PROTOCOL_ID;
use mqttsn::{MsgId, Packet, Qos, Seconds, TopicRef};
use proptest::prelude::*;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// All files, octet for octet.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn entries(directory: &Path) -> Result<(Store, Entries), OpenError> {
    let mut entries = Entries::new();
    let store = Store::open(directory, Sync::Process, |key, value| {
        entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    })?;
    Ok((store, entries))
}

fn open(directory: &Path) -> Result<(Store, Broker), OpenError> {
    let now = Instant::now();
    let mut restore = Restore::new(Config::default(), Box::new(AllowAll), now).unwrap();
    let store = Store::open(directory, Sync::Process, |k, v| restore.entry(k, v))?;
    Ok((store, restore.finish()))
}

fn say(broker: &mut Broker, client: u16, packet: &Packet<'_>) {
    let mut bytes = vec![0; packet.encoded_len()];
    packet.encode(&mut bytes).unwrap();
    let from = std::net::SocketAddr::from(([10, 0, 0, 1], client));
    broker.handle_datagram(Instant::now(), from, &bytes);
}

fn connect(broker: &mut Broker, client: u16) {
    let client_id = format!("client-{client}");
    let connect = Packet::Connect(Connect {
        will: false,
        clean_session: false,
        protocol_id: PROTOCOL_ID,
        duration: Seconds(60),
        client_id: &client_id,
    });
    say(broker, client, &connect);
}

/// A store with some clients in several commits, closed as by `kill -9`: nothing is tidied up.
fn filled(directory: &Path) {
    let (mut store, mut broker) = open(directory).unwrap();
    for client in 1..40 {
        connect(&mut broker, client);
        let topic_name = "site/floor/room/sensor";
        let msg_id = MsgId(1);
        let register = Register {
            topic_id: 0,
            msg_id,
            topic_name,
        };
        say(&mut broker, client, &Packet::Register(register));
        let subscribe = Subscribe {
            dup: false,
            qos: Qos::One,
            msg_id,
            topic: TopicRef::Name("site/#"),
        };
        say(&mut broker, client, &Packet::Subscribe(subscribe));
        store.commit(&broker.take_changes().unwrap()).unwrap();
    }
    let copy = directory.with_extension("killed");
    std::fs::create_dir(&copy).unwrap();
    for (name, octets) in files(directory) {
        std::fs::write(copy.join(name), octets).unwrap();
    }
    drop(store);
    std::fs::remove_dir_all(directory).unwrap();
    std::fs::rename(copy, directory).unwrap();
}

#[test]
fn what_was_committed_is_there_after_a_kill() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    filled(&directory);
    let (store, broker) = open(&directory).unwrap();
    assert_eq!(store.status().commits, 39);
    assert_eq!(broker.status().sessions, 39);
    let topic = broker.topic("site/floor/room/sensor").unwrap();
    assert_eq!(topic.subscribers.len(), 39);
}

#[test]
fn a_second_process_is_refused_and_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let (first, _) = open(directory.path()).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    drop(first);
    open(directory.path()).unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_untouched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("thesis.tex"), "precious").unwrap();
    let before = files(directory.path());
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { found, .. } if found == "thesis.tex"));
    assert_eq!(files(directory.path()), before);
}

#[test]
fn a_database_of_somebody_else_is_refused_and_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let database = redb::Database::create(directory.path().join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    write.open_table(table).unwrap().insert(1, 2).unwrap();
    write.commit().unwrap();
    drop(database);
    let before = files(directory.path());
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(files(directory.path()), before);
}

#[test]
fn a_store_of_a_later_version_is_refused_and_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    filled(&directory);
    let database = redb::Database::open(directory.join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u64>::new("topicswitch");
    write
        .open_table(about)
        .unwrap()
        .insert("schema", 2)
        .unwrap();
    write.commit().unwrap();
    drop(database);
    let before = files(&directory);
    let error = open(&directory).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 2, .. }),
        "{error}"
    );
    assert_eq!(files(&directory), before);
}

#[test]
fn entries_that_mean_nothing_are_refused_and_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    filled(&directory);
    let database = redb::Database::open(directory.join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&[u8], &[u8]>::new("topicswitch entries");
    let key: &[u8] = &[2, 0, 0, 1, 0];
    write.open_table(table).unwrap().insert(key, key).unwrap();
    write.commit().unwrap();
    drop(database);
    let before = files(&directory);
    let error = open(&directory).unwrap_err();
    assert!(matches!(error, OpenError::Entries { .. }), "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(files(&directory), before);
}

#[test]
fn a_store_without_its_latest_commit_is_refused_until_the_operator_accepts_the_loss() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    filled(&directory);
    let earlier = files(&directory);
    let (mut store, mut broker) = open(&directory).unwrap();
    connect(&mut broker, 99);
    store.commit(&broker.take_changes().unwrap()).unwrap();
    drop(store);
    std::fs::write(directory.join("store.redb"), &earlier["store.redb"]).unwrap();
    let before = files(&directory);
    let error = open(&directory).unwrap_err();
    let OpenError::Behind {
        found,
        acknowledged,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((found, acknowledged), (39, 40));
    assert_eq!(files(&directory), before);
    std::fs::remove_file(directory.join("commits")).unwrap();
    open(&directory).unwrap();
}

#[test]
fn a_truncated_store_is_refused_and_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    filled(&directory);
    let whole = files(&directory);
    for name in ["store.redb", "commits"] {
        let octets = &whole[name];
        for length in [octets.len() / 2, octets.len() - 1, 1] {
            std::fs::write(directory.join(name), &octets[..length]).unwrap();
            let before = files(&directory);
            let error = open(&directory).map(|_| ()).unwrap_err();
            assert!(
                matches!(error, OpenError::Damaged { .. }),
                "{length}: {error}"
            );
            assert_eq!(files(&directory), before);
        }
        std::fs::write(directory.join(name), octets).unwrap();
    }
    std::fs::write(directory.join("store.redb"), []).unwrap();
    let error = open(&directory).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A damaged octet is one that is not used (the store holds what it held), or one that is: then the
    /// store is refused, and nobody has written to it.
    #[test]
    fn a_flipped_octet_is_refused_or_means_nothing(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        header: bool,
    ) {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("store");
        let (healthy, held) = HEALTHY.with(Clone::clone);
        std::fs::create_dir(&directory).unwrap();
        for (name, octets) in &healthy {
            let mut octets = octets.clone();
            if name == "store.redb" {
                // The header is small, and all of it matters.
                let range = if header { 320 } else { octets.len() };
                for (place, flip) in &places {
                    octets[place.index(range)] ^= flip;
                }
            }
            std::fs::write(directory.join(name), octets).unwrap();
        }
        let before = files(&directory);
        match entries(&directory) {
            Ok((_, entries)) => prop_assert_eq!(entries, held),
            Err(error) => {
                prop_assert!(!matches!(error, OpenError::Io { .. }), "{}", error);
                prop_assert_eq!(files(&directory), before);
            }
        }
    }
}

thread_local! {
    static HEALTHY: (BTreeMap<String, Vec<u8>>, Entries) = {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("store");
        filled(&directory);
        let healthy = files(&directory);
        let held = entries(&directory).unwrap().1;
        (healthy, held)
    };
}
