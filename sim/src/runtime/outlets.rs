//! The ports as frames leave through them.

use std::sync::Arc;

use super::RuntimeError;
use crate::Output;
use crate::ports::{NumberedPort, PortSender};
use crate::server::Device;

/// v1model's ports have 9 bits.
const PORTS: usize = 512;
const NO_PORT: u16 = u16::MAX;

/// One worker's ways out: through every port, whichever worker receives from it.
pub(super) struct Outlets {
    cpu_port: u32,
    /// By port number: the place in `senders`, or [`NO_PORT`].
    place: [u16; PORTS],
    senders: Vec<Box<dyn PortSender>>,
    /// By place: it has frames to flush; and those places.
    pending: Vec<bool>,
    to_flush: Vec<u16>,
    device: Arc<Device>,
}

impl Outlets {
    /// # Errors
    /// [`RuntimeError::DuplicatePort`], [`RuntimeError::PortOutOfRange`].
    pub(super) fn new(
        cpu_port: u32,
        ports: &[NumberedPort],
        device: Arc<Device>,
    ) -> Result<Self, RuntimeError> {
        let mut place = [NO_PORT; PORTS];
        let mut senders = Vec::with_capacity(ports.len());
        for (number, port) in ports {
            let number = *number;
            let slot = place
                .get_mut(number as usize)
                .filter(|_| number < 511)
                .ok_or(RuntimeError::PortOutOfRange(number))?;
            if *slot != NO_PORT || number == cpu_port {
                return Err(RuntimeError::DuplicatePort(number));
            }
            // At most 511 ports, as just checked.
            *slot = senders.len() as u16;
            senders.push(port.sender());
        }
        Ok(Outlets {
            cpu_port,
            place,
            pending: vec![false; senders.len()],
            to_flush: Vec::with_capacity(senders.len()),
            senders,
            device,
        })
    }

    /// Lets go what waits.
    pub(super) fn flush(&mut self) {
        for place in self.to_flush.drain(..) {
            let place = usize::from(place);
            self.pending[place] = false;
            self.senders[place].flush();
        }
    }
}

impl Output for Outlets {
    fn emit(&mut self, port: u32, head: &[u8], payload: &[u8]) {
        if port == self.cpu_port {
            self.device.packet_in(head, payload);
            return;
        }
        let place = self.place.get(port as usize).copied().unwrap_or(NO_PORT);
        // A port that is not there is a cable that leads nowhere.
        if let Some(sender) = self.senders.get_mut(usize::from(place)) {
            sender.send(head, payload);
            if !std::mem::replace(&mut self.pending[usize::from(place)], true) {
                self.to_flush.push(place);
            }
        }
    }
}
