//! Alerts in the clear: why a handshake is refused (RFC 5246 §7.2).

use std::fmt;

/// ContentType of alerts.
const ALERT: u8 = 21;
/// AlertLevel `fatal`.
const FATAL: u8 = 2;

/// The record number of an alert of ours: far behind those of the handshake, so that no replay window
/// has seen it.
const RECORD_NUMBER: u64 = 1 << 40;

/// Why one side gives a handshake up (RFC 5246 §7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertDescription(pub u8);

impl AlertDescription {
    /// No suite, version or parameter that both sides have.
    pub const HANDSHAKE_FAILURE: Self = AlertDescription(40);
    /// The certificate cannot be read, or is not one for this use.
    pub const BAD_CERTIFICATE: Self = AlertDescription(42);
    /// The certificate has expired, or is not valid yet.
    pub const CERTIFICATE_EXPIRED: Self = AlertDescription(45);
    /// Another authority signed the certificate.
    pub const UNKNOWN_CA: Self = AlertDescription(48);
    /// The keys of both sides differ, or the identity is unknown: which one is not told.
    pub const DECRYPT_ERROR: Self = AlertDescription(51);

    /// The record that tells it, before keys are in use.
    pub(crate) fn record(self) -> [u8; 15] {
        let mut record = [0; 15];
        record[..3].copy_from_slice(&[ALERT, 0xFE, 0xFD]);
        record[3..11].copy_from_slice(&RECORD_NUMBER.to_be_bytes());
        record[11..].copy_from_slice(&[0, 2, FATAL, self.0]);
        record
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            other => return write!(f, "alert {other}"),
        };
        f.write_str(name)
    }
}
