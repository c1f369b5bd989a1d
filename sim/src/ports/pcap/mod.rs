//! A port over capture files: what it receives stands in one, what it sends goes into another.
//!
//! The files are classic pcap (the format of `tcpdump -w`), with times in micro- or nanoseconds and
//! in either byte order; written ones have nanoseconds. Several such ports of one switch take turns
//! by the times in their files, as if the frames came over wires.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use super::{DropReason, MAX_FRAME, PcapSpec, Port, PortCounters, PortSender, PortSpec};

mod file;
mod timeline;

use file::{Reader, Record};
pub use timeline::Timeline;

/// Why a capture file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The system refused to open or read it.
    #[error("cannot read capture file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused to create it.
    #[error("cannot write capture file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The next generation of the format.
    #[error(
        "{} is a pcapng file; pcap ports read classic pcap: convert it with `editcap -F pcap {} \
         new.pcap` or `tcpdump -r {} -w new.pcap`",
        .0.display(), .0.display(), .0.display()
    )]
    PcapNg(PathBuf),
    /// No capture at all.
    #[error(
        "{} is not a pcap file: it begins with {magic:02x?} and not with one of the four forms of \
         a1b2c3d4 or a1b23c4d",
        path.display()
    )]
    NotPcap {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        magic: Vec<u8>,
    },
    /// Frames of another link layer.
    #[error(
        "the frames in {} are not Ethernet (link type {link_type}; Ethernet is 1): capture on an \
         Ethernet interface",
        path.display()
    )]
    NotEthernet {
        /// The file.
        path: PathBuf,
        /// LINKTYPE_ as the file says.
        link_type: u32,
    },
    /// The file ends or is wrong in the middle.
    #[error("{}: the record at byte {at} {what}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
    /// One file for both.
    #[error("{} cannot be read and written at once: give the output a name of its own", .0.display())]
    SameFile(PathBuf),
    /// No descriptor is left.
    #[error("cannot open a pcap port: {0}")]
    System(io::Error),
}

/// The port of one or two capture files.
#[derive(Debug)]
pub struct PcapPort {
    spec: PcapSpec,
    input: Option<Input>,
    output: Option<Arc<Mutex<BufWriter<File>>>>,
    /// Readable while frames can be had at once.
    wake: EventFd,
    timeline: Arc<Timeline>,
    counters: Arc<PortCounters>,
}

/// What is left to come in.
#[derive(Debug)]
struct Input {
    reader: Reader,
    place: usize,
    next: Record,
    frame: Vec<u8>,
}

impl PcapPort {
    /// Opens the files. The ports of one switch share a `timeline`.
    ///
    /// # Errors
    /// [`PcapError`].
    pub fn open(spec: &PcapSpec, timeline: &Arc<Timeline>) -> Result<Self, PcapError> {
        // Creating the output empties it: a wrong input must not cost it its contents.
        let mut input = None;
        if let Some(path) = &spec.input {
            if let Some(output) = &spec.output
                && let (Ok(from), Ok(to)) = (path.canonicalize(), output.canonicalize())
                && from == to
            {
                return Err(PcapError::SameFile(path.clone()));
            }
            let mut reader = Reader::open(path)?;
            let mut frame = Vec::with_capacity(2048);
            if let Some(next) = reader.next(&mut frame)? {
                input = Some(Input {
                    reader,
                    place: timeline.join(next.time_ns, spec.pace),
                    next,
                    frame,
                });
            }
        }
        let output = spec.output.as_ref().map(|path| {
            let failed = |source| PcapError::Write {
                path: path.clone(),
                source,
            };
            let file = File::create(path).map_err(failed)?;
            let mut writer = BufWriter::with_capacity(1 << 16, file);
            writer.write_all(&file::header()).map_err(failed)?;
            writer.flush().map_err(failed)?;
            Ok(Arc::new(Mutex::new(writer)))
        });
        let output = output.transpose()?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)
            .map_err(|error| PcapError::System(error.into()))?;
        if input.is_some() && !spec.pace {
            // A new counter is far from its maximum.
            let _ = wake.write(1);
        }
        Ok(PcapPort {
            spec: spec.clone(),
            input,
            output,
            wake,
            timeline: Arc::clone(timeline),
            counters: Arc::default(),
        })
    }
}

