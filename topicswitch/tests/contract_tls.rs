//! Broker and controller over TLS: who is let in, and what is said to who is not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use offload::{FromBroker, FromController};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tokio::sync::mpsc;
use topicswitch::config::ContractTlsConfig;
use topicswitch::contract::{Certificates, ContractServer, RemoteBroker};

const DEADLINE: Duration = Duration::from_secs(20);

/// Files of the certificates of one test.
struct Files {
    directory: tempfile::TempDir,
}

/// An authority, and what it signs into files.
struct Authority<'a> {
    files: &'a Files,
    name: &'static str,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is to be.
struct Wanted {
    name: &'static str,
    purpose: ExtendedKeyUsagePurpose,
    until: i32,
}

const BROKER: Wanted = Wanted {
    name: "127.0.0.1",
    purpose: ExtendedKeyUsagePurpose::ServerAuth,
    until: 4000,
};
const CONTROLLER: Wanted = Wanted {
    name: "controller.lab",
    purpose: ExtendedKeyUsagePurpose::ClientAuth,
    until: 4000,
};

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Files { directory }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn authority(&self, name: &'static str) -> Authority<'_> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(&format!("{name}.ca"), &issuer.pem());
        Authority {
            files: self,
            name,
            issuer,
        }
    }
}

impl Authority<'_> {
    /// A side that shows a certificate of this authority and trusts `trusted`.
    fn side(&self, trusted: &Authority<'_>, file: &str, wanted: &Wanted) -> ContractTlsConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![wanted.name.into()]).unwrap();
        params.extended_key_usages = vec![wanted.purpose.clone()];
        params.not_after = rcgen::date_time_ymd(wanted.until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = self.files;
        ContractTlsConfig {
            ca: Some(files.directory.path().join(format!("{}.ca", trusted.name))),
            cert: Some(files.write(&format!("{file}.pem"), &certificate.pem())),
            key: Some(files.write(&format!("{file}.key"), &key.serialize_pem())),
            ..ContractTlsConfig::default()
        }
    }
}

/// A broker's contract; every link that comes is greeted with a snapshot.
struct Served {
    at: SocketAddr,
    certificates: Option<Certificates>,
}

async fn serve(tls: Option<&ContractTlsConfig>) -> Served {
    let certificates = tls.map(|tls| Certificates::load(tls.files().unwrap().unwrap()).unwrap());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = ContractServer::bind(any, certificates.clone())
        .await
        .unwrap();
    let at = server.local_addr();
    let (links, mut accepted) = mpsc::channel(1);
    tokio::spawn(server.serve(links));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(mut link) = accepted.recv().await {
            if let Some(FromController::Hello { .. }) = link.rx.recv().await {
                link.tx
                    .send(FromBroker::Snapshot(offload::Intent::default()))
                    .unwrap();
            }
            held.push(link);
        }
    });
    Served { at, certificates }
}

/// Links, and says Hello; why not, if not.
async fn link(at: SocketAddr, tls: &ContractTlsConfig) -> Result<(), String> {
    let remote = RemoteBroker::new(&at.to_string(), tls).map_err(|error| format!("{error:#}"))?;
    let linking = async {
        let mut link = remote.link().await.map_err(|error| error.to_string())?;
        let hello = FromController::Hello {
            controller: "c".into(),
            election_id: 1,
            reachable: Vec::new(),
        };
        link.tx.send(hello).unwrap();
        match link.rx.recv().await {
            Some(FromBroker::Snapshot(_)) => Ok(()),
            other => Err(format!("no snapshot but {other:?}")),
        }
    };
    tokio::time::timeout(DEADLINE, linking).await.unwrap()
}

async fn refused(at: SocketAddr, tls: &ContractTlsConfig) -> String {
    link(at, tls).await.unwrap_err()
}

#[tokio::test]
async fn each_side_proves_itself_to_the_other_and_they_meet() {
    let files = Files::new();
    let (brokers, controllers) = (files.authority("brokers"), files.authority("controllers"));
    let served = serve(Some(&brokers.side(&controllers, "broker", &BROKER))).await;
    let controller = controllers.side(&brokers, "controller", &CONTROLLER);
    assert_eq!(link(served.at, &controller).await, Ok(()));
}

#[tokio::test]
async fn a_broker_of_an_unknown_authority_is_not_talked_to() {
    let files = Files::new();
    let (brokers, other) = (files.authority("brokers"), files.authority("other"));
    let served = serve(Some(&brokers.side(&brokers, "broker", &BROKER))).await;
    let controller = brokers.side(&other, "controller", &CONTROLLER);
    let error = refused(served.at, &controller).await;
    assert!(
        error.contains("UnknownIssuer") && error.contains("an authority of contract_tls.ca"),
        "{error}"
    );
}

#[tokio::test]
async fn a_controller_of_an_unknown_authority_is_not_let_in() {
    let files = Files::new();
    let (brokers, other) = (files.authority("brokers"), files.authority("other"));
    let served = serve(Some(&brokers.side(&brokers, "broker", &BROKER))).await;
    let controller = other.side(&brokers, "controller", &CONTROLLER);
    let error = refused(served.at, &controller).await;
    assert!(
        error.contains(&served.at.to_string()) && error.contains("refuses contract_tls.cert"),
        "{error}"
    );
    // The one that is known is let in as before.
    let controller = brokers.side(&brokers, "known", &CONTROLLER);
    assert_eq!(link(served.at, &controller).await, Ok(()));
}

