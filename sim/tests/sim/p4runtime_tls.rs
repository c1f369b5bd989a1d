//! P4Runtime over TLS: who is let in (P4Runtime specification, "Security concerns").

use std::net::SocketAddr;
use std::time::Duration;

use p4runtime::client::{Client, ClientError, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa};
use sim::runtime::{RunningRuntime, RuntimeConfig};
use sim::server::{ServeError, ServerTls, serve_tls};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::p4runtime_fixture::Fixture;

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority and what it signs.
struct Authority(CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate and its key.
    fn sign(&self, purpose: ExtendedKeyUsagePurpose) -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("an address");
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        (
            certificate.pem().into_bytes(),
            key.serialize_pem().into_bytes(),
        )
    }

    fn server(&self, clients: Option<&Authority>) -> ServerTls {
        let (certificate, key) = self.sign(ExtendedKeyUsagePurpose::ServerAuth);
        ServerTls {
            certificate,
            key,
            client_ca: clients.map(Authority::pem),
        }
    }

    fn client(&self) -> (Vec<u8>, Vec<u8>) {
        self.sign(ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A switch served over TLS while this is held.
struct Served {
    at: SocketAddr,
    _running: RunningRuntime,
    _until: oneshot::Sender<()>,
}

async fn served(tls: ServerTls) -> Served {
    let Fixture { runtime, .. } = Fixture::bare(RuntimeConfig::default());
    let running = runtime.start().expect("threads and descriptors");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let (until, shutdown) = oneshot::channel::<()>();
    let service = running.service();
    tokio::spawn(async move {
        let shutdown = async move {
            let _ = shutdown.await;
        };
        serve_tls(service, listener, &tls, shutdown).await
    });
    Served {
        at,
        _running: running,
        _until: until,
    }
}

/// Connects and bids; whether the switch answered.
async fn bid(served: &Served, tls: Option<&Tls>) -> Result<bool, ClientError> {
    let address = served.at.to_string();
    let mut client = Client::connect_with(&address, 1, Some(PATIENCE), tls).await?;
    let stream = tokio::time::timeout(PATIENCE, client.open_stream(1, None));
    Ok(stream.await.expect("an answer in time")?.is_primary())
}

fn tls(server: &Authority, identity: Option<(Vec<u8>, Vec<u8>)>) -> Tls {
    let ca = server.pem();
    Tls { ca, identity }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_the_right_certificate_is_let_in() {
    let (switches, controllers) = (Authority::new(), Authority::new());
    let served = served(switches.server(Some(&controllers))).await;
    let tls = tls(&switches, Some(controllers.client()));
    assert!(bid(&served, Some(&tls)).await.expect("let in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_certificate_or_with_a_strangers_is_refused_and_others_are_not() {
    let (switches, controllers) = (Authority::new(), Authority::new());
    let served = served(switches.server(Some(&controllers))).await;
    assert!(bid(&served, Some(&tls(&switches, None))).await.is_err());
    let strangers = tls(&switches, Some(Authority::new().client()));
    assert!(bid(&served, Some(&strangers)).await.is_err());
    assert!(bid(&served, None).await.is_err(), "without TLS");
    let right = tls(&switches, Some(controllers.client()));
    assert!(bid(&served, Some(&right)).await.expect("let in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_client_ca_every_client_is_let_in() {
    let switches = Authority::new();
    let served = served(switches.server(None)).await;
    let right = bid(&served, Some(&tls(&switches, None))).await;
    assert!(right.expect("let in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_talk_to_a_switch_of_an_authority_it_does_not_know() {
    let switches = Authority::new();
    let served = served(switches.server(None)).await;
    let wrong = tls(&Authority::new(), None);
    let refused = bid(&served, Some(&wrong)).await;
    assert!(matches!(refused, Err(ClientError::Connect { .. })));
}

#[tokio::test]
async fn an_address_and_certificates_must_go_together() {
    let refused = Client::connect("https://127.0.0.1:1", 1, Some(PATIENCE)).await;
    assert!(matches!(refused, Err(ClientError::Scheme { .. })));
    let tls = tls(&Authority::new(), None);
    let address = "http://127.0.0.1:1";
    let refused = Client::connect_with(address, 1, Some(PATIENCE), Some(&tls)).await;
    assert!(matches!(refused, Err(ClientError::Scheme { .. })));
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_before_anything_is_served() {
    let Fixture { runtime, .. } = Fixture::bare(RuntimeConfig::default());
    let running = runtime.start().expect("threads and descriptors");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let tls = ServerTls {
        certificate: b"no certificate".to_vec(),
        key: b"no key".to_vec(),
        client_ca: None,
    };
    let served = serve_tls(running.service(), listener, &tls, std::future::pending());
    let refused = tokio::time::timeout(PATIENCE, served).await;
    assert!(matches!(refused, Ok(Err(ServeError::Tls(_)))));
}
