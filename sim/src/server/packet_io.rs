//! The headers between switch and controller: `packet_in` and `packet_out` (P4Runtime
//! specification, "Packet I/O").
//!
//! Metadata fields are laid one behind the other in the order of P4Info, most significant bit
//! first, and filled up with zero bits to whole bytes.

use p4runtime::bytes;
use p4runtime::p4info::ControllerPacketMetadata;
use p4runtime::v1::PacketMetadata;

use super::errors::{Outcome, Refusal};

/// The longest header taken, in bytes.
const MAX_HEADER: usize = 2048;

/// Where the metadata of one direction are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PacketLayout {
    fields: Vec<Field>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    id: u32,
    name: String,
    bitwidth: u32,
    /// First bit, counted from the most significant of the first byte.
    offset: usize,
    /// Annotated `@padding`: a controller need not send it.
    padding: bool,
}

impl PacketLayout {
    /// # Errors
    /// INVALID_ARGUMENT for a header that no frame has room for.
    pub(super) fn new(metadata: &ControllerPacketMetadata) -> Outcome<Self> {
        let mut offset = 0_usize;
        let mut fields = Vec::with_capacity(metadata.metadata.len());
        for param in &metadata.metadata {
            fields.push(Field {
                id: param.id,
                name: param.name.clone(),
                bitwidth: param.bitwidth,
                offset,
                padding: param.annotations.iter().any(|a| a.starts_with("@padding")),
            });
            offset = offset.saturating_add(param.bitwidth as usize);
        }
        let len = offset.div_ceil(8);
        if len > MAX_HEADER {
            return Err(Refusal::invalid(format!(
                "header \"{}\" has {len} bytes; at most {MAX_HEADER} are possible",
                metadata.name
            )));
        }
        Ok(PacketLayout { fields, len })
    }

    /// Length of the header in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the header that carries `metadata` to `frame`.
    pub(super) fn pack(&self, metadata: &[PacketMetadata], frame: &mut Vec<u8>) -> Outcome {
        let start = frame.len();
        frame.resize(start + self.len, 0);
        let header = &mut frame[start..];
        for (index, value) in metadata.iter().enumerate() {
            let id = value.metadata_id;
            let field = self
                .fields
                .iter()
                .find(|field| field.id == id)
                .ok_or_else(|| {
                    Refusal::invalid(format!("packet_out has no metadata with the id {id}"))
                })?;
            if metadata[..index]
                .iter()
                .any(|earlier| earlier.metadata_id == id)
            {
                return Err(Refusal::invalid(format!(
                    "metadata \"{}\" is given twice",
                    field.name
                )));
            }
            let bytes = bytes::check(&value.value, field.bitwidth).map_err(|error| {
                Refusal::invalid(format!("metadata \"{}\": {error}", field.name))
            })?;
            field.write(bytes, header);
        }
        let missing = self
            .fields
            .iter()
            .find(|f| !f.padding && !metadata.iter().any(|value| value.metadata_id == f.id));
        match missing {
            Some(field) => Err(Refusal::invalid(format!(
                "metadata \"{}\" is missing",
                field.name
            ))),
            None => Ok(()),
        }
    }

    /// Reads the metadata out of the header in front of a frame; `None` when the frame is shorter.
    pub(super) fn unpack(&self, frame: &[u8]) -> Option<Vec<PacketMetadata>> {
        let header = frame.get(..self.len)?;
        let fields = self.fields.iter().filter(|field| !field.padding);
        Some(
            fields
                .map(|field| PacketMetadata {
                    metadata_id: field.id,
                    value: field.read(header),
                })
                .collect(),
        )
    }
}

impl Field {
    /// Places the number in `value` (canonical, checked to fit) into the header's zero bits.
    fn write(&self, value: &[u8], header: &mut [u8]) {
        let end = self.offset + self.bitwidth as usize;
        let bits = (value.len() * 8).min(self.bitwidth as usize);
        for bit in 0..bits {
            // Bit 0 is the least significant.
            if value[value.len() - 1 - bit / 8] >> (bit % 8) & 1 != 0 {
                let at = end - 1 - bit;
                header[at / 8] |= 0x80 >> (at % 8);
            }
        }
    }

    fn read(&self, header: &[u8]) -> Vec<u8> {
        let width = self.bitwidth as usize;
        let mut value = vec![0; width.div_ceil(8).max(1)];
        let last = value.len() - 1;
        for bit in 0..width {
            let at = self.offset + width - 1 - bit;
            if header[at / 8] & 0x80 >> (at % 8) != 0 {
                value[last - bit / 8] |= 1 << (bit % 8);
            }
        }
        bytes::canonical(&value).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 9 bits, 1 bit, 16 bits: 26 bits in 4 bytes.
    fn layout() -> PacketLayout {
        let field = |id, name: &str, bitwidth, offset| Field {
            id,
            name: name.to_owned(),
            bitwidth,
            offset,
            padding: false,
        };
        let fields = vec![
            field(1, "port", 9, 0),
            field(2, "clone", 1, 9),
            field(3, "vlan", 16, 10),
        ];
        PacketLayout { fields, len: 4 }
    }

    fn metadata(values: &[(u32, &[u8])]) -> Vec<PacketMetadata> {
        let one = |&(metadata_id, value): &(u32, &[u8])| PacketMetadata {
            metadata_id,
            value: value.to_vec(),
        };
        values.iter().map(one).collect()
    }

    #[test]
    fn metadata_are_packed_bit_by_bit_in_order() {
        let mut frame = Vec::new();
        let values = metadata(&[(3, &[0xab, 0xcd]), (1, &[0x01, 0x02]), (2, &[1])]);
        layout().pack(&values, &mut frame).expect("complete");
        // 1 0000 0010 | 1 | 1010 1011 1100 1101 | 000000
        assert_eq!(frame, [0b1000_0001, 0b0110_1010, 0b1111_0011, 0b0100_0000]);
        let back = layout().unpack(&frame).expect("long enough");
        assert_eq!(
            back,
            metadata(&[(1, &[0x01, 0x02]), (2, &[1]), (3, &[0xab, 0xcd])])
        );
    }

    #[test]
    fn wrong_metadata_are_refused() {
        for (values, wanted) in [
            (&[(1, &[1][..]), (2, &[1])][..], "\"vlan\" is missing"),
            (&[(1, &[1]), (2, &[1]), (3, &[1]), (9, &[1])], "id 9"),
            (
                &[(1, &[1]), (1, &[1]), (2, &[1]), (3, &[1])],
                "\"port\" is given twice",
            ),
            (
                &[(1, &[2, 0]), (2, &[1]), (3, &[1])],
                "does not fit in 9 bits",
            ),
        ] {
            let refusal = layout()
                .pack(&metadata(values), &mut Vec::new())
                .expect_err(wanted);
            assert_eq!(refusal.code, tonic::Code::InvalidArgument);
            assert!(refusal.message.contains(wanted), "{}", refusal.message);
        }
    }

    #[test]
    fn a_frame_shorter_than_the_header_has_no_metadata() {
        assert_eq!(layout().unpack(&[0; 3]), None);
    }
}
