//! Who gets in, and as whom.

use dtls::{AlertDescription, Failure, Limits, ServerIdentity};

use crate::world::{Ca, KEY, World, address, alice, keys, psk, psk_only};

#[test]
fn a_client_with_the_key_gets_in_under_its_identity() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    world.connect(address(2), psk("bob", &[0xB0; 32]));
    assert!(world.is_connected(address(1)) && world.is_connected(address(2)));
    assert_eq!(world.server.identity(address(1)), Some(Some("alice")));
    assert_eq!(world.server.identity(address(2)), Some(Some("bob")));

    world.say(address(1), b"from alice").unwrap();
    world.say(address(2), b"from bob").unwrap();
    world.settle();
    assert_eq!(
        world.at_server,
        [
            (address(1), Some("alice".to_owned()), b"from alice".to_vec()),
            (address(2), Some("bob".to_owned()), b"from bob".to_vec()),
        ]
    );
    world.server.send(world.now, address(2), b"to bob").unwrap();
    world.settle();
    assert_eq!(world.at_clients, [(address(2), b"to bob".to_vec())]);
}

#[test]
fn a_wrong_key_is_refused_and_the_client_told() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), psk("alice", b"another key"));
    assert_eq!(world.server.identity(address(1)), None);
    assert_eq!(
        world.ended.get(&address(1)),
        Some(&Failure::Alert(AlertDescription::DECRYPT_ERROR))
    );
    assert_eq!(world.server.stats().handshakes_failed, 1);
    assert_eq!(world.server.stats().handshakes, 0);
}

#[test]
fn an_unknown_identity_is_refused_as_a_wrong_key_is() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), psk("mallory", &KEY));
    assert_eq!(world.server.identity(address(1)), None);
    assert_eq!(
        world.ended.get(&address(1)),
        Some(&Failure::Alert(AlertDescription::DECRYPT_ERROR))
    );
}

#[test]
fn an_identity_with_an_empty_key_is_unknown() {
    let credentials = dtls::ServerCredentials {
        psk: Some(std::sync::Arc::new(|_| Some(Vec::new()))),
        certificate: None,
    };
    let mut world = World::new(credentials, &Limits::default());
    world.connect(address(1), psk("alice", &[0]));
    assert_eq!(world.server.identity(address(1)), None);
}

#[test]
fn a_failed_handshake_lends_its_identity_to_nobody() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(2), psk("bob", &[0xB0; 32]));
    world.connect(address(1), psk("alice", b"not alice's key"));
    world.say(address(2), b"hello").unwrap();
    world.settle();
    world.say(address(2), b"again").unwrap();
    world.settle();
    let who: Vec<_> = world
        .at_server
        .iter()
        .map(|(_, who, _)| who.clone())
        .collect();
    assert_eq!(who, [Some("bob".to_owned()), Some("bob".to_owned())]);
}

#[test]
fn a_client_with_a_certificate_gets_in_under_its_common_name() {
    let ca = Ca::new();
    let mut world = World::new(ca.server(true), &Limits::default());
    let own = ca.key_pair("sensor-7");
    world.connect(address(1), ca.client(Some(own)));
    assert!(world.is_connected(address(1)), "{:?}", world.ended);
    world.say(address(1), b"x").unwrap();
    world.settle();
    assert_eq!(world.at_server[0].1.as_deref(), Some("sensor-7"));
}

#[test]
fn without_a_client_ca_clients_need_no_certificate_and_have_no_identity() {
    let ca = Ca::new();
    let mut world = World::new(ca.server(false), &Limits::default());
    world.connect(address(1), ca.client(None));
    assert!(world.is_connected(address(1)), "{:?}", world.ended);
    assert_eq!(world.server.identity(address(1)), Some(None));
}

#[test]
fn a_client_certificate_of_another_authority_is_refused_and_the_client_told() {
    let (ca, other) = (Ca::new(), Ca::new());
    let mut world = World::new(ca.server(true), &Limits::default());
    let own = other.key_pair("sensor-7");
    world.connect(address(1), ca.client(Some(own)));
    assert_eq!(world.server.identity(address(1)), None);
    assert_eq!(
        world.ended.get(&address(1)),
        Some(&Failure::Alert(AlertDescription::UNKNOWN_CA))
    );
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_wanted() {
    let ca = Ca::new();
    let mut world = World::new(ca.server(true), &Limits::default());
    world.connect(address(1), ca.client(None));
    assert_eq!(world.server.identity(address(1)), None);
    assert!(matches!(
        world.ended.get(&address(1)),
        Some(Failure::Alert(_))
    ));
}

#[test]
fn an_expired_client_certificate_is_refused() {
    let ca = Ca::new();
    let mut world = World::new(ca.server(true), &Limits::default());
    let (certificate, key) = ca.sign("sensor-7", |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let own = dtls::KeyPair::read(&certificate, &key).unwrap();
    world.connect(address(1), ca.client(Some(own)));
    assert_eq!(
        world.ended.get(&address(1)),
        Some(&Failure::Alert(AlertDescription::CERTIFICATE_EXPIRED))
    );
}

#[test]
fn a_client_refuses_a_server_of_another_authority() {
    let (ca, other) = (Ca::new(), Ca::new());
    let mut world = World::new(ca.server(false), &Limits::default());
    world.connect(address(1), other.client(None));
    assert!(matches!(
        world.ended.get(&address(1)),
        Some(Failure::Certificate(_))
    ));
    assert_eq!(world.server.identity(address(1)), None);
    assert_eq!(world.server.stats().handshakes, 0, "the server was told");
}

#[test]
fn a_client_refuses_a_server_of_another_name() {
    let ca = Ca::new();
    let mut world = World::new(ca.server(false), &Limits::default());
    let credentials = dtls::ClientCredentials::Certificate {
        authorities: ca.authorities(),
        server: ServerIdentity::parse("broker.example").unwrap(),
        own: None,
    };
    world.connect(address(1), credentials);
    assert!(matches!(
        world.ended.get(&address(1)),
        Some(Failure::Certificate(_))
    ));
}

#[test]
fn one_server_takes_clients_with_keys_and_clients_with_certificates() {
    let ca = Ca::new();
    let mut credentials = ca.server(true);
    credentials.psk = Some(keys());
    let mut world = World::new(credentials, &Limits::default());
    world.connect(address(1), alice());
    world.connect(address(2), ca.client(Some(ca.key_pair("sensor-7"))));
    assert_eq!(world.server.identity(address(1)), Some(Some("alice")));
    assert_eq!(world.server.identity(address(2)), Some(Some("sensor-7")));
}

#[test]
fn a_goodbye_of_the_client_ends_the_association() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    world.clients.get_mut(&address(1)).unwrap().close();
    world.settle();
    assert_eq!(world.server.identity(address(1)), None);
    assert_eq!(world.server.stats().closed_by_peer, 1);
    assert_eq!(world.server.stats().connections, 0);
    assert_eq!(world.server.next_deadline(), None, "nothing is left of it");
}

#[test]
fn a_server_that_closes_says_goodbye_to_each_client() {
    let mut world = World::new(psk_only(), &Limits::default());
    world.connect(address(1), alice());
    world.connect(address(2), alice());
    world.server.close(world.now);
    world.settle();
    for n in [1, 2] {
        assert_eq!(world.ended.get(&address(n)), Some(&Failure::Closed));
    }
    assert_eq!(world.server.stats().connections, 0);
}
