//! The cryptography that associations use: dimpl's RustCrypto provider, with one change.
//!
//! dimpl checks cookies too, but per association, so there must be one before the client's address is
//! proven. Here the server checks the cookie first, and an association that is made afterwards is led
//! to the same result: while [`with_cookie`] runs, the MAC over the hello is the cookie that the
//! client has sent. dimpl computes cookies, and nothing else of DTLS 1.2, with
//! [`HmacProvider::hmac_sha256`].

use std::cell::Cell;

use dimpl::crypto::{CryptoProvider, HmacProvider, rust_crypto};
use dimpl::{CryptoError, HashAlgorithm};

use crate::hello::COOKIE;

/// The system's source of randomness, or a hash, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's cryptography failed")]
pub struct CryptoFailure;

thread_local! {
    static AGREED: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct CookieHmac;

static COOKIE_HMAC: CookieHmac = CookieHmac;

impl HmacProvider for CookieHmac {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match AGREED.get() {
            Some(cookie) => Ok(cookie),
            None => rust_crypto::default_provider()
                .hmac_provider
                .hmac_sha256(key, data),
        }
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        rust_crypto::default_provider()
            .hmac_provider
            .hmac(hash, key, data, out)
    }
}

/// What associations are configured with.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        hmac_provider: &COOKIE_HMAC,
        ..rust_crypto::default_provider()
    }
}

/// Runs `work` with `cookie` being the right one.
pub(crate) fn with_cookie<T>(cookie: [u8; COOKIE], work: impl FnOnce() -> T) -> T {
    /// Ends the agreement also when `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            AGREED.set(None);
        }
    }
    let _end = End;
    AGREED.set(Some(cookie));
    work()
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn hmac_sha256(key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoFailure> {
    let hmac = rust_crypto::default_provider().hmac_provider;
    hmac.hmac_sha256(key, data).map_err(|_| CryptoFailure)
}

/// Random octets.
pub(crate) fn random() -> Result<[u8; 32], CryptoFailure> {
    let mut octets = [0; 32];
    let random = rust_crypto::default_provider().secure_random;
    random.fill(&mut octets).map_err(|_| CryptoFailure)?;
    Ok(octets)
}
