//! What can go wrong between a control plane and a pipeline.

/// Why a request of the control plane was refused. Nothing was changed by the refused request;
/// earlier requests of the same [`Write`](super::Write) stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// INSERT of something that exists (the names are P4Runtime's `ALREADY_EXISTS`).
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// MODIFY, DELETE or read of something that does not exist, or an index out of bounds.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The table, profile, group or resource limit is full (`RESOURCE_EXHAUSTED`).
    #[error("{what} is full: it holds {limit}")]
    Full {
        /// What is full, e.g. ``table `MyIngress.dmac` ``.
        what: String,
        /// How many it can hold.
        limit: usize,
    },
    /// A value that does not fit: wrong number of match fields, a value wider than its field,
    /// bits outside the mask, an action the table does not have, …
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// Something that can only be read: entries of a table with `const entries`, a constant
    /// default action (`PERMISSION_DENIED`).
    #[error("not permitted: {0}")]
    PermissionDenied(String),
    /// Something that must not be done now: deleting a member or group in use
    /// (`FAILED_PRECONDITION`).
    #[error("not possible in the present state: {0}")]
    FailedPrecondition(String),
    /// Something this target does not do, or the object does not have (`UNIMPLEMENTED`), e.g. the
    /// direct counter of a table without one.
    #[error("not supported: {0}")]
    Unsupported(String),
}
