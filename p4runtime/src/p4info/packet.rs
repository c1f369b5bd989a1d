//! Packet-out and packet-in metadata by name (P4Runtime specification, "Packet I/O").

use super::rules::fit;
use super::schema::ControllerPacketMetadata;
use super::{EntityError, LookupError};
use crate::bytes::Bitstring;
use crate::v1;

/// The metadata of a packet under construction.
#[derive(Debug, Clone)]
#[must_use]
pub struct PacketBuilder<'p> {
    header: &'p ControllerPacketMetadata,
    values: Vec<Option<Bitstring>>,
}

/// A controller packet with its metadata by name.
#[derive(Debug, Clone)]
pub struct PacketView<'p> {
    header: &'p ControllerPacketMetadata,
    values: Vec<Bitstring>,
}

impl ControllerPacketMetadata {
    /// Starts a packet's metadata.
    pub fn packet(&self) -> PacketBuilder<'_> {
        PacketBuilder {
            header: self,
            values: vec![None; self.metadata.len()],
        }
    }

    /// Reads the metadata of a packet-in or packet-out.
    ///
    /// # Errors
    /// Metadata unknown, missing, given twice or too large.
    pub fn decode(&self, metadata: &[v1::PacketMetadata]) -> Result<PacketView<'_>, EntityError> {
        let mut builder = self.packet();
        for given in metadata {
            let position = self.metadata.position_of_id(given.metadata_id)?;
            let known = self.metadata.by_id(given.metadata_id)?;
            let value = Bitstring::parse(&given.value, known.bitwidth).map_err(|source| {
                EntityError::Value {
                    field: known.name.clone(),
                    source,
                }
            })?;
            builder.put(position, &known.name, value)?;
        }
        Ok(PacketView {
            header: self,
            values: builder.complete()?,
        })
    }
}

impl<'p> PacketBuilder<'p> {
    /// Gives a metadata field.
    ///
    /// # Errors
    /// An unknown name, a value too large, a field given twice.
    pub fn metadata(
        mut self,
        name: &str,
        value: impl Into<Bitstring>,
    ) -> Result<Self, EntityError> {
        let position = self.header.metadata.position(name)?;
        let known = self.header.metadata.get(name)?;
        let value = fit(&known.name, value.into(), known.bitwidth)?;
        self.put(position, &known.name, value)?;
        Ok(self)
    }

    fn put(&mut self, position: usize, name: &str, value: Bitstring) -> Result<(), EntityError> {
        match self.values[position].replace(value) {
            None => Ok(()),
            Some(_) => Err(EntityError::Twice {
                owner: self.header.name.clone(),
                field: name.to_owned(),
            }),
        }
    }

    fn complete(self) -> Result<Vec<Bitstring>, EntityError> {
        let header = self.header;
        self.values
            .into_iter()
            .zip(&header.metadata)
            .map(|(value, known)| {
                value.ok_or_else(|| EntityError::Missing {
                    owner: header.name.clone(),
                    field: known.name.clone(),
                })
            })
            .collect()
    }

    fn wire(self) -> Result<Vec<v1::PacketMetadata>, EntityError> {
        let header = self.header;
        let ids = header.metadata.iter().map(|known| known.id);
        let values = self.complete()?.into_iter().map(Bitstring::into_bytes);
        let pairs = ids.zip(values);
        Ok(pairs
            .map(|(metadata_id, value)| v1::PacketMetadata { metadata_id, value })
            .collect())
    }

    /// The packet for the controller to send.
    ///
    /// # Errors
    /// [`EntityError::Missing`] names a metadata field that was not given.
    pub fn packet_out(self, payload: impl Into<Vec<u8>>) -> Result<v1::PacketOut, EntityError> {
        Ok(v1::PacketOut {
            payload: payload.into(),
            metadata: self.wire()?,
        })
    }

    /// The packet for a switch to send.
    ///
    /// # Errors
    /// [`EntityError::Missing`] names a metadata field that was not given.
    pub fn packet_in(self, payload: impl Into<Vec<u8>>) -> Result<v1::PacketIn, EntityError> {
        Ok(v1::PacketIn {
            payload: payload.into(),
            metadata: self.wire()?,
        })
    }
}

impl<'p> PacketView<'p> {
    /// The metadata of this name.
    ///
    /// # Errors
    /// [`LookupError`] with the nearest known names.
    pub fn get(&self, name: &str) -> Result<&Bitstring, LookupError> {
        self.header
            .metadata
            .position(name)
            .map(|position| &self.values[position])
    }

    /// Names and values in order.
    pub fn metadata(&self) -> impl Iterator<Item = (&'p str, &Bitstring)> {
        let header = self.header;
        header
            .metadata
            .iter()
            .map(|known| known.name.as_str())
            .zip(&self.values)
    }
}
