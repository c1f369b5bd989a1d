//! Cookies: proof that a client receives what is sent to its address, without a state per client
//! (RFC 6347 §4.2.1).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

use crate::crypto::{self, CryptoFailure};
use crate::hello::{COOKIE, ClientHello};

/// How long one secret makes cookies; for as long again its cookies are still taken.
const PERIOD: Duration = Duration::from_secs(60);

/// The secrets behind the cookies.
pub(crate) struct Cookies {
    current: [u8; 32],
    previous: [u8; 32],
    since: Instant,
    scratch: Vec<u8>,
}

impl Cookies {
    pub(crate) fn new(now: Instant) -> Result<Self, CryptoFailure> {
        Ok(Cookies {
            current: crypto::random()?,
            previous: crypto::random()?,
            since: now,
            scratch: Vec::new(),
        })
    }

    /// The cookie for a client at `from` that says `hello`.
    pub(crate) fn make(
        &mut self,
        now: Instant,
        from: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> Result<[u8; COOKIE], CryptoFailure> {
        self.rotate(now)?;
        self.mac(&self.current.clone(), from, hello)
    }

    /// The hello's cookie, if it is one of ours for this address and these parameters.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        from: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> Result<Option<[u8; COOKIE]>, CryptoFailure> {
        let Ok(given) = <[u8; COOKIE]>::try_from(hello.cookie) else {
            return Ok(None);
        };
        self.rotate(now)?;
        for secret in [self.current, self.previous] {
            if self.mac(&secret, from, hello)?.ct_eq(&given).into() {
                return Ok(Some(given));
            }
        }
        Ok(None)
    }

    fn rotate(&mut self, now: Instant) -> Result<(), CryptoFailure> {
        let age = now.saturating_duration_since(self.since);
        if age >= PERIOD {
            self.previous = if age >= 2 * PERIOD {
                crypto::random()?
            } else {
                self.current
            };
            self.current = crypto::random()?;
            self.since = now;
        }
        Ok(())
    }

    fn mac(
        &mut self,
        secret: &[u8; 32],
        from: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> Result<[u8; COOKIE], CryptoFailure> {
        let address = match from.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        self.scratch.clear();
        self.scratch.extend_from_slice(&address.octets());
        self.scratch.extend_from_slice(&from.port().to_be_bytes());
        for part in hello.parameters() {
            self.scratch.extend_from_slice(part);
        }
        crypto::hmac_sha256(secret, &self.scratch)
    }
}
