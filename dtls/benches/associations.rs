//! What an association costs its server: the handshake, each datagram beside one in the clear, and
//! memory. Only the server's time counts; the client is the same thread in between.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use dtls::{
    Authorities, Client, ClientCredentials, Event, KeyPair, Limits, Server, ServerCertificate,
    ServerCredentials, ServerIdentity,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa};

/// Octets of a PUBLISH's datagram.
const DATAGRAM: [u8; 107] = [0x5A; 107];

/// Associations that memory is measured with.
const MANY: u16 = 5_000;

fn psk() -> (ServerCredentials, ClientCredentials) {
    let server = ServerCredentials {
        psk: Some(Arc::new(|_| Some(vec![7; 16]))),
        certificate: None,
    };
    let client = ClientCredentials::Psk {
        identity: "alice".to_owned(),
        key: vec![7; 16],
    };
    (server, client)
}

/// Both sides show a certificate on P-256.
fn certificates() -> (ServerCredentials, ClientCredentials) {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = CertifiedIssuer::self_signed(params, key).unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    std::fs::write(path("ca"), ca.pem()).unwrap();
    let authorities = Authorities::read(&path("ca")).unwrap();
    let pair = |name: &str| {
        let mut params = CertificateParams::new(vec!["10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        write_private(&path("key"), &key.serialize_pem());
        std::fs::write(path("certificate"), certificate.pem()).unwrap();
        KeyPair::read(&path("certificate"), &path("key")).unwrap()
    };
    let server = ServerCredentials {
        psk: None,
        certificate: Some(ServerCertificate {
            key_pair: pair("server"),
            clients: Some(authorities.clone()),
        }),
    };
    let client = ClientCredentials::Certificate {
        authorities,
        server: ServerIdentity::parse("10.0.0.1").unwrap(),
        own: Some(pair("alice")),
    };
    (server, client)
}

fn write_private(path: &std::path::Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 4000))
}

/// A handshake; the client, and the time that the server took for it.
fn handshake(
    server: &mut Server,
    at: SocketAddr,
    credentials: &ClientCredentials,
) -> (Client, Duration) {
    let now = Instant::now();
    let mut client = Client::new(credentials.clone(), Duration::from_secs(10), now).unwrap();
    let mut spent = Duration::ZERO;
    while !client.is_connected() {
        while let Some(datagram) = client.poll_transmit() {
            let begun = Instant::now();
            server.handle_datagram(begun, at, &datagram);
            spent += begun.elapsed();
        }
        while let Some(transmit) = server.poll_transmit() {
            client
                .handle_datagram(Instant::now(), transmit.bytes)
                .unwrap();
        }
    }
    (client, spent)
}

fn handshakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    for (name, (server, client)) in [("psk", psk()), ("certificates", certificates())] {
        let mut server = Server::new(server, &Limits::default(), Instant::now()).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                (0..count)
                    .map(|_| handshake(&mut server, address(0), &client).1)
                    .sum()
            });
        });
    }
    group.finish();
}

/// A datagram comes over loopback and goes back: in the clear, and through an association.
fn datagrams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("datagram");
    group.throughput(Throughput::Elements(1));
    let here = UdpSocket::bind("127.0.0.1:0").unwrap();
    let there = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = there.local_addr().unwrap();
    let to = here.local_addr().unwrap();
    let mut buffer = [0; 2048];
    group.bench_function("plain", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                there.send_to(&DATAGRAM, to).unwrap();
                let begun = Instant::now();
                let (length, from) = here.recv_from(&mut buffer).unwrap();
                here.send_to(&buffer[..length], from).unwrap();
                spent += begun.elapsed();
                there.recv_from(&mut buffer).unwrap();
            }
            spent
        });
    });
    for (name, (server, client)) in [("dtls psk", psk()), ("dtls certificates", certificates())] {
        let mut server = Server::new(server, &Limits::default(), Instant::now()).unwrap();
        let (mut client, _) = handshake(&mut server, at, &client);
        while client.poll_transmit().is_some() {}
        let mut received = dtls::Received::default();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    client.send(&DATAGRAM).unwrap();
                    there.send_to(&client.poll_transmit().unwrap(), to).unwrap();
                    let begun = Instant::now();
                    let (length, from) = here.recv_from(&mut buffer).unwrap();
                    server.handle_datagram(begun, from, &buffer[..length]);
                    server.swap_received(&mut received);
                    let Some(Event::Datagram(datagram)) = received.pop() else {
                        panic!("nothing was received");
                    };
                    server.send(begun, datagram.from, datagram.bytes).unwrap();
                    let transmit = server.poll_transmit().unwrap();
                    here.send_to(transmit.bytes, transmit.to).unwrap();
                    spent += begun.elapsed();
                    let (length, _) = there.recv_from(&mut buffer).unwrap();
                    client.handle_datagram(begun, &buffer[..length]).unwrap();
                    assert_eq!(client.poll_received().unwrap(), DATAGRAM);
                }
                spent
            });
        });
    }
    group.finish();
}

/// Resident octets of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// By key only: a second kind in this process would take the memory that the first has given back.
fn memory() {
    let (server, client) = psk();
    let mut server = Server::new(server, &Limits::default(), Instant::now()).unwrap();
    drop(handshake(&mut server, address(0), &client));
    let before = resident();
    for n in 1..=MANY {
        let (mut client, _) = handshake(&mut server, address(n), &client);
        // The server learns that its last flight has arrived.
        client.send(&DATAGRAM).unwrap();
        // More than one where this process stood still for so long that a flight was repeated.
        while let Some(datagram) = client.poll_transmit() {
            server.handle_datagram(Instant::now(), address(n), &datagram);
        }
        server.poll_received().unwrap();
    }
    let each = resident().saturating_sub(before) / usize::from(MANY);
    println!("memory: {each} octets an association, of {MANY}");
}

fn main() {
    memory();
    let mut criterion = Criterion::default().configure_from_args();
    handshakes(&mut criterion);
    datagrams(&mut criterion);
    criterion.final_summary();
}
