//! Topic names and topic filters: the rules of MQTT 3.1.1 §4.7, which MQTT-SN takes over (§5.3.12).

use core::fmt;

/// The longest topic name or filter in octets (MQTT 3.1.1 §4.7.3).
pub const MAX_TOPIC_LEN: usize = u16::MAX as usize;

/// Why a string is not a topic name or topic filter. Positions are octets from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicError {
    /// It has no character. [MQTT-4.7.3-1]
    Empty,
    /// It is longer than [`MAX_TOPIC_LEN`]. [MQTT-4.7.3-3]
    TooLong {
        /// Its length in octets.
        length: usize,
    },
    /// It holds U+0000. [MQTT-4.7.3-2]
    Null {
        /// Where.
        position: usize,
    },
    /// A topic name holds a wildcard. [MQTT-4.7.1-1]
    WildcardInName {
        /// `+` or `#`.
        wildcard: char,
        /// Where.
        position: usize,
    },
    /// A `+` or `#` shares its level with other characters. [MQTT-4.7.1-2] [MQTT-4.7.1-3]
    WildcardNotAlone {
        /// `+` or `#`.
        wildcard: char,
        /// Where.
        position: usize,
    },
    /// A `#` is not the last level. [MQTT-4.7.1-2]
    HashNotLast {
        /// Where.
        position: usize,
    },
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("a topic needs at least one character"),
            Self::TooLong { length } => {
                write!(
                    f,
                    "the topic has {length} octets, at most {MAX_TOPIC_LEN} are allowed"
                )
            }
            Self::Null { position } => write!(f, "the topic holds U+0000 at octet {position}"),
            Self::WildcardInName { wildcard, position } => write!(
                f,
                "the topic name holds the wildcard {wildcard:?} at octet {position}; wildcards \
                 are for filters only"
            ),
            Self::WildcardNotAlone { wildcard, position } => write!(
                f,
                "the wildcard {wildcard:?} at octet {position} must be alone between slashes"
            ),
            Self::HashNotLast { position } => {
                write!(
                    f,
                    "the wildcard '#' at octet {position} must be the last level"
                )
            }
        }
    }
}

impl core::error::Error for TopicError {}

/// Whether a topic filter has wildcards, so that it names more than one topic.
#[inline]
pub fn has_wildcards(filter: &str) -> bool {
    filter.bytes().any(|octet| octet == b'+' || octet == b'#')
}

/// Checks a topic name.
///
/// # Errors
/// The first [`TopicError`] found.
pub fn validate_name(name: &str) -> Result<(), TopicError> {
    validate_text(name)?;
    match name
        .bytes()
        .position(|octet| octet == b'+' || octet == b'#')
    {
        None => Ok(()),
        Some(position) => {
            let wildcard = char::from(name.as_bytes()[position]);
            Err(TopicError::WildcardInName { wildcard, position })
        }
    }
}

/// Checks a topic filter: a topic name that may have wildcards.
///
/// # Errors
/// The first [`TopicError`] found.
pub fn validate_filter(filter: &str) -> Result<(), TopicError> {
    validate_text(filter)?;
    let mut start = 0;
    for level in filter.split('/') {
        if level == "#" {
            if start + 1 != filter.len() {
                return Err(TopicError::HashNotLast { position: start });
            }
        } else if level != "+"
            && let Some(at) = level
                .bytes()
                .position(|octet| octet == b'+' || octet == b'#')
        {
            let wildcard = char::from(level.as_bytes()[at]);
            return Err(TopicError::WildcardNotAlone {
                wildcard,
                position: start + at,
            });
        }
        start += level.len() + 1;
    }
    Ok(())
}

/// Whether a valid topic filter matches a valid topic name. An invalid filter or name gives some
/// answer, never a panic.
///
/// Filters that start with a wildcard match no topic name that starts with `$`.
/// [MQTT-4.7.2-1]
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        if level == "#" {
            // Also with no level left: "sport/#" matches "sport".
            return true;
        }
        match names.next() {
            Some(name_level) if level == "+" || level == name_level => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

fn validate_text(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong {
            length: topic.len(),
        });
    }
    match topic.bytes().position(|octet| octet == 0) {
        None => Ok(()),
        Some(position) => Err(TopicError::Null { position }),
    }
}
