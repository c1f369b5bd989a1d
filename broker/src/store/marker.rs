//! The number of commits that were acknowledged, kept apart from them.
//!
//! It is written after each commit, so at most one commit is not counted. On the disk it may be older:
//! it is never waited for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file: the number and its complement, each eight octets.
#[derive(Debug)]
pub(super) struct Marker(File);

impl Marker {
    /// The marker, and the number in it; 0 where there is none, and none is made.
    pub(super) fn open(path: &Path) -> io::Result<(Self, u64)> {
        let found = path.try_exists()?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if !found || file.metadata()?.len() == 0 {
            return Ok((Marker(file), 0));
        }
        let mut octets = [0; 17];
        let length = file.read_at(&mut octets, 0)?;
        let (number, complement) = octets.split_at(8);
        let number = number.try_into().map(u64::from_be_bytes);
        let complement = complement[..8].try_into().map(u64::from_be_bytes);
        match (length, number, complement) {
            (16, Ok(number), Ok(complement)) if number == !complement => Ok((Marker(file), number)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no number of commits; delete it to go on without its check",
            )),
        }
    }

    pub(super) fn set(&self, number: u64) -> io::Result<()> {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&number.to_be_bytes());
        octets[8..].copy_from_slice(&(!number).to_be_bytes());
        // One write within one page: it is done or not done.
        self.0.write_all_at(&octets, 0)
    }
}
