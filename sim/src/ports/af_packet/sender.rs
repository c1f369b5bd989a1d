//! Frames out to an interface, many a system call.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::super::outgoing::Outgoing;
use super::super::{DropReason, MAX_FRAME, PortCounters, PortSender};

/// One worker's way out through an interface. The kernel lets several send through one socket.
pub(super) struct AfPacketSender {
    socket: Arc<OwnedFd>,
    outgoing: Outgoing,
    counters: Arc<PortCounters>,
}

impl AfPacketSender {
    pub(super) fn new(socket: Arc<OwnedFd>, counters: Arc<PortCounters>) -> Self {
        AfPacketSender {
            socket,
            outgoing: Outgoing::default(),
            counters,
        }
    }
}

impl PortSender for AfPacketSender {
    fn send(&mut self, head: &[u8], payload: &[u8]) {
        let len = head.len() + payload.len();
        if len > MAX_FRAME {
            return self.counters.tx_dropped(DropReason::TooLong);
        }
        if self.outgoing.is_full_for(len) {
            self.flush();
        }
        self.outgoing.push(None, [head, payload], len, false);
    }

    fn flush(&mut self) {
        let mut done = 0;
        while done < self.outgoing.messages().len() {
            let reason = match self.outgoing.send(self.socket.as_fd(), done) {
                Ok(sent) => {
                    let now = &self.outgoing.messages()[done..done + sent];
                    let bytes = now.iter().map(|message| message.weight()).sum();
                    self.counters.sent_many(sent, bytes);
                    done += sent;
                    continue;
                }
                Err(error) => match (error.kind(), error.raw_os_error()) {
                    (ErrorKind::Interrupted, _) => continue,
                    (ErrorKind::WouldBlock, _) | (_, Some(libc::ENOBUFS)) => DropReason::QueueFull,
                    (_, Some(libc::EMSGSIZE)) => DropReason::TooLong,
                    // Down or gone: whoever receives finds out, says so and waits.
                    _ => DropReason::Refused,
                },
            };
            self.counters.tx_dropped(reason);
            done += 1;
        }
        self.outgoing.clear();
    }
}
