//! Why a request is refused, in the codes of P4Runtime ("Error Reporting Messages").

use p4runtime::bytes::BytesError;
use p4runtime::p4info::LookupError;
use p4runtime::v1;
use p4runtime::write_error::{update_error, write_result};
use tonic::{Code, Status};

use crate::control::ControlError;

/// The error space of [`v1::StreamError`]: its codes are the canonical ones.
const SPACE: &str = "topicswitch-sim";

/// A refused update, read request or stream message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

/// What an update or a part of one comes to.
pub(super) type Outcome<T = ()> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal {
            code,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Refusal::new(Code::InvalidArgument, message)
    }

    pub(super) fn out_of_range(message: impl Into<String>) -> Self {
        Refusal::new(Code::OutOfRange, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Refusal::new(Code::NotFound, message)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Refusal::new(Code::PermissionDenied, message)
    }

    pub(super) fn unimplemented(message: impl Into<String>) -> Self {
        Refusal::new(Code::Unimplemented, message)
    }

    /// The same refusal with where it happened in front.
    pub(super) fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    pub(super) fn stream_error(self, details: v1::stream_error::Details) -> v1::StreamError {
        v1::StreamError {
            canonical_code: self.code as i32,
            message: self.message,
            space: SPACE.to_owned(),
            code: self.code as i32,
            details: Some(details),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Status::new(refusal.code, refusal.message)
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::AlreadyExists(_) => Code::AlreadyExists,
            ControlError::NotFound(_) => Code::NotFound,
            ControlError::Full { .. } => Code::ResourceExhausted,
            ControlError::InvalidArgument(_) => Code::InvalidArgument,
            ControlError::PermissionDenied(_) => Code::PermissionDenied,
            ControlError::FailedPrecondition(_) => Code::FailedPrecondition,
            ControlError::Unsupported(_) => Code::Unimplemented,
        };
        Refusal::new(code, error.to_string())
    }
}

impl From<LookupError> for Refusal {
    fn from(error: LookupError) -> Self {
        Refusal::invalid(error.to_string())
    }
}

/// P4Runtime 1.4 §8.3 "Bytestrings": a rejected bytestring is OUT_OF_RANGE.
impl From<BytesError> for Refusal {
    fn from(error: BytesError) -> Self {
        Refusal::out_of_range(error.to_string())
    }
}

/// The status of a batch: OK when all succeeded, else UNKNOWN with one `p4.v1.Error` per element,
/// in order.
pub(super) fn batch_status(outcomes: &[Outcome]) -> Result<(), Status> {
    let error = |outcome: &Outcome| match outcome {
        Ok(()) => v1::Error::default(),
        Err(refusal) => update_error(refusal.code, refusal.message.clone()),
    };
    write_result(&outcomes.iter().map(error).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use p4runtime::rpc;
    use prost::Message;

    use super::*;

    #[test]
    fn a_failed_batch_carries_one_error_per_element_in_order() {
        let outcomes = [Ok(()), Err(Refusal::not_found("gone")), Ok(())];
        let status = batch_status(&outcomes).expect_err("one failed");
        assert_eq!(status.code(), Code::Unknown);
        let details = rpc::Status::decode(status.details())
            .expect("a google.rpc.Status")
            .details;
        let codes: Vec<i32> = details
            .iter()
            .map(|any| {
                v1::Error::decode(&any.value[..])
                    .expect("a p4.v1.Error")
                    .canonical_code
            })
            .collect();
        assert_eq!(codes, [0, Code::NotFound as i32, 0]);
        assert!(batch_status(&[Ok(()), Ok(())]).is_ok());
    }
}
