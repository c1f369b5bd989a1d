//! The packet replication engine: multicast groups and clone sessions.

use std::sync::Arc;

use crate::control::{CloneSession, MulticastGroup, Replica};
use crate::tables::{Keyed, Trie, hash_words};

/// A multicast group or clone session with its id.
#[derive(Debug)]
pub(crate) struct Replicated<S> {
    hash: u64,
    id: [u64; 1],
    pub(crate) source: S,
    /// Shared with the packets that are being copied.
    pub(crate) replicas: Arc<[Replica]>,
}

impl<S> Replicated<S> {
    pub(crate) fn new(id: u64, source: S, replicas: &[Replica]) -> Self {
        Replicated {
            hash: hash_words(&[id]),
            id: [id],
            source,
            replicas: replicas.into(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id[0]
    }
}

impl<S> Keyed for Replicated<S> {
    fn hash(&self) -> u64 {
        self.hash
    }
    fn key(&self) -> &[u64] {
        &self.id
    }
}

/// All groups and sessions.
#[derive(Clone, Default)]
pub(crate) struct Pre {
    pub(crate) groups: Trie<Replicated<MulticastGroup>>,
    pub(crate) sessions: Trie<Replicated<CloneSession>>,
}

impl Pre {
    pub(crate) fn group(&self, id: u64) -> Option<&Arc<Replicated<MulticastGroup>>> {
        self.groups.get(hash_words(&[id]), &[id])
    }

    pub(crate) fn session(&self, id: u64) -> Option<&Arc<Replicated<CloneSession>>> {
        self.sessions.get(hash_words(&[id]), &[id])
    }
}
