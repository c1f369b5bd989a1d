//! What datagrams leave by, for each [`Via`].

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mmsg::Sending;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::io::IoCounters;
use super::plan::{Message, Plan, plain};
use super::sockets::Outlets;
use crate::transmit::{Entry, Transmits, Via};

/// How long the sender of one lane waits, all in all, for room in the system's buffers. Beyond that
/// datagrams are lost, as on a network.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends datagrams for a transport that the driver does not know.
///
/// Calls for one destination come one at a time and in the order in which the broker said them; for
/// different destinations they come from several threads at once. `send` must not wait for long, and
/// must not call [`Ingress::handle`](super::Ingress::handle).
pub trait Outbound: Send + Sync {
    /// Sends one datagram. What cannot be sent is lost, as datagrams are.
    fn send(&self, to: SocketAddr, datagram: &[u8]);
}

/// The ways out that there are.
#[derive(Default)]
pub(super) struct Ways {
    udp: OnceLock<Way>,
    dtls: OnceLock<Arc<dyn Outbound>>,
    pub(super) counters: IoCounters,
}

/// The way out for plain UDP.
pub(super) enum Way {
    /// The system's sockets.
    Sockets(Arc<Outlets>),
    /// Something that takes one datagram at a time.
    Outbound(Arc<dyn Outbound>),
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ways")
            .field("udp", &self.udp.get().is_some())
            .field("dtls", &self.dtls.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Ways {
    /// Plain UDP leaves by this; false if it had a way already.
    pub(super) fn set_udp(&self, way: Way) -> bool {
        self.udp.set(way).is_ok()
    }

    /// DTLS leaves by this; false if it had a way already.
    pub(super) fn set_dtls(&self, outbound: Arc<dyn Outbound>) -> bool {
        self.dtls.set(outbound).is_ok()
    }
}

/// Sends the datagrams of one lane.
#[derive(Debug, Default)]
pub(super) struct Sender {
    plan: Plan,
    sending: Sending,
    /// Those that are for the sockets, where not all are.
    chosen: Vec<Entry>,
    /// A run that the system does not take, one by one.
    messages: Vec<Message>,
    singles: Vec<Range<usize>>,
}

impl Sender {
    /// Sends all datagrams, in their order per destination.
    pub(super) fn send(&mut self, outbox: &Transmits, lane: usize, ways: &Ways) {
        let entries = outbox.entries();
        if let Some(Way::Sockets(outlets)) = ways.udp.get() {
            if entries.iter().all(|entry| entry.via == Via::Udp) {
                self.plan.arrange(entries, outlets.longest_segment());
            } else {
                let for_sockets = |entry: &&Entry| entry.via == Via::Udp;
                self.chosen.clear();
                self.chosen.extend(entries.iter().filter(for_sockets));
                self.plan.arrange(&self.chosen, outlets.longest_segment());
                for entry in entries.iter().filter(|entry| entry.via != Via::Udp) {
                    send_one(ways, entry, outbox);
                }
            }
            self.send_plan(outbox.buffer(), lane, outlets, &ways.counters);
            return;
        }
        for entry in entries {
            send_one(ways, entry, outbox);
        }
    }

    /// Sends what the plan says by the sockets.
    fn send_plan(&mut self, buffer: &[u8], lane: usize, outlets: &Outlets, counters: &IoCounters) {
        let Sender {
            plan,
            sending,
            messages: plain_messages,
            singles,
            ..
        } = self;
        let mut patience = Patience::default();
        let mut left = &plan.messages[..];
        while let Some(first) = left.first() {
            let to = first.to;
            let same_family = |message: &Message| message.to.is_ipv4() == to.is_ipv4();
            let count = left
                .iter()
                .position(|message| !same_family(message))
                .unwrap_or(left.len());
            let (now, later) = left.split_at(count);
            left = later;
            let Some(socket) = outlets.socket(lane, to) else {
                counters.dropped.add(datagrams(now));
                continue;
            };
            let mut out = Out {
                sending: &mut *sending,
                socket,
                buffer,
                counters,
                patience: &mut patience,
            };
            let mut now = now;
            while let Some((run, error)) = out.send(&mut now, &plan.parts) {
                // What one run cannot be sent as may still go one by one.
                outlets.refused(run.to, run.segment.into(), &error);
                plain(run, &plan.parts, plain_messages, singles);
                out.send(&mut &plain_messages[..], singles);
            }
        }
    }
}

fn send_one(ways: &Ways, entry: &Entry, outbox: &Transmits) {
    let outbound = match (entry.via, ways.udp.get()) {
        (Via::Udp, Some(Way::Outbound(outbound))) => Some(outbound),
        (Via::Udp, _) => None,
        (Via::Dtls, _) => ways.dtls.get(),
    };
    match outbound {
        Some(outbound) => outbound.send(entry.to, &outbox.buffer()[entry.range()]),
        None => ways.counters.dropped.add(1),
    }
}

fn datagrams(messages: &[Message]) -> u64 {
    messages
        .iter()
        .map(|message| message.datagrams as u64)
        .sum()
}

/// One socket, and what to send by it.
struct Out<'a> {
    sending: &'a mut Sending,
    socket: BorrowedFd<'a>,
    buffer: &'a [u8],
    counters: &'a IoCounters,
    patience: &'a mut Patience,
}

impl Out<'_> {
    /// Sends the messages, and takes from the list what is done with. Returns early with a run of
    /// datagrams that the system did not take as one: it is taken from the list, and not sent.
    fn send<'m>(
        &mut self,
        messages: &mut &'m [Message],
        parts: &[Range<usize>],
    ) -> Option<(&'m Message, io::Error)> {
        while let [first, rest @ ..] = *messages {
            let buffer = self.buffer;
            let batch = messages.iter().map(|message| mmsg::Message {
                to: Some(message.to),
                parts: parts[message.parts.clone()]
                    .iter()
                    .map(|part| &buffer[part.clone()]),
                segment: message.segment,
            });
            let sent = self.sending.send(self.socket, batch);
            self.counters.send_calls.add(1);
            let error = match sent {
                Ok(count) => {
                    let (sent, left) = messages.split_at(count.min(messages.len()));
                    *messages = left;
                    self.counters.sent.add(datagrams(sent));
                    let runs = sent.iter().filter(|message| message.segment != 0);
                    let segmented: usize = runs.map(|message| message.datagrams).sum();
                    if segmented > 0 {
                        self.counters.segmented.add(segmented as u64);
                    }
                    continue;
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN | libc::ENOBUFS) if self.patience.wait(self.socket) => continue,
                Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP)
                    if first.segment != 0 =>
                {
                    *messages = rest;
                    return Some((first, error));
                }
                _ => {}
            }
            // As a lost datagram: MQTT-SN's retransmissions make up for it where it matters.
            tracing::debug!(to = %first.to, %error, "not sent");
            self.counters.dropped.add(first.datagrams as u64);
            *messages = rest;
        }
        None
    }
}

