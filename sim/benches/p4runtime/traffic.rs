//! A publisher and a subscriber behind ports in memory: so many PUBLISH a second, each numbered and
//! with the time at which it was sent, and what came of them.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sim::ports::MemLink;

/// Frames a second.
pub(crate) const RATE: u32 = 20_000;
const TICK: Duration = Duration::from_millis(1);
/// Frames that are sent at each tick.
const BURST: u32 = RATE / 1_000;
/// How long after the last frame the rest is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer delays are told as this.
const MOST_NS: u64 = 60_000_000_000;

pub(crate) const BROKER_IP: u32 = 0x0a00_0001;
pub(crate) const CLIENT_IP: u32 = 0x0a00_0002;
pub(crate) const SUBSCRIBER_IP: u32 = 0x0a00_0003;
pub(crate) const BROKER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const SUBSCRIBER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
pub(crate) const BROKER_UDP: u16 = 1883;
pub(crate) const CLIENT_UDP: u16 = 40_000;
/// The topic's alias.
pub(crate) const TOPIC: u16 = 7;

/// What became of the frames of one stretch.
pub(crate) struct Report {
    sent: u64,
    received: u64,
    /// In nanoseconds.
    delays: Histogram<u64>,
}

impl Report {
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.received
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |quantile| self.delays.value_at_quantile(quantile) as f64 / 1e3;
        write!(
            f,
            "{:>8} {:>5}   {:>7.0} {:>7.0} {:>8.0}",
            self.sent,
            self.lost(),
            us(0.5),
            us(0.99),
            us(1.0)
        )
    }
}

/// A thread that sends and receives between [`Traffic::begin`] and [`Traffic::end`].
pub(crate) struct Traffic {
    orders: Sender<()>,
    reports: Receiver<Report>,
}

impl Traffic {
    pub(crate) fn start(publisher: MemLink, subscriber: MemLink) -> Self {
        let (orders, from_bench) = channel();
        let (to_bench, reports) = channel();
        std::thread::spawn(move || {
            while from_bench.recv().is_ok() {
                let report = stretch(&publisher, &subscriber, &from_bench);
                if to_bench.send(report).is_err() {
                    return;
                }
            }
        });
        Traffic { orders, reports }
    }

    pub(crate) fn begin(&mut self) {
        self.orders.send(()).expect("the thread runs");
    }

    pub(crate) fn end(&mut self) -> Report {
        self.orders.send(()).expect("the thread runs");
        self.reports.recv().expect("the thread runs")
    }
}

fn stretch(publisher: &MemLink, subscriber: &MemLink, end: &Receiver<()>) -> Report {
    let mut report = Report {
        sent: 0,
        received: 0,
        delays: Histogram::new_with_max(MOST_NS, 3).expect("three digits"),
    };
    let epoch = Instant::now();
    let mut frame = publish();
    let stamp = frame.len() - 8;
    let mut next = epoch;
    while end.try_recv().is_err() {
        for _ in 0..BURST {
            let now = epoch.elapsed().as_nanos() as u64;
            frame[stamp..].copy_from_slice(&now.to_be_bytes());
            report.sent += 1;
            // One that does not fit is lost and counted as that.
            let _ = publisher.send(&frame);
        }
        next += TICK;
        while report.take(subscriber, next, epoch) {}
    }
    let patience = Instant::now() + PATIENCE;
    while report.lost() > 0 && report.take(subscriber, patience, epoch) {}
    report
}

impl Report {
    /// Takes the next frame that comes before the deadline, if one does.
    fn take(&mut self, subscriber: &MemLink, deadline: Instant, epoch: Instant) -> bool {
        let Some(frame) = subscriber.recv_deadline(deadline) else {
            return false;
        };
        let (_, sent) = frame.split_last_chunk().expect("as long as it was sent");
        let delay = (epoch.elapsed().as_nanos() as u64).saturating_sub(u64::from_be_bytes(*sent));
        self.received += 1;
        self.delays.saturating_record(delay);
        true
    }
}

/// A PUBLISH of 100 octets of data.
fn publish() -> Vec<u8> {
    const DATA: u16 = 100;
    let (mqttsn, udp) = (7 + DATA, 15 + DATA);
    let mut frame = [BROKER_MAC, CLIENT_MAC].concat();
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((udp + 20).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(CLIENT_IP.to_be_bytes());
    frame.extend(BROKER_IP.to_be_bytes());
    frame.extend(CLIENT_UDP.to_be_bytes());
    frame.extend(BROKER_UDP.to_be_bytes());
    frame.extend(udp.to_be_bytes());
    frame.extend([0x12, 0x34]);
    frame.extend([mqttsn as u8, 0x0c, 0x00]);
    frame.extend(TOPIC.to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + usize::from(DATA), 0x55);
    frame
}
