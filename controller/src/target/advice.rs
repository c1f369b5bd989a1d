//! What a connection that came to nothing means for who has to mend it.

use tonic::Code;

use crate::config::TlsConfig;

/// What is probably wrong where something answered at the switch's address, and then ended the
/// connection. gRPC hides what TLS says after the handshake (RFC 8446 §4.4.2).
pub(super) fn on_refusal(code: Code, tls: &TlsConfig) -> Option<&'static str> {
    Some(match (code, &tls.ca, &tls.cert) {
        (Code::Unimplemented, ..) => "what answers there is no P4Runtime server",
        (Code::Internal | Code::Cancelled | Code::Unknown | Code::Unavailable, None, _) => {
            "if it speaks TLS, give controller.tls.ca (--tls-ca)"
        }
        (Code::Internal | Code::Cancelled | Code::Unknown | Code::Unavailable, _, None) => {
            "if it wants a certificate, give controller.tls.cert and key (--tls-cert, --tls-key)"
        }
        (Code::Internal | Code::Cancelled | Code::Unknown | Code::Unavailable, ..) => {
            "it may refuse controller.tls.cert: the authority of that must be one of its client CA"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: Code, ca: Option<&str>, cert: Option<&str>) -> &'static str {
        let tls = TlsConfig {
            ca: ca.map(Into::into),
            cert: cert.map(Into::into),
            key: cert.map(Into::into),
        };
        on_refusal(code, &tls).unwrap_or("nothing")
    }

    #[test]
    fn the_next_thing_that_may_be_missing_is_named() {
        let ended = Code::Cancelled;
        assert!(said(ended, None, None).contains("--tls-ca"));
        assert!(said(ended, Some("ca"), None).contains("--tls-cert"));
        assert!(said(ended, Some("ca"), Some("cert")).contains("may refuse"));
        assert!(said(Code::Unimplemented, None, None).contains("no P4Runtime server"));
        assert_eq!(said(Code::PermissionDenied, None, None), "nothing");
    }
}
