//! What became of each update of a Write, in a gRPC status and out of it (P4Runtime
//! specification, "Write RPC", "Error Reporting").

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::{rpc, v1};

/// The name of `p4.v1.Error` in a `google.protobuf.Any`.
const ERROR_TYPE_URL: &str = "type.googleapis.com/p4.v1.Error";

/// Why a Write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The RPC failed as a whole: no update was tried.
    #[error("the Write failed before any update was tried: {0}")]
    Rpc(Box<Status>),
    /// Updates failed; the others took effect, unless the batch asked to be rolled back.
    #[error("{}", summary(.0))]
    Updates(
        /// One for each update, in their order; those that succeeded have the code OK (0).
        Vec<v1::Error>,
    ),
}

impl WriteError {
    /// The updates that failed: their positions in the batch and their errors.
    pub fn failed(&self) -> impl Iterator<Item = (usize, &v1::Error)> {
        let errors = match self {
            Self::Rpc(_) => &[][..],
            Self::Updates(errors) => errors,
        };
        errors
            .iter()
            .enumerate()
            .filter(|(_, error)| code_of(error) != Code::Ok)
    }
}

impl From<Status> for WriteError {
    fn from(status: Status) -> Self {
        match update_errors(&status) {
            Some(errors) => Self::Updates(errors),
            None => Self::Rpc(Box::new(status)),
        }
    }
}

/// The canonical code of an update's error.
pub fn code_of(error: &v1::Error) -> Code {
    Code::from_i32(error.canonical_code)
}

/// An error for one update, in the switch's answer to a Write.
pub fn update_error(code: Code, message: impl Into<String>) -> v1::Error {
    v1::Error {
        canonical_code: code.into(),
        message: message.into(),
        ..Default::default()
    }
}

/// A switch's answer to a Write: `errors` holds one error for each update, in their order, with
/// the default value (code OK) for each that succeeded.
///
/// # Errors
/// A status of code UNKNOWN that carries all of them, when any of them is not OK.
#[allow(clippy::result_large_err)] // What a tonic service returns.
pub fn write_result(errors: &[v1::Error]) -> Result<(), Status> {
    if errors.iter().all(|error| code_of(error) == Code::Ok) {
        return Ok(());
    }
    let message = summary(errors);
    let details = errors
        .iter()
        .map(|error| Any {
            type_url: ERROR_TYPE_URL.into(),
            value: error.encode_to_vec(),
        })
        .collect();
    let status = rpc::Status {
        code: Code::Unknown.into(),
        message: message.clone(),
        details,
    };
    Err(Status::with_details(
        Code::Unknown,
        message,
        status.encode_to_vec().into(),
    ))
}

/// The errors for each update that a Write's status carries, if it does.
fn update_errors(status: &Status) -> Option<Vec<v1::Error>> {
    if status.details().is_empty() {
        return None;
    }
    let status = rpc::Status::decode(status.details()).ok()?;
    let errors: Vec<v1::Error> = status
        .details
        .iter()
        .map(|any| {
            let is_error = any.type_url.rsplit('/').next() == Some("p4.v1.Error");
            is_error
                .then(|| v1::Error::decode(any.value.as_slice()).ok())
                .flatten()
        })
        .collect::<Option<_>>()?;
    (!errors.is_empty()).then_some(errors)
}

fn summary(errors: &[v1::Error]) -> String {
    let mut failed = errors
        .iter()
        .enumerate()
        .filter(|(_, error)| code_of(error) != Code::Ok)
        .peekable();
    let first = failed.peek().map_or(String::new(), |(position, error)| {
        format!(
            "; first, update {position}: {:?}: {}",
            code_of(error),
            error.message
        )
    });
    format!(
        "{} of {} updates failed{first}",
        failed.count(),
        errors.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_update_gets_its_error_back_in_order() {
        let errors = vec![
            update_error(
                Code::ResourceExhausted,
                "table dmac is full at 4096 entries",
            ),
            v1::Error::default(),
            update_error(Code::AlreadyExists, "this entry exists"),
        ];
        let status = write_result(&errors).unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        let error = WriteError::from(status);
        assert_eq!(
            error
                .failed()
                .map(|(position, _)| position)
                .collect::<Vec<_>>(),
            [0, 2]
        );
        assert_eq!(
            error.to_string(),
            "2 of 3 updates failed; first, update 0: ResourceExhausted: \
             table dmac is full at 4096 entries"
        );
        assert!(matches!(error, WriteError::Updates(found) if found == errors));
    }

    #[test]
    fn a_batch_without_failure_is_no_error() {
        assert!(write_result(&[v1::Error::default(), v1::Error::default()]).is_ok());
        assert!(write_result(&[]).is_ok());
    }

    #[test]
    fn a_status_without_update_errors_is_about_the_whole_rpc() {
        for status in [
            Status::permission_denied("not primary"),
            Status::with_details(Code::Internal, "odd", vec![0xff, 0xff].into()),
        ] {
            assert!(matches!(WriteError::from(status), WriteError::Rpc(_)));
        }
    }
}