#[tokio::test]
async fn a_controller_without_a_certificate_is_not_let_in() {
    use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
    let files = Files::new();
    let brokers = files.authority("brokers");
    let tls = brokers.side(&brokers, "broker", &BROKER);
    let served = serve(Some(&tls)).await;
    let ca = std::fs::read(tls.ca.as_ref().unwrap()).unwrap();
    let client = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    let endpoint = Endpoint::from_shared(format!("https://{}", served.at)).unwrap();
    let linked = async {
        let channel = endpoint.tls_config(client).unwrap().connect().await?;
        let linked = offload::wire::connect(channel).await;
        linked.map_err(Box::<dyn std::error::Error>::from)
    };
    assert!(linked.await.is_err());
    // Nor in plain text.
    let plain = ContractTlsConfig::default();
    let error = refused(served.at, &plain).await;
    assert!(error.contains("wants TLS"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_such() {
    let files = Files::new();
    let brokers = files.authority("brokers");
    let expired = Wanted {
        until: 2020,
        ..BROKER
    };
    let served = serve(Some(&brokers.side(&brokers, "broker", &expired))).await;
    let controller = brokers.side(&brokers, "controller", &CONTROLLER);
    let error = refused(served.at, &controller).await;
    assert!(error.contains("has expired"), "{error}");
}

#[tokio::test]
async fn a_broker_of_another_name_is_refused_unless_the_name_is_given() {
    let files = Files::new();
    let brokers = files.authority("brokers");
    let named = Wanted {
        name: "broker.lab",
        ..BROKER
    };
    let served = serve(Some(&brokers.side(&brokers, "broker", &named))).await;
    let mut controller = brokers.side(&brokers, "controller", &CONTROLLER);
    let error = refused(served.at, &controller).await;
    assert!(error.contains("contract_tls.server_name"), "{error}");
    controller.server_name = Some("broker.lab".into());
    assert_eq!(link(served.at, &controller).await, Ok(()));
}

#[tokio::test]
async fn a_controllers_certificate_does_not_make_a_broker() {
    let files = Files::new();
    let authority = files.authority("one");
    let served = serve(Some(&authority.side(&authority, "thief", &{
        Wanted {
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
            ..BROKER
        }
    })))
    .await;
    let controller = authority.side(&authority, "controller", &CONTROLLER);
    let error = refused(served.at, &controller).await;
    assert!(error.contains("not for that purpose"), "{error}");
}

#[tokio::test]
async fn a_broker_in_plain_text_is_told_from_one_with_a_wrong_certificate() {
    let files = Files::new();
    let brokers = files.authority("brokers");
    let served = serve(None).await;
    let controller = brokers.side(&brokers, "controller", &CONTROLLER);
    let error = refused(served.at, &controller).await;
    assert!(error.contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be_are_named() {
    let files = Files::new();
    let brokers = files.authority("brokers");
    let good = brokers.side(&brokers, "broker", &BROKER);
    let other = brokers.side(&brokers, "other", &BROKER);
    let load = |config: &ContractTlsConfig| {
        let loaded = Certificates::load(config.files().unwrap().unwrap());
        loaded.err().map(|error| error.to_string())
    };
    assert_eq!(load(&good), None);
    let mut wrong = good.clone();
    wrong.cert = Some("/nowhere/broker.pem".into());
    let error = load(&wrong).unwrap();
    assert!(
        error.starts_with("cannot read /nowhere/broker.pem"),
        "{error}"
    );
    wrong.cert = Some(files.write("empty.pem", "# nothing\n"));
    let error = load(&wrong).unwrap();
    assert!(error.contains("empty.pem holds no certificate"), "{error}");
    wrong.cert = good.cert.clone();
    wrong.key = good.cert.clone();
    let error = load(&wrong).unwrap();
    assert!(error.contains("holds no private key"), "{error}");
    wrong.key = other.key.clone();
    let error = load(&wrong).unwrap();
    assert!(error.contains("is not the key of"), "{error}");
    wrong.key = good.key.clone();
    wrong.ca = good.key.clone();
    let error = load(&wrong).unwrap();
    assert!(error.contains("broker.key holds no certificate"), "{error}");
}

#[tokio::test]
async fn renewed_certificates_are_used_from_the_next_connection_on() {
    let files = Files::new();
    let (old, new) = (files.authority("old"), files.authority("new"));
    let broker = old.side(&old, "broker", &BROKER);
    let served = serve(Some(&broker)).await;
    let controller = old.side(&old, "controller", &CONTROLLER);
    assert_eq!(link(served.at, &controller).await, Ok(()));

    let renewed = new.side(&new, "renewed", &BROKER);
    for (from, to) in [
        (&renewed.ca, &broker.ca),
        (&renewed.cert, &broker.cert),
        (&renewed.key, &broker.key),
    ] {
        std::fs::copy(from.as_ref().unwrap(), to.as_ref().unwrap()).unwrap();
    }
    let certificates = served.certificates.unwrap();
    certificates.reload().unwrap();
    let newer = new.side(&new, "newer", &CONTROLLER);
    assert_eq!(link(served.at, &newer).await, Ok(()));
    // The old authority's file is the new one's now, but not who signed this certificate.
    assert!(link(served.at, &controller).await.is_err());

    // A renewal that went wrong changes nothing.
    std::fs::write(broker.cert.as_ref().unwrap(), "half a file").unwrap();
    let error = certificates.reload().unwrap_err().to_string();
    assert!(error.contains("holds no certificate"), "{error}");
    assert_eq!(link(served.at, &newer).await, Ok(()));
}
