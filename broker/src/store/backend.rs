//! The file below redb: first read only, with all writes staged in memory, then the file itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Sync;

/// Octets of a block of the staged image.
const BLOCK: u64 = 4096;

/// The file, as redb sees it.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: File,
    sync: Sync,
    staged: Mutex<Option<Staged>>,
}

/// What would have been written.
#[derive(Debug)]
struct Staged {
    /// The length as redb sees it.
    len: u64,
    /// Octets of the file that still count; those behind were cut off.
    in_file: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
    /// In their order, which is part of what makes a commit whole.
    writes: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Data(u64, Box<[u8]>),
    Len(u64),
}

impl StagedFile {
    /// The file is not written to before [`StagedFile::write_staged`].
    pub(super) fn staged(file: File, sync: Sync) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let staged = Staged {
            len,
            in_file: len,
            blocks: BTreeMap::new(),
            writes: Vec::new(),
        };
        Ok(StagedFile {
            file,
            sync,
            staged: Mutex::new(Some(staged)),
        })
    }

    /// The file is written to at once.
    pub(super) fn direct(file: File, sync: Sync) -> Self {
        StagedFile {
            file,
            sync,
            staged: Mutex::new(None),
        }
    }

    /// Writes what was staged; from now on writes are not staged any more.
    pub(super) fn write_staged(&self) -> io::Result<()> {
        let mut staged = self.lock();
        for write in staged.iter_mut().flat_map(|staged| staged.writes.drain(..)) {
            match write {
                Write::Data(offset, data) => self.file.write_all_at(&data, offset)?,
                Write::Len(len) => self.file.set_len(len)?,
            }
        }
        *staged = None;
        self.flush()
    }

    /// The file's length, or 0 if that cannot be told.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    fn flush(&self) -> io::Result<()> {
        match self.sync {
            // The operating system has it: that outlives the process.
            Sync::Process => Ok(()),
            Sync::Disk => self.file.sync_data(),
        }
    }

    /// Staged writes are put in as a whole, so a panic leaves them usable.
    fn lock(&self) -> MutexGuard<'_, Option<Staged>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staged {
    fn read(&self, file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let from_file = self.in_file.saturating_sub(offset).min(out.len() as u64);
        // At most the length of `out`.
        let (there, beyond) = out.split_at_mut(from_file as usize);
        file.read_exact_at(there, offset)?;
        beyond.fill(0);
        for (&number, block) in self.blocks.range(offset / BLOCK..=end / BLOCK) {
            let start = number * BLOCK;
            let from = start.max(offset);
            let to = (start + BLOCK).min(end);
            if from < to {
                // All differences are at most a block or the length of `out`.
                let source = &block[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if data.is_empty() {
            return Ok(());
        }
        self.len = self.len.max(end);
        for number in offset / BLOCK..=(end - 1) / BLOCK {
            let start = number * BLOCK;
            let from = start.max(offset);
            let to = (start + BLOCK).min(end);
            if !self.blocks.contains_key(&number) {
                let mut block = vec![0; BLOCK as usize].into_boxed_slice();
                let there = self.len.saturating_sub(start).min(BLOCK);
                self.read(file, start, &mut block[..there as usize])?;
                self.blocks.insert(number, block);
            }
            if let Some(block) = self.blocks.get_mut(&number) {
                let source = &data[(from - offset) as usize..(to - offset) as usize];
                block[(from - start) as usize..(to - start) as usize].copy_from_slice(source);
            }
        }
        self.writes.push(Write::Data(offset, data.into()));
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            // What is cut off reads as zeroes should the file grow again.
            self.in_file = self.in_file.min(len);
            self.blocks.split_off(&len.div_ceil(BLOCK));
            if let Some(block) = self.blocks.get_mut(&(len / BLOCK)) {
                block[(len % BLOCK) as usize..].fill(0);
            }
        }
        self.len = len;
        self.writes.push(Write::Len(len));
    }
}

/// A share in the file, for redb to own.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<StagedFile>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        match &*self.0.lock() {
            Some(staged) => Ok(staged.len),
            None => Ok(self.0.file.metadata()?.len()),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.0.lock() {
            Some(staged) => staged.read(&self.0.file, offset, out),
            None => self.0.file.read_exact_at(out, offset),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut *self.0.lock() {
            Some(staged) => {
                staged.set_len(len);
                Ok(())
            }
            None => self.0.file.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match &*self.0.lock() {
            Some(_) => Ok(()),
            None => self.0.flush(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.0.lock() {
            Some(staged) => staged.write(&self.0.file, offset, data),
            None => self.0.file.write_all_at(data, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::StorageBackend;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Write(u64, Vec<u8>),
        Len(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let data = (0..20_000_u64, 1..9_000_usize, any::<u8>());
        prop_oneof![
            3 => data.prop_map(|(at, length, octet)| Op::Write(at, vec![octet; length])),
            1 => (0..30_000_u64).prop_map(Op::Len),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn staged_writes_read_as_if_they_were_written_and_then_are(
            before in prop::collection::vec(any::<u8>(), 0..12_000),
            ops in prop::collection::vec(op(), 1..20),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            std::fs::write(&path, &before).unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let backend = Backend(Arc::new(StagedFile::staged(file, Sync::Process).unwrap()));
            let mut model = before.clone();
            for op in ops {
                match op {
                    Op::Write(at, data) => {
                        let (at, end) = (at as usize, at as usize + data.len());
                        backend.write(at as u64, &data).unwrap();
                        if model.len() < end {
                            model.resize(end, 0);
                        }
                        model[at..end].copy_from_slice(&data);
                    }
                    Op::Len(len) => {
                        backend.set_len(len).unwrap();
                        model.resize(len as usize, 0);
                    }
                }
                let mut read = vec![0xEE; model.len()];
                prop_assert_eq!(backend.len().unwrap(), model.len() as u64);
                backend.read(0, &mut read).unwrap();
                prop_assert_eq!(&read, &model);
            }
            prop_assert_eq!(std::fs::read(&path).unwrap(), before);
            backend.0.write_staged().unwrap();
            prop_assert_eq!(std::fs::read(&path).unwrap(), model);
        }
    }
}
