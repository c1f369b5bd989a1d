//! Buffers for the frames of one receive call, allocated once and used again.

/// The longest frame any port receives: Ethernet with a VLAN tag around the longest IPv4 packet.
pub const MAX_FRAME: usize = 14 + 4 + 65_535;

/// Frames received from a port and not yet processed. A worker owns one and hands it to its ports
/// in turn; nothing is allocated after construction.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<Slot>,
    used: usize,
}

/// One buffer of a [`Batch`].
#[derive(Debug)]
struct Slot {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Batch {
    /// Buffers for `capacity` frames of up to [`MAX_FRAME`] bytes. The system gives the memory
    /// only when a frame first fills it.
    pub fn new(capacity: usize) -> Self {
        let slot = || Slot {
            bytes: vec![0; MAX_FRAME].into_boxed_slice(),
            start: 0,
            end: 0,
        };
        Batch {
            slots: (0..capacity).map(|_| slot()).collect(),
            used: 0,
        }
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Number of frames held.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no frame is held.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Number of frames that still fit.
    pub fn room(&self) -> usize {
        self.slots.len() - self.used
    }

    /// The buffer ([`MAX_FRAME`] bytes) that the next frame goes into, `None` when the batch is
    /// full. It becomes a frame with [`Batch::push_filled`].
    pub fn spare(&mut self) -> Option<&mut [u8]> {
        self.slots.get_mut(self.used).map(|slot| &mut *slot.bytes)
    }

    /// Makes bytes `range` of the [`spare`](Batch::spare) buffer the next frame. A range outside
    /// the buffer is cut to it.
    pub fn push_filled(&mut self, range: std::ops::Range<usize>) {
        if let Some(slot) = self.slots.get_mut(self.used) {
            slot.end = range.end.min(slot.bytes.len());
            slot.start = range.start.min(slot.end);
            self.used += 1;
        }
    }

    /// Copies a frame in. `false` when there is no room or the frame is longer than [`MAX_FRAME`].
    pub fn push(&mut self, frame: &[u8]) -> bool {
        match self.spare().and_then(|spare| spare.get_mut(..frame.len())) {
            Some(room) => {
                room.copy_from_slice(frame);
                self.push_filled(0..frame.len());
                true
            }
            None => false,
        }
    }

    /// The frames in the order received.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.slots[..self.used]
            .iter()
            .map(|slot| &slot.bytes[slot.start..slot.end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_in_order_and_no_more_than_fit() {
        let mut batch = Batch::new(2);
        assert!(batch.push(b"one") && batch.push(b"two"));
        assert!(!batch.push(b"three"));
        assert_eq!(batch.frames().collect::<Vec<_>>(), [b"one", b"two"]);
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.room(), 2);
    }

    #[test]
    fn a_frame_longer_than_a_buffer_is_refused() {
        assert!(!Batch::new(1).push(&vec![0; MAX_FRAME + 1]));
    }
}
