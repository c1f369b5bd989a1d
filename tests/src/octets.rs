//! An MQTT-SN client that is a socket of a host and the octets that a test gives it.

use std::net::UdpSocket;

use crate::netns::Namespace;
use crate::system::DEADLINE;

/// What a message is, behind its Length (MQTT-SN 1.2 §5.2.2).
const CONNACK: u8 = 0x05;
const PINGREQ: u8 = 0x16;
const PINGRESP: u8 = 0x17;

/// A client. The kernel hands it what has the right addresses and the right checksum, and nothing else.
#[derive(Debug)]
pub struct Client(UdpSocket);

impl Client {
    /// A socket of that host, connected to the broker at this address.
    ///
    /// # Panics
    /// When the host cannot have one.
    pub fn new(host: &Namespace, broker: &str) -> Self {
        let any = if broker.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = host.run(|| UdpSocket::bind(any)).expect("a socket");
        socket.connect(broker).expect("a route");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Client(socket)
    }

    /// A client with a session under this ClientId.
    ///
    /// # Panics
    /// When the broker does not accept it.
    pub fn connect(host: &Namespace, broker: &str, id: &str) -> Self {
        let client = Self::new(host, broker);
        client.send_connect(id);
        client.accepted();
        client
    }

    /// Asks for a session.
    ///
    /// # Panics
    /// As [`Client::send`].
    pub fn send_connect(&self, id: &str) {
        self.send(&[&[0x04, 0x04, 0x01, 0xff, 0x00], id.as_bytes()].concat());
    }

    /// Waits for CONNACK.
    ///
    /// # Panics
    /// When something else comes.
    pub fn accepted(&self) {
        assert_eq!(self.next(), [3, CONNACK, 0], "CONNACK");
    }

    /// Sends a message, given from its MsgType on.
    ///
    /// # Panics
    /// When it does not fit the short form of Length, or there is no network.
    pub fn send(&self, message: &[u8]) {
        let length = u8::try_from(message.len() + 1).expect("short");
        let sent = self.0.send(&[&[length], message].concat());
        sent.expect("the network is up");
    }

    /// The next message, with its Length.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next(&self) -> Vec<u8> {
        let mut buffer = [0; 1500];
        let octets = self.0.recv(&mut buffer).expect("a message in time");
        buffer[..octets].to_vec()
    }

    /// Sends a message and gives the next one of that MsgType; what comes before it is dropped.
    ///
    /// # Panics
    /// As [`Client::send`] and [`Client::next`].
    pub fn ask(&self, message: &[u8], answer: u8) -> Vec<u8> {
        self.send(message);
        loop {
            let message = self.next();
            if message[1] == answer {
                return message;
            }
        }
    }

    /// Nothing waits, and nothing is on its way here: the next message is the answer to PINGREQ.
    ///
    /// # Panics
    /// When something else comes.
    pub fn ping(&self) {
        self.send(&[PINGREQ]);
        assert_eq!(self.next(), [2, PINGRESP], "nothing but PINGRESP");
    }
}