impl Port for PcapPort {
    fn spec(&self) -> PortSpec {
        PortSpec::Pcap(self.spec.clone())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn receive(&mut self, budget: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let mut shown = 0;
        while shown < budget {
            let Some(input) = &mut self.input else {
                break;
            };
            if self.timeline.wait(input.place, Instant::now) > Duration::ZERO {
                break;
            }
            if !input.next.whole {
                self.counters.rx_dropped(DropReason::Incomplete);
            } else if input.frame.len() > MAX_FRAME {
                self.counters.rx_dropped(DropReason::TooLong);
            } else {
                self.counters.received(input.frame.len());
                each(&input.frame);
                shown += 1;
            }
            let next = match input.reader.next(&mut input.frame) {
                Ok(next) => next,
                Err(error) => {
                    self.counters.receive_failed();
                    tracing::error!(%error, "the rest of the capture is not read");
                    None
                }
            };
            self.timeline.advance(input.place, next.map(|r| r.time_ns));
            match next {
                Some(next) => input.next = next,
                None => {
                    self.input = None;
                    // Nothing to read is no error: a paced port's counter is zero.
                    let _ = self.wake.read();
                    let frames = self.counters.read().rx_frames;
                    tracing::info!(spec = %self.spec(), frames, "the capture has been read");
                }
            }
        }
        Ok(shown)
    }

    fn sender(&self) -> Box<dyn PortSender> {
        Box::new(PcapSender {
            path: self.spec.output.clone().unwrap_or_default(),
            output: self.output.clone(),
            pending: Vec::with_capacity(1 << 14),
            frames: 0,
            counters: Arc::clone(&self.counters),
        })
    }

    fn wake_after(&self) -> Option<Duration> {
        let input = self.input.as_ref().filter(|_| self.spec.pace)?;
        // Whoever's turn it is may be late: then a moment.
        let wait = self.timeline.wait(input.place, Instant::now);
        Some(wait.max(Duration::from_micros(50)))
    }

    fn counters(&self) -> Arc<PortCounters> {
        Arc::clone(&self.counters)
    }
}

/// One thread's way out: records of a batch go into the file together.
struct PcapSender {
    path: PathBuf,
    output: Option<Arc<Mutex<BufWriter<File>>>>,
    pending: Vec<u8>,
    frames: usize,
    counters: Arc<PortCounters>,
}

impl PortSender for PcapSender {
    fn send(&mut self, head: &[u8], payload: &[u8]) {
        let len = head.len() + payload.len();
        if len > MAX_FRAME {
            return self.counters.tx_dropped(DropReason::TooLong);
        }
        self.frames += 1;
        if self.output.is_none() {
            // A port without an output file is a wire that nobody listens to.
            self.counters.sent(len);
            return;
        }
        self.pending
            .extend_from_slice(&file::record(wall_clock(), len));
        self.pending.extend_from_slice(head);
        self.pending.extend_from_slice(payload);
    }

    /// What was sent is in the file when this returns: the process may be killed at any time.
    fn flush(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        let Some(output) = &self.output else {
            return;
        };
        let mut writer = output.lock();
        match writer
            .write_all(&self.pending)
            .and_then(|()| writer.flush())
        {
            Ok(()) => {
                let bytes = self.pending.len() - frames * file::RECORD_HEADER;
                self.counters.sent_many(frames, bytes);
            }
            Err(source) => {
                for _ in 0..frames {
                    self.counters.tx_dropped(DropReason::Refused);
                }
                let path = self.path.clone();
                let error = PcapError::Write { path, source };
                tracing::error!(%error, "no more frames are written");
                drop(writer);
                self.output = None;
            }
        }
        self.pending.clear();
    }
}

/// The time since the Unix epoch, as captures have it.
#[expect(
    clippy::disallowed_methods,
    reason = "the times in captures are wall-clock times; nothing here is timed by it"
)]
fn wall_clock() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
