//! The generator: PUBLISH with 100 bytes of data out of one interface, counted as they come back in
//! at another. One thread on one CPU.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use sim::ports::{AfPacketPort, Port, PortSender};

pub(crate) const BROKER_IP: u32 = 0x0a00_0001;
pub(crate) const CLIENT_IP: u32 = 0x0a00_0002;
pub(crate) const CLIENT_MAC: u64 = 0x0200_0000_0002;
pub(crate) const BROKER_MAC: u64 = 0x0200_0000_0001;
/// Bytes of data in each PUBLISH.
const DATA: u16 = 100;
/// Frames sent with one system call.
const BURST: usize = 32;
/// A frame that has not come after this is lost.
const LOST: Duration = Duration::from_millis(300);

/// A PUBLISH of flow `flow`.
pub(crate) fn publish(flow: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(&BROKER_MAC.to_be_bytes()[2..]);
    frame.extend(&(CLIENT_MAC + u64::from(flow)).to_be_bytes()[2..]);
    frame.extend([8, 0]);
    let (mqttsn, udp) = (7 + DATA, 15 + DATA);
    frame.extend([0x45, 0]);
    frame.extend((udp + 20).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend((CLIENT_IP + u32::from(flow)).to_be_bytes());
    frame.extend(BROKER_IP.to_be_bytes());
    frame.extend(40_000u16.to_be_bytes());
    frame.extend(1883u16.to_be_bytes());
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend([mqttsn as u8, 0x0c, 0x00]);
    frame.extend((u16::from(flow) + 1).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + usize::from(DATA), 0x55);
    frame
}

/// A measured rate.
pub(crate) struct Rate {
    pub(crate) window: usize,
    pub(crate) frames: u64,
    pub(crate) lost: u64,
    pub(crate) per_second: f64,
}

/// Percentiles.
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Latency {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len() - 1);
            times[index].as_secs_f64() * 1e6
        };
        Latency {
            p50_us: at(0.5),
            p99_us: at(0.99),
        }
    }
}

pub(crate) struct Generator {
    from: Box<dyn PortSender>,
    /// Keeps the sender's interface open.
    _from: AfPacketPort,
    to: AfPacketPort,
    frame: Vec<u8>,
    /// Number of the next frame to send, and of the next that should come.
    next: u64,
    expected: u64,
}

impl Generator {
    pub(crate) fn open(from: &str, to: &str) -> Self {
        let from = AfPacketPort::open(from).expect("root");
        Generator {
            from: from.sender(),
            _from: from,
            to: AfPacketPort::open(to).expect("root"),
            frame: publish(0),
            next: 0,
            expected: 0,
        }
    }

    fn send(&mut self) {
        let data = self.frame.len() - usize::from(DATA);
        let (head, tail) = self.frame.split_at(data);
        let mut bytes = [0x55; DATA as usize];
        bytes[..8].copy_from_slice(&self.next.to_be_bytes());
        debug_assert_eq!(bytes.len(), tail.len());
        self.from.send(head, &bytes);
        self.next += 1;
    }

    /// Takes what has come; gives the number of frames. Panics when one overtook another.
    fn receive(&mut self) -> u64 {
        let (mut got, mut expected) = (0, self.expected);
        let shown = self.to.receive(64, &mut |frame| {
            let Some(at) = frame.len().checked_sub(usize::from(DATA)) else {
                return;
            };
            if frame.get(12..14) != Some(&[8, 0]) {
                return;
            }
            let number: [u8; 8] = frame[at..at + 8].try_into().expect("eight");
            let number = u64::from_be_bytes(number);
            assert!(number >= expected, "frame {number} came after {expected}");
            expected = number + 1;
            got += 1;
        });
        shown.expect("the interface is there");
        self.expected = expected;
        got
    }

    /// Waits until frames pass, and then until none is on its way.
    pub(crate) fn wait_for_switch(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut tried = Instant::now() - Duration::from_secs(1);
        while self.receive() == 0 {
            assert!(
                Instant::now() < deadline,
                "nothing passes through the switch"
            );
            if tried.elapsed() > Duration::from_millis(50) {
                self.send();
                self.from.flush();
                tried = Instant::now();
            }
            std::thread::yield_now();
        }
        self.settle();
    }

    fn settle(&mut self) {
        let mut last = Instant::now();
        while last.elapsed() < LOST {
            if self.receive() > 0 {
                last = Instant::now();
            }
        }
        self.expected = self.next;
    }

    /// Keeps `window` frames on their way until `go_on` says no; gives frames received and lost, and
    /// the time.
    fn closed_loop(
        &mut self,
        window: usize,
        mut go_on: impl FnMut() -> bool,
    ) -> (u64, u64, Duration) {
        let (mut sent, mut got, mut lost) = (0_u64, 0_u64, 0_u64);
        let start = Instant::now();
        let (mut last, mut end) = (start, start);
        let mut sending = true;
        while sending || sent > got + lost {
            let waiting = (sent - got - lost) as usize;
            if sending && waiting + BURST <= window {
                (0..BURST).for_each(|_| self.send());
                self.from.flush();
                sent += BURST as u64;
                sending = go_on();
            }
            match self.receive() {
                0 if waiting > 0 && last.elapsed() > LOST => {
                    lost = sent - got;
                    last = Instant::now();
                }
                0 => {}
                more => {
                    got += more;
                    last = Instant::now();
                    end = last;
                }
            }
        }
        (got, lost, end - start)
    }

    pub(crate) fn rate(&mut self, window: usize, time: Duration) -> Rate {
        let end = Instant::now() + time;
        let (frames, lost, took) = self.closed_loop(window, || Instant::now() < end);
        self.settle();
        Rate {
            window,
            frames,
            lost,
            per_second: frames as f64 / took.as_secs_f64(),
        }
    }

    /// Sleeps until a frame may be there or so much time is past.
    fn wait(&self, at_most: Duration) {
        let mut fds = [PollFd::new(self.to.wake_fd(), PollFlags::POLLIN)];
        // Interrupted, it only returns early: everybody looks again.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(at_most)), None);
    }

    /// Sends `count` frames at so many a second, one at a time, and measures each from before it is
    /// sent until it is there; sleeps in between, as an application does.
    pub(crate) fn latency(&mut self, per_second: u32, count: u32) -> Latency {
        let start = Instant::now();
        let mut times = Vec::with_capacity(count as usize);
        for i in 0..count {
            let due = start + Duration::from_secs(1) * i / per_second;
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                self.wait(left);
            }
            let sent = Instant::now();
            self.send();
            self.from.flush();
            while self.receive() == 0 {
                assert!(
                    sent.elapsed() < 10 * LOST,
                    "a frame at {per_second} a second was lost"
                );
                self.wait(LOST);
            }
            times.push(sent.elapsed());
        }
        Latency::of(times)
    }

    /// Does `work` while frames pass as fast as they can. The generator gives way to it.
    pub(crate) fn while_loaded<R>(&mut self, window: usize, work: impl FnOnce() -> R) -> R {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let generator = scope.spawn(|| {
                crate::bed::give_way();
                self.closed_loop(window, || !stop.load(Ordering::Relaxed))
            });
            let result = work();
            stop.store(true, Ordering::Relaxed);
            let (_, lost, _) = generator.join().expect("the generator");
            assert_eq!(lost, 0, "frames were lost while the control plane wrote");
            result
        })
    }
}
