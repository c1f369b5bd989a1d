//! The classic pcap format: a header of 24 bytes, then each frame behind a header of 16.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PcapError;

const FILE_HEADER: usize = 24;
/// Length of the header in front of each frame.
pub(super) const RECORD_HEADER: usize = 16;
/// The first number of a file, as its writer had it; and the one with times in nanoseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The first block type of pcapng, the same in both byte orders.
const PCAPNG: u32 = 0x0a0d_0d0a;
const LINKTYPE_ETHERNET: u32 = 1;
/// More than any capture tool keeps of a frame (libpcap's MAXIMUM_SNAPLEN): beyond it a length is
/// no length.
const LONGEST: u32 = 262_144;

/// Reads a capture frame by frame.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next record begins.
    at: u64,
    swapped: bool,
    nanoseconds: bool,
}

/// What stands in front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Since the Unix epoch.
    pub(super) time_ns: u64,
    /// The capture has all of the frame.
    pub(super) whole: bool,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, PcapError> {
        let failed = |source| PcapError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut header = [0; FILE_HEADER];
        let got = read_up_to(&mut file, &mut header).map_err(failed)?;
        let not_pcap = || PcapError::NotPcap {
            path: path.to_owned(),
            magic: header[..got.min(4)].to_vec(),
        };
        let magic = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let number = |be: u32, swapped: bool| if swapped { be.swap_bytes() } else { be };
        if magic == PCAPNG {
            return Err(PcapError::PcapNg(path.to_owned()));
        }
        let forms = [false, true].map(|swapped| (number(magic, swapped), swapped));
        let form = forms
            .into_iter()
            .find(|(magic, _)| [MICROSECONDS, NANOSECONDS].contains(magic));
        let (magic, swapped) = form.filter(|_| got == FILE_HEADER).ok_or_else(not_pcap)?;
        let link_type = u32::from_be_bytes([header[20], header[21], header[22], header[23]]);
        // The upper bits tell of frame check sequences.
        let link_type = number(link_type, swapped) & 0x0fff_ffff;
        if link_type != LINKTYPE_ETHERNET {
            return Err(PcapError::NotEthernet {
                path: path.to_owned(),
                link_type,
            });
        }
        Ok(Reader {
            path: path.to_owned(),
            file,
            at: FILE_HEADER as u64,
            swapped,
            nanoseconds: magic == NANOSECONDS,
        })
    }

    /// Reads the next frame into `frame`, replacing what it held; `None` at the end.
    pub(super) fn next(&mut self, frame: &mut Vec<u8>) -> Result<Option<Record>, PcapError> {
        frame.clear();
        let mut header = [0; RECORD_HEADER];
        match self.read(&mut header)? {
            0 => return Ok(None),
            RECORD_HEADER => {}
            _ => return Err(self.broken("is cut off in its header")),
        }
        let number = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            let number = u32::from_be_bytes(bytes);
            if self.swapped {
                number.swap_bytes()
            } else {
                number
            }
        };
        let (seconds, fraction) = (u64::from(number(0)), u64::from(number(4)));
        let (len, original) = (number(8), number(12));
        if len > LONGEST {
            return Err(self.broken(&format!("says that it holds {len} bytes of a frame")));
        }
        let fraction_ns = fraction * if self.nanoseconds { 1 } else { 1000 };
        frame.resize(len as usize, 0);
        if self.read(frame)? < frame.len() {
            return Err(self.broken("is cut off"));
        }
        self.at += (RECORD_HEADER + frame.len()) as u64;
        Ok(Some(Record {
            time_ns: seconds * 1_000_000_000 + fraction_ns,
            whole: len >= original,
        }))
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize, PcapError> {
        read_up_to(&mut self.file, to).map_err(|source| PcapError::Read {
            path: self.path.clone(),
            source,
        })
    }

    fn broken(&self, what: &str) -> PcapError {
        PcapError::Broken {
            path: self.path.clone(),
            at: self.at,
            what: what.to_owned(),
        }
    }
}

/// Fills `to` unless the file ends first; gives how far.
fn read_up_to(file: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < to.len() {
        match file.read(&mut to[done..]) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The header of a file with times in nanoseconds, in this machine's byte order.
pub(super) fn header() -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[0..4].copy_from_slice(&NANOSECONDS.to_ne_bytes());
    header[4..6].copy_from_slice(&2_u16.to_ne_bytes());
    header[6..8].copy_from_slice(&4_u16.to_ne_bytes());
    header[16..20].copy_from_slice(&LONGEST.to_ne_bytes());
    header[20..24].copy_from_slice(&LINKTYPE_ETHERNET.to_ne_bytes());
    header
}

/// The header of a whole frame of `len` bytes.
pub(super) fn record(time: Duration, len: usize) -> [u8; RECORD_HEADER] {
    let mut header = [0; RECORD_HEADER];
    // The format's seconds have 32 bits.
    header[0..4].copy_from_slice(&(time.as_secs() as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&time.subsec_nanos().to_ne_bytes());
    let len = (len as u32).to_ne_bytes();
    header[8..12].copy_from_slice(&len);
    header[12..16].copy_from_slice(&len);
    header
}
