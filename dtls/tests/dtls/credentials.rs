//! Files that cannot be used are named, with what to do.

use dtls::{Authorities, CredentialError, KeyPair, Limits, Server, ServerCredentials};

use crate::world::{Ca, write_private};

#[test]
fn a_file_that_is_not_there_is_named() {
    let ca = Ca::new();
    let (certificate, _) = ca.sign("server", |_| {});
    let error = KeyPair::read(&certificate, &ca.path("nothing.key")).unwrap_err();
    assert!(matches!(error, CredentialError::Read { .. }));
    assert!(error.to_string().contains("nothing.key"), "{error}");
}

#[test]
fn a_key_that_everybody_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let ca = Ca::new();
    let (certificate, key) = ca.sign("server", |_| {});
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = KeyPair::read(&certificate, &key).unwrap_err();
    assert!(matches!(
        error,
        CredentialError::OpenToAll { mode: 0o644, .. }
    ));
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let ca = Ca::new();
    let (certificate, _) = ca.sign("one", |_| {});
    let (_, key) = ca.sign("other", |_| {});
    let error = KeyPair::read(&certificate, &key).unwrap_err();
    assert!(matches!(error, CredentialError::Mismatch { .. }));
    assert!(error.to_string().contains("one.pem") && error.to_string().contains("other.key"));
}

#[test]
fn files_that_hold_something_else_are_refused() {
    let ca = Ca::new();
    let (certificate, key) = ca.sign("server", |_| {});
    write_private(&ca.path("text"), "no PEM at all");
    assert!(matches!(
        KeyPair::read(&ca.path("text"), &key),
        Err(CredentialError::NoCertificate { .. })
    ));
    assert!(matches!(
        KeyPair::read(&certificate, &ca.path("text")),
        Err(CredentialError::NoPrivateKey { .. })
    ));
    assert!(matches!(
        Authorities::read(&ca.path("text")),
        Err(CredentialError::NoCertificate { .. })
    ));
    let swapped = KeyPair::read(&key, &certificate);
    assert!(swapped.is_err());
}

#[test]
fn a_key_of_another_kind_is_refused_with_the_way_to_make_one() {
    let ca = Ca::new();
    let (certificate, _) = ca.sign("server", |_| {});
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    write_private(&ca.path("ed25519.key"), &ed25519.serialize_pem());
    let error = KeyPair::read(&certificate, &ca.path("ed25519.key")).unwrap_err();
    assert!(matches!(error, CredentialError::UnsupportedKey { .. }));
    assert!(error.to_string().contains("openssl genpkey"), "{error}");
}

#[test]
fn a_server_that_could_let_nobody_in_is_not_made() {
    let server = Server::new(
        ServerCredentials::default(),
        &Limits::default(),
        std::time::Instant::now(),
    );
    assert!(matches!(server, Err(CredentialError::Nothing)));
}
