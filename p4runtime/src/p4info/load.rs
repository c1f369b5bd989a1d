//! Reading P4Info from text, binary or JSON.

use std::path::Path;
use std::sync::OnceLock;

use miette::Diagnostic;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use super::{P4Info, SchemaError};
use crate::{DESCRIPTOR_SET, config};

/// A P4Info that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read P4Info from {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The text format is broken, or names a field that P4Info does not have.
    #[error("line {line}: {message}")]
    Text {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The JSON is broken.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The binary form is broken.
    #[error("{0}")]
    Binary(#[from] prost::DecodeError),
    /// What was read contradicts itself.
    #[error("{0}")]
    Schema(#[from] SchemaError),
    /// Any of the above, and the file it was found in.
    #[error("{path}: {source}")]
    In {
        /// The file.
        path: String,
        /// What is wrong in it.
        source: Box<LoadError>,
    },
}

/// The descriptor of `p4.config.v1.P4Info`.
fn descriptor() -> MessageDescriptor {
    static DESCRIPTOR: OnceLock<MessageDescriptor> = OnceLock::new();
    DESCRIPTOR
        .get_or_init(|| {
            // Both hold because build.rs writes this set, with this message in it; the test
            // `wire_compatibility` reads it too.
            DescriptorPool::decode(DESCRIPTOR_SET)
                .expect("the embedded descriptor set is well formed")
                .get_message_by_name("p4.config.v1.P4Info")
                .expect("the embedded descriptor set holds P4Info")
        })
        .clone()
}

impl P4Info {
    /// Reads the text format, as `p4c --p4runtime-files …txtpb` writes it.
    ///
    /// # Errors
    /// [`LoadError::Text`] with the line, [`LoadError::Schema`].
    pub fn from_text(text: &str) -> Result<Self, LoadError> {
        let message = DynamicMessage::parse_text_format(descriptor(), text).map_err(|error| {
            // An error without a position was found at the end of the input.
            let offset = error
                .labels()
                .and_then(|mut labels| labels.next())
                .map_or(text.len(), |label| label.offset().min(text.len()));
            let line = 1 + text.as_bytes()[..offset]
                .iter()
                .filter(|&&c| c == b'\n')
                .count();
            LoadError::Text {
                line,
                message: error.to_string(),
            }
        })?;
        Ok(Self::new(message.transcode_to::<config::P4Info>()?)?)
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`LoadError::Binary`], [`LoadError::Schema`].
    pub fn from_binary(bytes: &[u8]) -> Result<Self, LoadError> {
        Ok(Self::new(config::P4Info::decode(bytes)?)?)
    }

    /// Reads the JSON form, as `p4c --p4runtime-files ….json` writes it.
    ///
    /// # Errors
    /// [`LoadError::Json`], [`LoadError::Schema`].
    pub fn from_json(text: &str) -> Result<Self, LoadError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let message = DynamicMessage::deserialize(descriptor(), &mut json)?;
        json.end()?;
        Ok(Self::new(message.transcode_to::<config::P4Info>()?)?)
    }

    /// Reads a file: binary for `.bin` and `.pb`, JSON for `.json`, else the text format
    /// (`.txtpb`, `.txt`, `.pb.txt`, `.p4info` …). A file of another name that is not UTF-8 is
    /// taken for binary.
    ///
    /// # Errors
    /// [`LoadError::Io`]; any other error in [`LoadError::In`] with the path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let shown = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| LoadError::Io {
            path: shown(),
            source,
        })?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let loaded = match (extension, std::str::from_utf8(&bytes)) {
            (Some("bin" | "pb"), _) | (_, Err(_)) => Self::from_binary(&bytes),
            (Some("json"), Ok(text)) => Self::from_json(text),
            (_, Ok(text)) => Self::from_text(text),
        };
        loaded.map_err(|source| LoadError::In {
            path: shown(),
            source: Box::new(source),
        })
    }
}
