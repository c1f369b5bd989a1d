//! What is understood of records without any state: the ClientHello, and the answer that asks for a
//! cookie (RFC 6347 §4.2.1).

/// Octets of a record's header: ContentType, version, epoch, sequence number, length (§4.1).
const RECORD_HEADER: usize = 13;
/// Octets of a handshake message's header (§4.2.2).
const HANDSHAKE_HEADER: usize = 12;
/// ContentType `handshake`.
const HANDSHAKE: u8 = 22;
/// HandshakeType `client_hello`.
const CLIENT_HELLO: u8 = 1;
/// HandshakeType `hello_verify_request`.
const HELLO_VERIFY_REQUEST: u8 = 3;
/// Octets before the session id: client_version and random.
const FIXED: usize = 34;
/// A hello with a cookie comes after at most so many without, or with one that was too old.
const MAX_MESSAGE_SEQ: u16 = 3;
/// The longest ClientHello that is looked at. A hello is some hundred octets.
const MAX_HELLO: usize = 2_048;

/// Length of our cookies: those of an HMAC-SHA256.
pub(crate) const COOKIE: usize = 32;

/// The epoch of the first record, if the datagram starts like a DTLS record of this version family.
pub(crate) fn epoch(datagram: &[u8]) -> Option<u16> {
    let header = datagram.first_chunk::<RECORD_HEADER>()?;
    (header[1] == 0xFE && (20..=23).contains(&header[0]))
        .then(|| u16::from_be_bytes([header[3], header[4]]))
}

/// A whole ClientHello, first in its datagram.
#[derive(Debug)]
pub(crate) struct ClientHello<'a> {
    message_seq: u16,
    /// client_version, random and session_id.
    head: &'a [u8],
    pub(crate) cookie: &'a [u8],
    /// cipher_suites, compression_methods and extensions.
    tail: &'a [u8],
    suites: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads it. `None` for everything else, fragments of a ClientHello included: to put them
    /// together takes memory before the sender's address is proven.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_at_checked(RECORD_HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let record = rest.get(..length)?;
        let (handshake, body) = record.split_at_checked(HANDSHAKE_HEADER)?;
        if header[0] != HANDSHAKE || epoch(datagram)? != 0 || handshake[0] != CLIENT_HELLO {
            return None;
        }
        let u24 = |at: usize| {
            usize::from(handshake[at]) << 16
                | usize::from(handshake[at + 1]) << 8
                | usize::from(handshake[at + 2])
        };
        let (length, fragment_offset, fragment_length) = (u24(1), u24(6), u24(9));
        let message_seq = u16::from_be_bytes([handshake[4], handshake[5]]);
        if fragment_offset != 0
            || fragment_length != length
            || body.len() != length
            || length > MAX_HELLO
            || message_seq > MAX_MESSAGE_SEQ
        {
            return None;
        }
        let session_id = usize::from(*body.get(FIXED)?);
        let (head, rest) = body.split_at_checked(FIXED + 1 + session_id)?;
        let (&cookie, rest) = rest.split_first()?;
        let (cookie, tail) = rest.split_at_checked(usize::from(cookie))?;
        let (suites, rest) = tail.split_at_checked(2)?;
        let suites = rest.get(..usize::from(u16::from_be_bytes([suites[0], suites[1]])))?;
        Some(ClientHello {
            message_seq,
            head,
            cookie,
            tail,
            suites,
        })
    }

    /// What stays the same when the hello comes again with a cookie.
    pub(crate) fn parameters(&self) -> [&'a [u8]; 2] {
        [self.head, self.tail]
    }

    /// How many hellos without a good cookie came before this one.
    pub(crate) fn message_seq(&self) -> u16 {
        self.message_seq
    }

    /// Whether the client offers a cipher suite.
    pub(crate) fn offers(&self, suite: u16) -> bool {
        self.suites
            .chunks_exact(2)
            .any(|offered| offered == suite.to_be_bytes())
    }

    /// This hello as it was before: number `message_seq`, without a cookie.
    pub(crate) fn without_cookie(&self, message_seq: u16) -> Vec<u8> {
        let length = self.head.len() + 1 + self.tail.len();
        let mut datagram = message(CLIENT_HELLO, message_seq, length);
        datagram.extend_from_slice(self.head);
        datagram.push(0);
        datagram.extend_from_slice(self.tail);
        datagram
    }

    /// The HelloVerifyRequest that asks for `cookie`. Shorter than any hello, so nobody is flooded
    /// with it.
    pub(crate) fn verify_request(&self, cookie: &[u8; COOKIE]) -> Vec<u8> {
        let mut datagram = message(HELLO_VERIFY_REQUEST, self.message_seq, 3 + COOKIE);
        // §4.2.1: the version of a HelloVerifyRequest is DTLS 1.0 whatever will be negotiated.
        datagram.extend_from_slice(&[0xFE, 0xFF, COOKIE as u8]);
        datagram.extend_from_slice(cookie);
        datagram
    }
}

/// The headers of a whole handshake message in one record of epoch 0. As every message before the
/// ServerHello is one record, the record's number is the message's.
fn message(kind: u8, message_seq: u16, length: usize) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(RECORD_HEADER + HANDSHAKE_HEADER + length);
    datagram.extend_from_slice(&[HANDSHAKE, 0xFE, 0xFF, 0, 0]);
    datagram.extend_from_slice(&u64::from(message_seq).to_be_bytes()[2..]);
    // Lengths are below 2^16: those of hellos are bounded by MAX_HELLO.
    datagram.extend_from_slice(&((HANDSHAKE_HEADER + length) as u16).to_be_bytes());
    let length = (length as u32).to_be_bytes();
    datagram.extend_from_slice(&[kind, length[1], length[2], length[3]]);
    datagram.extend_from_slice(&message_seq.to_be_bytes());
    datagram.extend_from_slice(&[0, 0, 0, length[1], length[2], length[3]]);
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(message_seq: u16, cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend_from_slice(&[7; 32]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend_from_slice(cookie);
        body.extend_from_slice(&[0, 4, 0xC0, 0xA8, 0x00, 0xFF, 1, 0]);
        let mut datagram = message(CLIENT_HELLO, message_seq, body.len());
        datagram.extend_from_slice(&body);
        datagram
    }

    #[test]
    fn a_hello_is_read_and_written_as_it_was_without_its_cookie() {
        let datagram = hello(1, &[9; 32]);
        let parsed = ClientHello::parse(&datagram).unwrap();
        assert_eq!(parsed.cookie, [9; 32]);
        assert!(parsed.offers(0xC0A8) && parsed.offers(0x00FF) && !parsed.offers(0xA800));
        assert_eq!(parsed.without_cookie(0), hello(0, &[]));
    }

    #[test]
    fn a_hello_cut_anywhere_is_none() {
        let datagram = hello(0, &[]);
        for length in 0..datagram.len() {
            assert!(
                ClientHello::parse(&datagram[..length]).is_none(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_verify_request_is_shorter_than_the_shortest_hello_with_a_suite() {
        let datagram = hello(0, &[]);
        let parsed = ClientHello::parse(&datagram).unwrap();
        assert!(parsed.verify_request(&[0; COOKIE]).len() <= datagram.len() + 10);
    }
}
