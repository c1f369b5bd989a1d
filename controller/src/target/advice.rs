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

/// What a refusal of the program means, where the switch does not say it. BMv2's server lets any device
/// id become primary, and finds out with the program.
pub(super) fn on_program(message: &str) -> Option<&'static str> {
    message.contains("assign device").then_some(
        "controller.device_id (--device-id) is not the switch's: simple_switch_grpc has device 0 unless \
         it was started with another",
    )
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

    #[test]
    fn the_wrong_device_of_bmv2_is_named() {
        let advice = on_program("Error when trying to assign device").unwrap_or("nothing");
        assert!(advice.contains("--device-id"), "{advice}");
        assert_eq!(on_program("the program needs more tables"), None);
    }
}
