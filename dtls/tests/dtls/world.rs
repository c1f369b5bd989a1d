//! A server, its clients, and a network between them that does what a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls::{
    Authorities, Client, ClientCredentials, Event, Failure, KeyPair, Limits, PskLookup, SendError,
    Server, ServerCertificate, ServerCredentials, ServerIdentity,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa};

pub(crate) const KEY: [u8; 16] = *b"0123456789abcdef";

/// Two identities with a key.
pub(crate) fn keys() -> PskLookup {
    Arc::new(|identity| match identity {
        "alice" => Some(KEY.to_vec()),
        "bob" => Some(vec![0xB0; 32]),
        _ => None,
    })
}

pub(crate) fn psk_only() -> ServerCredentials {
    ServerCredentials {
        psk: Some(keys()),
        certificate: None,
    }
}

pub(crate) fn psk(identity: &str, key: &[u8]) -> ClientCredentials {
    ClientCredentials::Psk {
        identity: identity.to_owned(),
        key: key.to_vec(),
    }
}

pub(crate) fn alice() -> ClientCredentials {
    psk("alice", &KEY)
}

/// An authority with a directory for what it has signed.
pub(crate) struct Ca {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Ca { dir, issuer }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Signs a certificate for `name`; the paths of the certificate and of its key.
    pub(crate) fn sign(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["10.0.0.99".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        write_private(&paths.1, &key.serialize_pem());
        paths
    }

    pub(crate) fn key_pair(&self, name: &str) -> KeyPair {
        let (certificate, key) = self.sign(name, |_| {});
        KeyPair::read(&certificate, &key).unwrap()
    }

    pub(crate) fn authorities(&self) -> Authorities {
        Authorities::read(&self.path("ca.pem")).unwrap()
    }

    pub(crate) fn server(&self, clients: bool) -> ServerCredentials {
        ServerCredentials {
            psk: None,
            certificate: Some(ServerCertificate {
                key_pair: self.key_pair("server"),
                clients: clients.then(|| self.authorities()),
            }),
        }
    }

    pub(crate) fn client(&self, own: Option<KeyPair>) -> ClientCredentials {
        ClientCredentials::Certificate {
            authorities: self.authorities(),
            server: ServerIdentity::from(server_address().ip()),
            own,
        }
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &std::path::Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn server_address() -> SocketAddr {
    "10.0.0.99:8884".parse().unwrap()
}

pub(crate) fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 4000))
}

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flying {
    pub(crate) client: SocketAddr,
    pub(crate) to_server: bool,
    pub(crate) bytes: Vec<u8>,
}

/// What the network does with a datagram: the datagrams that arrive for it, in order.
pub(crate) type Network = Box<dyn FnMut(Flying) -> Vec<Flying>>;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) clients: BTreeMap<SocketAddr, Client>,
    /// How a client's association ended.
    pub(crate) ended: BTreeMap<SocketAddr, Failure>,
    pub(crate) network: Network,
    pub(crate) flying: VecDeque<Flying>,
    /// What the server has received: from whom, who that is, what.
    pub(crate) at_server: Vec<(SocketAddr, Option<String>, Vec<u8>)>,
    /// Associations that ended at the server, each with how many datagrams it had received by then.
    pub(crate) lost_by_server: Vec<(SocketAddr, usize)>,
    /// What clients have received.
    pub(crate) at_clients: Vec<(SocketAddr, Vec<u8>)>,
    /// How many datagrams have crossed the network.
    pub(crate) crossed: usize,
}

impl World {
    pub(crate) fn new(credentials: ServerCredentials, limits: &Limits) -> Self {
        let now = Instant::now();
        World {
            now,
            server: Server::new(credentials, limits, now).unwrap(),
            clients: BTreeMap::new(),
            ended: BTreeMap::new(),
            network: Box::new(|datagram| vec![datagram]),
            flying: VecDeque::new(),
            at_server: Vec::new(),
            lost_by_server: Vec::new(),
            at_clients: Vec::new(),
            crossed: 0,
        }
    }

    /// A client at `at` begins; nothing has crossed the network yet.
    pub(crate) fn begin(&mut self, at: SocketAddr, credentials: ClientCredentials) {
        let client = Client::new(credentials, Duration::from_secs(60), self.now).unwrap();
        self.clients.insert(at, client);
        self.ended.remove(&at);
    }

