//! What a port has done, readable from any thread.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a port dropped a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The queue (in memory) or the socket's buffer was full.
    QueueFull,
    /// The frame cannot leave through a UDP socket: not an unfragmented UDP datagram over IPv4.
    NotUdp,
    /// A checksum was wrong: the payload or a header was corrupted on the way.
    BadChecksum,
    /// The frame is for another station (a flooded frame at a port with exactly one behind it).
    NotForPort,
    /// The frame is longer than the link can carry.
    TooLong,
    /// A packet that the kernel left to the NIC to segment, in a form not segmented here.
    Offload,
    /// The system refused to send the frame.
    Refused,
    /// Only a part of the frame is in the capture file.
    Incomplete,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [DropReason; 8] = [
        DropReason::QueueFull,
        DropReason::NotUdp,
        DropReason::BadChecksum,
        DropReason::NotForPort,
        DropReason::TooLong,
        DropReason::Offload,
        DropReason::Refused,
        DropReason::Incomplete,
    ];

    /// A short name in `snake_case`, for reports and metrics labels.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::NotUdp => "not_udp",
            DropReason::BadChecksum => "bad_checksum",
            DropReason::NotForPort => "not_for_port",
            DropReason::TooLong => "too_long",
            DropReason::Offload => "offload",
            DropReason::Refused => "refused",
            DropReason::Incomplete => "incomplete",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counters of one port. Any thread counts and reads; each number is exact, numbers read
/// together may be a few frames apart.
#[derive(Debug, Default)]
pub struct PortCounters {
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
    rx_errors: AtomicU64,
    rx_drops: [AtomicU64; DropReason::ALL.len()],
    tx_drops: [AtomicU64; DropReason::ALL.len()],
}

/// One reading of [`PortCounters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortCounts {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received, from the Ethernet header on.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent, from the Ethernet header on.
    pub tx_bytes: u64,
    /// Errors that the system reported on receiving (an ICMP error of an earlier datagram, a link
    /// that went down…) and that the port outlived.
    pub rx_errors: u64,
}

impl PortCounters {
    /// Reads the counters.
    pub fn read(&self) -> PortCounts {
        PortCounts {
            rx_frames: self.rx_frames.load(Relaxed),
            rx_bytes: self.rx_bytes.load(Relaxed),
            tx_frames: self.tx_frames.load(Relaxed),
            tx_bytes: self.tx_bytes.load(Relaxed),
            rx_errors: self.rx_errors.load(Relaxed),
        }
    }

    /// Frames dropped for this reason on their way into the switch.
    pub fn rx_drops(&self, reason: DropReason) -> u64 {
        self.rx_drops[reason as usize].load(Relaxed)
    }

    /// Frames dropped for this reason on their way out of the switch.
    pub fn tx_drops(&self, reason: DropReason) -> u64 {
        self.tx_drops[reason as usize].load(Relaxed)
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.rx_frames.fetch_add(1, Relaxed);
        self.rx_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_many(1, bytes);
    }

    pub(crate) fn sent_many(&self, frames: usize, bytes: usize) {
        self.tx_frames.fetch_add(frames as u64, Relaxed);
        self.tx_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn receive_failed(&self) {
        self.rx_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn rx_dropped(&self, reason: DropReason) {
        self.rx_dropped_many(reason, 1);
    }

    pub(crate) fn rx_dropped_many(&self, reason: DropReason, frames: u64) {
        self.rx_drops[reason as usize].fetch_add(frames, Relaxed);
    }

    pub(crate) fn tx_dropped(&self, reason: DropReason) {
        self.tx_drops[reason as usize].fetch_add(1, Relaxed);
    }
}
