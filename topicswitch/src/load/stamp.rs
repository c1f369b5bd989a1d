//! What every payload starts with, so that its delivery can be checked.

/// Octets of the stamp: run, publisher, sequence number, time.
pub const STAMP_LEN: usize = 24;

/// Says which message a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of this measurement: messages of another one are not counted.
    pub(super) run: u32,
    /// Number of the publisher.
    pub(super) publisher: u32,
    /// From 0, for each publisher.
    pub(super) sequence: u64,
    /// When it was due, in nanoseconds since the generator's epoch.
    pub(super) due_ns: u64,
}

impl Stamp {
    /// Writes the stamp over the start of a payload of at least [`STAMP_LEN`] octets.
    pub(super) fn write(&self, payload: &mut [u8]) {
        payload[0..4].copy_from_slice(&self.run.to_be_bytes());
        payload[4..8].copy_from_slice(&self.publisher.to_be_bytes());
        payload[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        payload[16..24].copy_from_slice(&self.due_ns.to_be_bytes());
    }

    /// Reads it back; `None` if the payload is too short to have one.
    pub(super) fn read(payload: &[u8]) -> Option<Stamp> {
        let (run, rest) = payload.split_first_chunk::<4>()?;
        let (publisher, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (due_ns, _) = rest.split_first_chunk::<8>()?;
        Some(Stamp {
            run: u32::from_be_bytes(*run),
            publisher: u32::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
            due_ns: u64::from_be_bytes(*due_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_as_written() {
        let stamp = Stamp {
            run: 0xDEAD_BEEF,
            publisher: 7,
            sequence: u64::MAX - 1,
            due_ns: 1 << 40,
        };
        let mut payload = [0x55; 30];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(payload[STAMP_LEN..], [0x55; 6]);
    }

    #[test]
    fn a_short_payload_has_no_stamp() {
        assert_eq!(Stamp::read(&[0; STAMP_LEN - 1]), None);
    }
}
