//! Why an entity cannot be built, or cannot be read, under a P4Info.

use super::names::LookupError;
use crate::bytes::BytesError;

/// A P4Info that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// An object without preamble has neither id nor name.
    #[error("a {kind} has no preamble, so neither id nor name")]
    NoPreamble {
        /// What kind of object.
        kind: &'static str,
    },
    /// Two siblings share an id or a name.
    #[error("{owner} has two {kind}s with the {what}")]
    Duplicate {
        /// What kind of object.
        kind: &'static str,
        /// Where.
        owner: String,
        /// The id or name.
        what: String,
    },
    /// A reference leads nowhere.
    #[error("{owner} refers to the {kind} {id:#x}, which does not exist")]
    Dangling {
        /// Who refers.
        owner: String,
        /// What kind of object it refers to.
        kind: &'static str,
        /// The id.
        id: u32,
    },
    /// A number that makes no sense where it stands.
    #[error("{owner}: {what} must not be {value}")]
    BadNumber {
        /// Where.
        owner: String,
        /// Which number, e.g. `bitwidth`.
        what: &'static str,
        /// The number.
        value: i64,
    },
}

/// An entity that P4Info does not allow. [`EntityError::code`] is what a server answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntityError {
    /// An unknown name or id.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A value that does not fit.
    #[error("{field}: {source}")]
    Value {
        /// The match field, parameter, metadata or member.
        field: String,
        /// What is wrong with it.
        source: BytesError,
    },
    /// A digest or register value of another type.
    #[error("the value of \"{field}\" is not {expected}")]
    Shape {
        /// The member.
        field: String,
        /// Its type in P4Info.
        expected: String,
    },
    /// A match of one kind for a field of another.
    #[error("{field} of table {table} is matched {expected}, not {used}")]
    MatchKind {
        /// The table.
        table: String,
        /// The field.
        field: String,
        /// Its kind in P4Info.
        expected: String,
        /// The kind that was used.
        used: String,
    },
    /// A match that the standard forbids: what is wrong with it.
    #[error("{field} of table {table}: {what}")]
    BadMatch {
        /// The table.
        table: String,
        /// The field.
        field: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// Only matches of the other kinds may be left out.
    #[error("table {table} needs a value for its exact field {field}")]
    MissingMatch {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// Given twice.
    #[error("{owner}: {field} is given twice")]
    Twice {
        /// Table, action or packet.
        owner: String,
        /// The field, parameter or metadata.
        field: String,
    },
    /// Parameters and metadata must all be given.
    #[error("{owner} needs a value for {field}")]
    Missing {
        /// Action or packet.
        owner: String,
        /// The parameter or metadata.
        field: String,
    },
    /// An entry needs an action.
    #[error("the entry of table {table} has no action")]
    NoAction {
        /// The table.
        table: String,
    },
    /// An action that the table allows only elsewhere.
    #[error("table {table} allows {action} {allowed}")]
    Scope {
        /// The table.
        table: String,
        /// The action.
        action: String,
        /// Where it is allowed.
        allowed: &'static str,
    },
    /// An action where a member or group is due, or the other way round.
    #[error("table {table} takes {expected}, not {used}")]
    Implementation {
        /// The table.
        table: String,
        /// What its implementation takes.
        expected: &'static str,
        /// What was given.
        used: &'static str,
    },
    /// A priority that is missing, superfluous or negative.
    #[error("table {table}: priority {priority} is wrong; {rule}")]
    Priority {
        /// The table.
        table: String,
        /// The priority.
        priority: i32,
        /// The rule.
        rule: &'static str,
    },
    /// The table has no idle timeout, or the timeout is not one.
    #[error("table {table}: idle timeout of {timeout_ns} ns: {rule}")]
    IdleTimeout {
        /// The table.
        table: String,
        /// The timeout.
        timeout_ns: i64,
        /// The rule.
        rule: &'static str,
    },
    /// The default entry has no key, priority or idle timeout.
    #[error("the default entry of table {table} must not have a {what}")]
    DefaultEntry {
        /// The table.
        table: String,
        /// What it has too much.
        what: &'static str,
    },
    /// The program fixes what was to be written.
    #[error("{what} of table {table} is const: only the program sets it")]
    Const {
        /// The table.
        table: String,
        /// What is const.
        what: &'static str,
    },
    /// A message of the wire lacks the one field that it is about.
    #[error("{owner}: {what} is not set")]
    Unset {
        /// Where.
        owner: String,
        /// What is not set.
        what: &'static str,
    },
    /// `param` was called before there was an action to give it to.
    #[error("the parameter {param} is given before its action: call action() first")]
    ParamBeforeAction {
        /// The parameter.
        param: String,
    },
    /// An entity of another table, digest or packet.
    #[error("{expected} cannot be read from an entity with the id {id:#x}")]
    OtherObject {
        /// The object asked.
        expected: String,
        /// The id in the entity.
        id: u32,
    },
}

impl EntityError {
    /// The canonical code that the specification asks a server to answer with.
    pub fn code(&self) -> tonic::Code {
        match self {
            Self::Value { .. } => tonic::Code::OutOfRange,
            Self::Scope { .. } | Self::Const { .. } => tonic::Code::PermissionDenied,
            _ => tonic::Code::InvalidArgument,
        }
    }
}
