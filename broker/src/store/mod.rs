//! The embedded store: where what is durable of a broker is kept.
//!
//! ```text
//! DIR/store.redb    all entries: a copy-on-write B-tree, a checksum over every page (redb)
//! DIR/commits       how many commits were acknowledged: 16 octets
//! ```
//! **A commit** is all or nothing, and is done when the operating system has it: that survives the end
//! of this process in any way, `kill -9` included. With [`Sync::Disk`] it is done when the disk has it,
//! which survives a power failure too and costs an `fdatasync` for each batch.
//!
//! **An unfit store is refused, and not touched.** Until everything in it has been read, every checksum
//! compared and every entry understood, all that redb wants to write to it (its repair after a crash,
//! above all) is staged in memory. Only then it is written.
//!
//! **Nothing that was acknowledged goes unnoticed.** If the latest commit is damaged, redb falls back
//! to the one before it, as it must after a power failure. Here that would be a loss, so the number of
//! commits is also kept beside it: a store that has fewer than were acknowledged is refused.
//!
//! Why redb, of the libraries that were measured (1.1 million entries, commits of three entries each,
//! no `fsync`, killed and opened again): redb 4.6 needs 40 µs a commit, opens in 0.16 s with every
//! checksum compared, and lets this module stand between itself and the file. fjall 3.1 needs 3 µs, but
//! 2.1 s to open, and where a journal is damaged it cuts off what follows without a word. SQLite needs
//! 10 µs and 0.16 s, does likewise with its write-ahead log, has no checksums in the rest, and is not
//! Rust. In batches of 64 messages all three need 9 µs a message.

mod backend;
mod marker;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};
use serde::{Deserialize, Serialize};

use crate::durable::{Changes, RestoreError};
use backend::{Backend, StagedFile};
use marker::Marker;

/// The schema of the entries that this version reads and writes.
const SCHEMA: u64 = 1;

const DATA: &str = "store.redb";
/// A store on its way to become one.
const UNFINISHED: &str = "store.redb.new";
const COMMITS: &str = "commits";

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("topicswitch entries");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("topicswitch");
const ABOUT_SCHEMA: &str = "schema";

/// Among the entries, behind all others: how many commits there were.
const COMMIT_COUNT: &[u8] = &[0xFF];

/// Pages that redb keeps in memory. What it needs to commit are the upper pages of the tree.
const CACHE: usize = 32 << 20;

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// The end of the process, in any way; not a power failure.
    #[default]
    Process,
    /// A power failure and a crash of the operating system too.
    Disk,
}

/// Why a store is not opened. Nothing in its directory was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be used.
    #[error("cannot use the store {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the store {0} is in use by another process; end that one first, or give each broker a \
         directory of its own"
    )]
    Locked(PathBuf),
    /// There is something else.
    #[error(
        "{directory} is no store of topicswitch: it holds {found:?}; give an empty directory, or one \
         that does not exist"
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// The file that does not belong there.
        found: String,
    },
    /// A later version has written it.
    #[error(
        "the store {directory} has schema {found}, this topicswitch knows schemas up to {SCHEMA}; \
         start the version that wrote it, or move the directory away to start from nothing"
    )]
    Newer {
        /// The directory.
        directory: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// It is damaged.
    #[error(
        "the store {directory} is damaged: {why}; it was left as it is: restore it from a backup, or \
         move the directory away to start from nothing"
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// What was found.
        why: String,
    },
    /// Acknowledged commits are missing.
    #[error(
        "the store {directory} holds {found} commits, but {acknowledged} were acknowledged: the last \
         ones are damaged or lost (a power failure without `sync: disk`?); it was left as it is: \
         restore it from a backup, or delete {directory}/commits to go on without what is missing"
    )]
    Behind {
        /// The directory.
        directory: PathBuf,
        /// Commits in it.
        found: u64,
        /// Commits that somebody relies on.
        acknowledged: u64,
    },
    /// Its entries make no broker.
    #[error("the store {directory}: {source}")]
    Entries {
        /// The directory.
        directory: PathBuf,
        /// What is wrong.
        source: RestoreError,
    },
}