    /// A client at `at` begins, and all that follows happens.
    pub(crate) fn connect(&mut self, at: SocketAddr, credentials: ClientCredentials) {
        self.begin(at, credentials);
        self.settle();
    }

    /// Whether both sides have an association.
    pub(crate) fn is_connected(&self, at: SocketAddr) -> bool {
        self.clients.get(&at).is_some_and(Client::is_connected)
            && self.server.identity(at).is_some()
    }

    pub(crate) fn say(&mut self, at: SocketAddr, message: &[u8]) -> Result<(), SendError> {
        self.clients.get_mut(&at).unwrap().send(message)
    }

    /// The protected datagram in which `at` says `message`, kept from the network.
    pub(crate) fn sealed(&mut self, at: SocketAddr, message: &[u8]) -> Vec<u8> {
        self.say(at, message).unwrap();
        let client = self.clients.get_mut(&at).unwrap();
        let datagram = client.poll_transmit().unwrap();
        assert_eq!(client.poll_transmit(), None, "one datagram is one record");
        datagram
    }

    /// Hands the server a datagram as if it had come from `from`.
    pub(crate) fn hand_to_server(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.server.handle_datagram(self.now, from, bytes);
        self.collect();
    }

    /// What the server received since it was asked last.
    pub(crate) fn heard(&mut self) -> Vec<Vec<u8>> {
        let heard = std::mem::take(&mut self.at_server);
        heard.into_iter().map(|(_, _, bytes)| bytes).collect()
    }

    /// Lets datagrams cross until none is left, without time passing.
    pub(crate) fn settle(&mut self) {
        loop {
            self.collect();
            let Some(datagram) = self.flying.pop_front() else {
                return;
            };
            self.crossed += 1;
            assert!(self.crossed < 100_000, "the network never rests");
            if datagram.to_server {
                self.server
                    .handle_datagram(self.now, datagram.client, &datagram.bytes);
            } else if let Some(client) = self.clients.get_mut(&datagram.client)
                && !self.ended.contains_key(&datagram.client)
                && let Err(failure) = client.handle_datagram(self.now, &datagram.bytes)
            {
                self.ended.insert(datagram.client, failure);
            }
        }
    }

    /// Lets time pass to each deadline until `until` holds. False when nothing is left to happen.
    pub(crate) fn run_until(&mut self, until: impl Fn(&World) -> bool) -> bool {
        for _ in 0..1_000 {
            self.settle();
            if until(self) {
                return true;
            }
            let ended = &self.ended;
            let clients = self
                .clients
                .iter()
                .filter(|(at, _)| !ended.contains_key(at))
                .filter_map(|(_, client)| client.next_deadline());
            let Some(next) = clients.chain(self.server.next_deadline()).min() else {
                return false;
            };
            self.pass(next.saturating_duration_since(self.now));
        }
        false
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.server.handle_timeout(self.now);
        for (at, client) in &mut self.clients {
            if !self.ended.contains_key(at)
                && let Err(failure) = client.handle_timeout(self.now)
            {
                self.ended.insert(*at, failure);
            }
        }
        self.settle();
    }

    fn collect(&mut self) {
        let mut out = Vec::new();
        for (at, client) in &mut self.clients {
            while let Some(bytes) = client.poll_transmit() {
                out.push(Flying {
                    client: *at,
                    to_server: true,
                    bytes,
                });
            }
            while let Some(bytes) = client.poll_received() {
                self.at_clients.push((*at, bytes));
            }
        }
        while let Some(transmit) = self.server.poll_transmit() {
            out.push(Flying {
                client: transmit.to,
                to_server: false,
                bytes: transmit.bytes.to_vec(),
            });
        }
        while let Some(event) = self.server.poll_received() {
            match event {
                Event::Datagram(received) => self.at_server.push((
                    received.from,
                    received.identity.map(str::to_owned),
                    received.bytes.to_vec(),
                )),
                Event::Ended(address) => self.lost_by_server.push((address, self.at_server.len())),
            }
        }
        for datagram in out {
            self.flying.extend((self.network)(datagram));
        }
    }
}
