//! DTLS in front of the broker, over the kernel's sockets, with our client and with OpenSSL's.
#![allow(clippy::unwrap_used)] // Helpers outside of test functions.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use broker::driver::IoConfig;
use dtls::{Authorities, ClientCredentials, KeyPair, ServerIdentity};
use mqttsn::types::{Alias, Qos, TopicRef};
use system_tests::system::DEADLINE;
use system_tests::{on_path, require};
use tokio_util::sync::CancellationToken;
use topicswitch::client::{Client, ClientError, ConnectOptions, Retry, TransportError, Will};
use topicswitch::config::{DtlsConfig, StoreConfig};
use topicswitch::node::{BrokerNode, DtlsNode, Tasks};

const ALICE: &str = "000102030405060708090a0b0c0d0e0f";
const BOB: &str = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0";

/// A broker on UDP and on DTLS.
struct Lab {
    node: BrokerNode,
    dtls: DtlsNode,
    udp: SocketAddr,
    tasks: Tasks,
    shutdown: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Lab {
    /// Alice and Bob have keys; `change` may add certificates.
    async fn start(change: impl FnOnce(&Path, &mut DtlsConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        write_private(&keys, &format!("alice:{ALICE}\nbob:{BOB}\n"));
        let mut broker = broker::Config::default();
        broker.auth.keys = Some(keys);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = DtlsConfig {
            listen: Some(any),
            ..DtlsConfig::default()
        };
        change(dir.path(), &mut config);
        let shutdown = CancellationToken::new();
        let tasks = Tasks::new(shutdown.clone());
        let (node, udp) = BrokerNode::listen(
            broker,
            &StoreConfig::default(),
            &[any],
            &IoConfig::default(),
            &tasks,
        )
        .unwrap();
        let dtls = DtlsNode::start(&config, &node, &tasks).await.unwrap();
        Lab {
            node,
            dtls: dtls.unwrap(),
            udp: udp[0],
            tasks,
            shutdown,
            _dir: dir,
        }
    }

    async fn plain(&self, client_id: &str) -> Client {
        let mut client = Client::open(self.udp, Retry::default()).await.unwrap();
        client.connect(&options(client_id)).await.unwrap();
        client
    }

    async fn open(&self, credentials: ClientCredentials) -> Result<Client, ClientError> {
        Client::open_dtls(self.dtls.local_addr(), credentials, Retry::default()).await
    }

    async fn secured(&self, credentials: ClientCredentials, client_id: &str) -> Client {
        let mut client = self.open(credentials).await.unwrap();
        client.connect(&options(client_id)).await.unwrap();
        client
    }
}

fn options(client_id: &str) -> ConnectOptions {
    ConnectOptions {
        client_id: client_id.to_owned(),
        clean_session: true,
        keep_alive: Duration::from_secs(60),
        will: None,
    }
}

fn psk(identity: &str, hex: &str) -> ClientCredentials {
    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    ClientCredentials::Psk {
        identity: identity.to_owned(),
        key: (0..hex.len()).step_by(2).map(octet).collect(),
    }
}

fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn next(client: &mut Client) -> Vec<u8> {
    let deadline = Instant::now() + DEADLINE;
    let message = client.next_message(deadline).await.unwrap();
    message.expect("a message in time").1.data
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_from_dtls_to_udp_and_back() {
    let lab = Lab::start(|_, _| {}).await;
    let mut plain = lab.plain("plain").await;
    let mut alice = lab.secured(psk("alice", ALICE), "alice").await;
    let mut bob = lab.secured(psk("bob", BOB), "bob").await;
    for client in [&mut plain, &mut bob] {
        let topic = TopicRef::Name("from/alice");
        client.subscribe(topic, Qos::One).await.unwrap();
    }
    let from_plain = TopicRef::Name("from/plain");
    alice.subscribe(from_plain, Qos::Zero).await.unwrap();

    let alias = alice.register("from/alice").await.unwrap();
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        alice.publish(alias, qos, false, b"secret").await.unwrap();
        assert_eq!(next(&mut plain).await, b"secret");
        assert_eq!(next(&mut bob).await, b"secret");
    }
    let alias = plain.register("from/plain").await.unwrap();
    plain.publish(alias, Qos::One, false, b"hi").await.unwrap();
    assert_eq!(next(&mut alice).await, b"hi");
    assert_eq!(lab.dtls.stats().connections, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_not_use_the_client_id_of_another() {
    let lab = Lab::start(|_, _| {}).await;
    let mut bob = lab.open(psk("bob", BOB)).await.unwrap();
    bob.connect(&options("alice")).await.unwrap_err();
    let mut bob = lab.open(psk("bob", BOB)).await.unwrap();
    bob.connect(&options("nobody")).await.unwrap_err();
    let mut plain = Client::open(lab.udp, Retry::default()).await.unwrap();
    plain.connect(&options("alice")).await.unwrap_err();
    assert!(lab.node.handle.sessions().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_an_unknown_identity_get_no_association() {
    let lab = Lab::start(|_, _| {}).await;
    for (identity, key) in [("alice", BOB), ("mallory", ALICE)] {
        let refused = lab.open(psk(identity, key)).await.unwrap_err();
        assert!(
            matches!(
                refused,
                ClientError::Transport(TransportError::Handshake { .. })
            ),
            "{refused}"
        );
        assert!(refused.to_string().contains("identity"), "{refused}");
    }
    assert_eq!(lab.dtls.stats().handshakes_failed, 2);
    assert_eq!(lab.dtls.stats().connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_replaced_count_from_the_next_handshake_on() {
    let lab = Lab::start(|_, _| {}).await;
    let changed = broker::auth::Keys::parse(&format!("carol:{ALICE}\n"), Path::new("keys"));
    lab.node.keys.replace(&changed.unwrap());
    lab.open(psk("alice", ALICE)).await.unwrap_err();
    lab.secured(psk("carol", ALICE), "carol").await;
}

/// As [`options`], with a will.
fn with_will(client_id: &str) -> ConnectOptions {
    ConnectOptions {
        will: Some(Will {
            topic: "wills".to_owned(),
            data: client_id.as_bytes().to_vec(),
            qos: Qos::Zero,
            retain: false,
        }),
        ..options(client_id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_association_ends_is_lost_at_once_and_its_will_is_published() {
    let lab = Lab::start(|_, _| {}).await;
    let mut plain = lab.plain("plain").await;
    let wills = TopicRef::Name("wills");
    plain.subscribe(wills, Qos::Zero).await.unwrap();
    let mut alice = lab.open(psk("alice", ALICE)).await.unwrap();
    alice.connect(&with_will("alice")).await.unwrap();
    // She says goodbye to DTLS only.
    drop(alice);
    assert_eq!(next(&mut plain).await, b"alice");

    // An orderly end is no loss.
    let mut alice = lab.open(psk("alice", ALICE)).await.unwrap();
    alice.connect(&with_will("alice")).await.unwrap();
    alice.disconnect(None).await.unwrap();
    drop(alice);
    let mut bob = lab.open(psk("bob", BOB)).await.unwrap();
    bob.connect(&with_will("bob")).await.unwrap();
    drop(bob);
    assert_eq!(next(&mut plain).await, b"bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_silent_for_longer_than_its_association_lasts_is_lost() {
    let lab = Lab::start(|_, config| config.idle_timeout_s = 1).await;
    let mut plain = lab.plain("plain").await;
    let wills = TopicRef::Name("wills");
    plain.subscribe(wills, Qos::Zero).await.unwrap();
    let mut alice = lab.open(psk("alice", ALICE)).await.unwrap();
    alice.connect(&with_will("alice")).await.unwrap();
    assert_eq!(next(&mut plain).await, b"alice");
    assert_eq!(lab.dtls.stats().closed_idle, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_association_from_the_address_of_a_client_is_the_end_of_the_old_one() {
    let lab = Lab::start(|_, _| {}).await;
    let mut plain = lab.plain("plain").await;
    let wills = TopicRef::Name("wills");
    plain.subscribe(wills, Qos::Zero).await.unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut first = Associated::begin(&socket, lab.dtls.local_addr(), psk("alice", ALICE));
    // CONNECT with a will (MQTT-SN 1.2 §5.4.4), WILLTOPIC and WILLMSG.
    let mut connect = connect("alice");
    connect[2] |= 0x08;
    assert_eq!(first.ask(&connect), [2, 0x06]);
    assert_eq!(first.ask(b"\x08\x07\x00wills"), [2, 0x08]);
    assert_eq!(first.ask(b"\x07\x09alice"), ACCEPTED);
    // It starts again, and has forgotten everything.
    Associated::begin(&socket, lab.dtls.local_addr(), psk("alice", ALICE));
    assert_eq!(next(&mut plain).await, b"alice");
    assert_eq!(lab.dtls.stats().connections, 1);
}

/// A client of DTLS on a socket that another one may have used.
struct Associated<'a> {
    dtls: dtls::Client,
    socket: &'a std::net::UdpSocket,
    to: SocketAddr,
}

impl<'a> Associated<'a> {
    fn begin(
        socket: &'a std::net::UdpSocket,
        to: SocketAddr,
        credentials: ClientCredentials,
    ) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let dtls = dtls::Client::new(credentials, DEADLINE, Instant::now()).unwrap();
        let mut client = Associated { dtls, socket, to };
        while !client.dtls.is_connected() {
            client.step();
        }
        client
    }

    /// Sends what is to be sent, and takes one datagram.
    fn step(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.socket.send_to(&datagram, self.to).unwrap();
        }
        let mut buffer = [0; 2048];
        let (length, _) = self.socket.recv_from(&mut buffer).unwrap();
        let now = Instant::now();
        self.dtls.handle_datagram(now, &buffer[..length]).unwrap();
    }

    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.dtls.send(request).unwrap();
        loop {
            if let Some(answer) = self.dtls.poll_received() {
                return answer;
            }
            self.step();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_tells_its_clients_over_dtls() {
    let lab = Lab::start(|_, _| {}).await;
    let mut alice = lab.secured(psk("alice", ALICE), "alice").await;
    let Lab {
        tasks, shutdown, ..
    } = lab;
    shutdown.cancel();
    tasks.finish().await.unwrap();
    // DISCONNECT first, then the goodbye of DTLS.
    let ended = alice.next_message(Instant::now() + DEADLINE).await;
    assert!(
        alice.is_disconnected() || ended.is_err(),
        "neither came: {ended:?}"
    );
    assert!(alice.is_disconnected(), "the DISCONNECT came before");
}

// --- OpenSSL ---

fn openssl() -> Option<PathBuf> {
    let openssl = on_path("openssl");
    require("openssl", openssl.is_some()).then_some(openssl?)
}

/// Runs `openssl` in `dir` with arguments that have no blanks in them.
fn run(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
}

/// The commands of docs/dtls.md: an authority, a server and a client.
fn certificates(dir: &Path) {
    let make = |name: &str, rest: &str| {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc";
        run(
            dir,
            &format!("req -x509 {key} -days 30 -keyout {name}.key -out {name}.pem {rest}"),
        );
    };
    let by_ca = "-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE";
    make("ca", "-subj /CN=lab-CA");
    make(
        "server",
        &format!("-subj /CN=broker {by_ca} -addext subjectAltName=IP:127.0.0.1"),
    );
    make("sensor-7", &format!("-subj /CN=sensor-7 {by_ca}"));
}

fn with_certificates(dir: &Path, config: &mut DtlsConfig) {
    certificates(dir);
    config.certificate = Some(dir.join("server.pem"));
    config.private_key = Some(dir.join("server.key"));
    config.client_ca = Some(dir.join("ca.pem"));
}

/// `openssl s_client`, ended when dropped.
struct SClient {
    child: Child,
    output: Receiver<Vec<u8>>,
}

impl SClient {
    fn start(dir: &Path, to: SocketAddr, arguments: &str) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-dtls1_2", "-quiet", "-connect"])
            .arg(to.to_string())
            .args(arguments.split_whitespace())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        SClient { child, output }
    }

    /// Sends `message`, in a datagram of its own if nothing was said shortly before.
    fn say(&mut self, message: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        // It may have ended already.
        let _ = stdin.write_all(message).and_then(|()| stdin.flush());
    }

    /// Sends `request`, and waits for the answer; `None` when OpenSSL gives up.
    fn ask(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        self.say(request);
        self.output.recv_timeout(DEADLINE).ok()
    }
}

impl Drop for SClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CONNECT (MQTT-SN 1.2 §5.4.4) with CleanSession and a keep alive of a minute.
fn connect(client_id: &str) -> Vec<u8> {
    let mut connect = vec![6 + client_id.len() as u8, 0x04, 0x04, 0x01, 0, 60];
    connect.extend_from_slice(client_id.as_bytes());
    connect
}

const ACCEPTED: [u8; 3] = [3, 5, 0];

/// OpenSSL's level 1 wants tags of 16 octets; constrained devices have those of 8.
const CCM_8: &str = "-cipher PSK-AES128-CCM8:@SECLEVEL=0";

#[tokio::test(flavor = "multi_thread")]
async fn openssl_gets_in_by_a_pre_shared_key() {
    if openssl().is_none() {
        return;
    }
    let lab = Lab::start(|_, _| {}).await;
    let arguments = format!("-psk_identity alice -psk {ALICE} {CCM_8}");
    let mut alice = SClient::start(Path::new("/"), lab.dtls.local_addr(), &arguments);
    assert_eq!(alice.ask(&connect("alice")).as_deref(), Some(&ACCEPTED[..]));
    let mut plain = lab.plain("plain").await;
    plain
        .subscribe(TopicRef::Name("ab"), Qos::Zero)
        .await
        .unwrap();
    // PUBLISH (§5.4.12) under the short topic name `ab`.
    alice.say(&[10, 0x0C, 0x02, b'a', b'b', 0, 0, b'h', b'e', b'y']);
    assert_eq!(next(&mut plain).await, b"hey");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_with_a_wrong_key_does_not_get_in() {
    if openssl().is_none() {
        return;
    }
    let lab = Lab::start(|_, _| {}).await;
    let arguments = format!("-psk_identity alice -psk {BOB} {CCM_8}");
    let mut alice = SClient::start(Path::new("/"), lab.dtls.local_addr(), &arguments);
    assert_eq!(alice.ask(&connect("alice")), None);
    assert_eq!(lab.dtls.stats().connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_gets_in_by_a_certificate() {
    if openssl().is_none() {
        return;
    }
    let mut files = PathBuf::new();
    let lab = Lab::start(|dir, config| {
        with_certificates(dir, config);
        files = dir.to_owned();
    })
    .await;
    let trust = "-CAfile ca.pem -verify_return_error -verify_ip 127.0.0.1";
    let own = "-cert sensor-7.pem -key sensor-7.key";
    let to = lab.dtls.local_addr();
    let mut sensor = SClient::start(&files, to, &format!("{trust} {own}"));
    let answer = sensor.ask(&connect("sensor-7"));
    assert_eq!(answer.as_deref(), Some(&ACCEPTED[..]));

    let mut nobody = SClient::start(&files, to, trust);
    assert_eq!(nobody.ask(&connect("sensor-7")), None);

    // And ours, with the same files.
    let credentials = ClientCredentials::Certificate {
        authorities: Authorities::read(&files.join("ca.pem")).unwrap(),
        server: ServerIdentity::from(to.ip()),
        own: Some(KeyPair::read(&files.join("sensor-7.pem"), &files.join("sensor-7.key")).unwrap()),
    };
    let mut client = lab.secured(credentials, "sensor-7").await;
    let alias: Alias = client.register("a/b").await.unwrap();
    client.publish(alias, Qos::Two, false, b"x").await.unwrap();
}