/// A commit failed: nothing of it may be acknowledged, and nothing more can be stored.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot store to {path}: {why}; what was acknowledged before is safe, start again when the cause \
     is mended"
)]
pub struct CommitError {
    /// The directory.
    pub path: PathBuf,
    /// What the system said.
    pub why: String,
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// The directory.
    pub directory: PathBuf,
    /// What a commit survives.
    pub sync: Sync,
    /// Octets of its files.
    pub octets: u64,
    /// Commits since the store was made.
    pub commits: u64,
}

/// An open store, this process's alone.
#[derive(Debug)]
pub struct Store {
    database: Database,
    file: Arc<StagedFile>,
    marker: Marker,
    commits: u64,
    sync: Sync,
    directory: PathBuf,
    /// Holds the lock on the directory.
    _lock: File,
}

impl Store {
    /// Opens the store in `directory`, or makes one where nothing is. `entry` gets all entries in the
    /// order of their keys, as [`Restore::entry`](crate::Restore::entry) wants them.
    ///
    /// # Errors
    /// When the store is not fit; it is untouched then.
    pub fn open(
        directory: &Path,
        sync: Sync,
        entry: impl FnMut(&[u8], &[u8]) -> Result<(), RestoreError>,
    ) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io {
            path: directory.to_owned(),
            source,
        };
        std::fs::create_dir_all(directory).map_err(io_error)?;
        let lock = lock(directory)?;
        let data = directory.join(DATA);
        if !data.try_exists().map_err(io_error)? {
            refuse_foreign(directory)?;
            create(directory, &data)?;
        }
        let in_file = |source| OpenError::Io {
            path: data.clone(),
            source,
        };
        let file = File::options().read(true).write(true).open(&data);
        let file = Arc::new(StagedFile::staged(file.map_err(in_file)?, sync).map_err(in_file)?);
        let damaged = |why| OpenError::Damaged {
            directory: directory.to_owned(),
            why,
        };
        // What redb does not expect in a file it did not write may make it panic.
        let examined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let database = open_database(directory, &file)?;
            let commits = read(directory, &database, entry)?;
            Ok((database, commits))
        }));
        let (database, commits) =
            examined.unwrap_or_else(|_| Err(damaged("its pages contradict each other".into())))?;
        let (marker, acknowledged) = Marker::open(&directory.join(COMMITS))
            .map_err(|error| damaged(format!("{COMMITS}: {error}")))?;
        if commits < acknowledged {
            return Err(OpenError::Behind {
                directory: directory.to_owned(),
                found: commits,
                acknowledged,
            });
        }
        file.write_staged().map_err(in_file)?;
        Ok(Store {
            database,
            file,
            marker,
            commits,
            sync,
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// Stores the changes: all of them, or none.
    ///
    /// # Errors
    /// When the system does not take them; nothing more can be stored then.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), CommitError> {
        let committed = self.write(changes).map_err(|error| error.to_string());
        let marked = committed.and_then(|()| {
            let marked = self.marker.set(self.commits);
            marked.map_err(|error| format!("{COMMITS}: {error}"))
        });
        marked.map_err(|why| CommitError {
            path: self.directory.clone(),
            why,
        })
    }

    fn write(&mut self, changes: &Changes) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut entries = write.open_table(ENTRIES)?;
            for (key, value) in changes.iter() {
                match value {
                    Some(value) => entries.insert(key, value)?,
                    None => entries.remove(key)?,
                };
            }
            let count = (self.commits + 1).to_be_bytes();
            entries.insert(COMMIT_COUNT, &count[..])?;
        }
        write.commit()?;
        self.commits += 1;
        Ok(())
    }

    /// What an operator may want to know.
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            directory: self.directory.clone(),
            sync: self.sync,
            octets: self.file.size(),
            commits: self.commits,
        }
    }
}

