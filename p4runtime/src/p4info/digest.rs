//! Digest messages by member name.

use super::data_type::Leaf;
use super::schema::Digest;
use super::{EntityError, LookupError};
use crate::bytes::Bitstring;
use crate::v1;

/// One message of a digest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestMessage {
    digest: String,
    leaves: std::sync::Arc<[Leaf]>,
    values: Vec<Bitstring>,
}

impl DigestMessage {
    /// The value of a member; in a nested struct, `outer.inner`.
    ///
    /// # Errors
    /// [`LookupError::UnknownName`].
    pub fn get(&self, member: &str) -> Result<&Bitstring, LookupError> {
        self.leaves
            .iter()
            .position(|leaf| leaf.name == member)
            .map(|position| &self.values[position])
            .ok_or_else(|| LookupError::UnknownName {
                kind: "member",
                owner: format!("digest {}", self.digest),
                name: member.to_owned(),
                nearest: self.leaves.iter().map(|leaf| leaf.name.clone()).collect(),
            })
    }

    /// Names and values in the order of the P4 struct.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Bitstring)> {
        self.leaves
            .iter()
            .map(|leaf| leaf.name.as_str())
            .zip(&self.values)
    }

    /// The values in the order of the P4 struct.
    pub fn values(&self) -> &[Bitstring] {
        &self.values
    }
}

impl Digest {
    /// The members in order, with their bitwidths.
    pub fn members(&self) -> Vec<Leaf> {
        self.data_type.leaves()
    }

    /// Reads a digest list of this digest.
    ///
    /// # Errors
    /// A list of another digest; a message of another shape; a value too large.
    pub fn decode(&self, list: &v1::DigestList) -> Result<Vec<DigestMessage>, EntityError> {
        if list.digest_id != self.id {
            let expected = format!("digest {}", self.name);
            return Err(EntityError::OtherObject {
                expected,
                id: list.digest_id,
            });
        }
        let leaves: std::sync::Arc<[Leaf]> = self.members().into();
        list.data
            .iter()
            .map(|data| {
                Ok(DigestMessage {
                    digest: self.name.clone(),
                    leaves: leaves.clone(),
                    values: self.data_type.decode(data)?,
                })
            })
            .collect()
    }

    /// Makes one message from its values in the order of [`Digest::members`].
    ///
    /// # Errors
    /// Another number of values; a value too large.
    pub fn encode(&self, values: &[Bitstring]) -> Result<v1::P4Data, EntityError> {
        self.data_type.encode(values)
    }
}