/// How long was waited for room.
#[derive(Debug, Default)]
struct Patience {
    spent: Duration,
}

impl Patience {
    /// Waits for room; false when there is none, and none will be waited for.
    fn wait(&mut self, socket: BorrowedFd<'_>) -> bool {
        let Some(left) = PATIENCE.checked_sub(self.spent) else {
            return false;
        };
        let start = Instant::now();
        let mut sockets = [PollFd::new(socket, PollFlags::POLLOUT)];
        // PATIENCE is far below what a PollTimeout can say.
        let timeout = PollTimeout::try_from(left.max(Duration::from_millis(1)));
        let ready = poll(&mut sockets, timeout.unwrap_or(PollTimeout::ZERO));
        // A full queue of the network card (ENOBUFS) does not show in the socket: an attempt costs
        // something, so that they come to an end.
        self.spent += start.elapsed().max(Duration::from_micros(100));
        !matches!(ready, Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use mqttsn::Packet;

    use super::super::io::IoConfig;
    use super::super::sockets::UdpSockets;
    use super::*;
    use crate::config::AdvertiseConfig;
    use crate::transmit::Peer;

    /// Makes the kernel refuse runs of datagrams at this socket: it segments only what has checksums.
    #[allow(unsafe_code)]
    fn refuse_segmentation(socket: BorrowedFd<'_>) {
        let on: libc::c_int = 1;
        // SAFETY: the option is an int, which lives until the call returns.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(done, 0);
    }

    #[test]
    fn where_the_system_takes_no_runs_the_datagrams_leave_one_by_one_and_none_is_lost() {
        let any = ["127.0.0.1:0".parse().unwrap()];
        let advertise = AdvertiseConfig::default();
        let sockets = UdpSockets::bind(&any, &IoConfig::default(), &advertise).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let wait = Duration::from_secs(20);
        client.set_read_timeout(Some(wait)).unwrap();
        let to = client.local_addr().unwrap();
        let outlets = Arc::clone(&sockets.outlets);
        let ways = Ways::default();
        assert!(ways.set_udp(Way::Sockets(Arc::clone(&outlets))));
        let mut sender = Sender::default();
        for (refuse, calls, segmented) in [(false, 1, 9), (true, 1 + 1 + 1, 9), (true, 4, 9)] {
            if refuse {
                refuse_segmentation(outlets.socket(0, to).unwrap());
            }
            let mut transmits = Transmits::default();
            for mark in 0..9 {
                let range = transmits.write(&[mark], &Packet::Pingresp);
                transmits.push_written(&Peer::direct(to), range);
            }
            sender.send(&transmits, 0, &ways);
            for mark in 0..9 {
                let mut buffer = [0; 10];
                assert_eq!(client.recv(&mut buffer).unwrap(), 3);
                assert_eq!(buffer[0], mark);
            }
            let counted = ways.counters.read();
            assert_eq!(counted.dropped, 0);
            assert_eq!((counted.send_calls, counted.segmented), (calls, segmented));
            assert_eq!(outlets.longest_segment(), if refuse { 2 } else { 1472 });
        }
        assert_eq!(ways.counters.read().sent, 27);
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_keeps_nothing_else_back() {
        let any = ["127.0.0.1:0".parse().unwrap()];
        let advertise = AdvertiseConfig::default();
        let sockets = UdpSockets::bind(&any, &IoConfig::default(), &advertise).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let wait = Duration::from_secs(20);
        client.set_read_timeout(Some(wait)).unwrap();
        let ways = Ways::default();
        assert!(ways.set_udp(Way::Sockets(Arc::clone(&sockets.outlets))));
        // No IPv6 socket; port 0 is nobody's.
        let nowhere: [SocketAddr; 2] = ["[::1]:1".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        let mut transmits = Transmits::default();
        for to in [nowhere[0], nowhere[1], client.local_addr().unwrap()] {
            transmits.push(&Peer::direct(to), &Packet::Pingresp);
        }
        Sender::default().send(&transmits, 0, &ways);
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 2);
        let counted = ways.counters.read();
        assert_eq!((counted.sent, counted.dropped), (1, 2));
    }
}