/// The lock that says that the directory is in use; it ends with the file.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let io_error = |source| OpenError::Io {
        path: directory.to_owned(),
        source,
    };
    let opened = File::open(directory).map_err(io_error)?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}

/// A store is made only where nothing is.
fn refuse_foreign(directory: &Path) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io {
        path: directory.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(directory).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        if name != UNFINISHED {
            return Err(OpenError::Foreign {
                directory: directory.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// Makes an empty store; it gets its name when it is complete.
fn create(directory: &Path, data: &Path) -> Result<(), OpenError> {
    let unfinished = directory.join(UNFINISHED);
    let failed = |source| OpenError::Io {
        path: unfinished.clone(),
        source,
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&unfinished)
        .map_err(failed)?;
    let file = Arc::new(StagedFile::direct(file, Sync::Disk));
    let make = || -> Result<(), redb::Error> {
        let backend = Backend(Arc::clone(&file));
        let database = Database::builder().create_with_backend(backend)?;
        let write = database.begin_write()?;
        write.open_table(ABOUT)?.insert(ABOUT_SCHEMA, SCHEMA)?;
        write.open_table(ENTRIES)?;
        write.commit()?;
        Ok(())
    };
    make().map_err(|error| failed(io::Error::other(error)))?;
    std::fs::rename(&unfinished, data).map_err(failed)?;
    let directory = File::open(directory).map_err(failed)?;
    directory.sync_all().map_err(failed)
}

fn open_database(directory: &Path, file: &Arc<StagedFile>) -> Result<Database, OpenError> {
    let damaged = |why| OpenError::Damaged {
        directory: directory.to_owned(),
        why,
    };
    if file.size() == 0 {
        return Err(damaged(format!("{DATA} is empty")));
    }
    let opened = Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(Backend(Arc::clone(file)));
    opened.map_err(|error| match error {
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() != io::ErrorKind::InvalidData
                && source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            OpenError::Io {
                path: directory.join(DATA),
                source,
            }
        }
        error => damaged(error.to_string()),
    })
}

/// Passes on all entries. The number of commits.
fn read(
    directory: &Path,
    database: &Database,
    mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), RestoreError>,
) -> Result<u64, OpenError> {
    let directory = || directory.to_owned();
    let damaged = |error: redb::Error| OpenError::Damaged {
        directory: directory(),
        why: error.to_string(),
    };
    let read = database.begin_read().map_err(|e| damaged(e.into()))?;
    let about = match read.open_table(ABOUT) {
        Ok(about) => about,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Err(OpenError::Foreign {
                directory: directory(),
                found: DATA.to_owned(),
            });
        }
        Err(error) => return Err(damaged(error.into())),
    };
    let schema = about.get(ABOUT_SCHEMA).map_err(|e| damaged(e.into()))?;
    match schema.map(|schema| schema.value()) {
        Some(SCHEMA) => {}
        Some(found) if found > SCHEMA => {
            return Err(OpenError::Newer {
                directory: directory(),
                found,
            });
        }
        found => {
            return Err(OpenError::Damaged {
                directory: directory(),
                why: format!("its schema is {found:?}"),
            });
        }
    }
    let entries = read.open_table(ENTRIES).map_err(|e| damaged(e.into()))?;
    let mut commits = 0;
    for item in entries.iter().map_err(|e| damaged(e.into()))? {
        let (key, value) = item.map_err(|e| damaged(e.into()))?;
        let (key, value) = (key.value(), value.value());
        if key == COMMIT_COUNT {
            let count = value.try_into().map_err(|_| OpenError::Damaged {
                directory: directory(),
                why: "its number of commits cannot be read".into(),
            })?;
            commits = u64::from_be_bytes(count);
        } else {
            entry(key, value).map_err(|source| OpenError::Entries {
                directory: directory(),
                source,
            })?;
        }
    }
    Ok(commits)
}
