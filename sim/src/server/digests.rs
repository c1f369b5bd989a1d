//! The digests of the running pipeline and who wants them.

use std::collections::HashMap;
use std::time::Duration;

use p4runtime::bytes::Bitstring;
use p4runtime::v1;
use p4runtime::v1::update::Type;
use parking_lot::Mutex;
use tonic::Code;

use super::digest::DigestChannel;
use super::errors::{Outcome, Refusal};
use super::pipeline::Loaded;
use crate::control::{Control, DigestHandle};

/// The digests that a controller has enabled.
#[derive(Debug, Default)]
pub(super) struct Digests {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    channels: HashMap<DigestHandle, DigestChannel>,
    last_list: u64,
}

impl Digests {
    /// Applies a `DigestEntry`.
    pub(super) fn configure(
        &self,
        kind: Type,
        digest: DigestHandle,
        config: v1::digest_entry::Config,
        control: &Control,
    ) -> Outcome {
        let channels = &mut self.state.lock().channels;
        match (kind, channels.get_mut(&digest)) {
            (Type::Insert, Some(_)) => Err(Refusal::new(
                Code::AlreadyExists,
                "is already enabled: modify it",
            )),
            (Type::Insert, None) => {
                // What was queued while nobody wanted it is of the past.
                drop(control.take_digests(digest, usize::MAX));
                channels.insert(digest, DigestChannel::new(config));
                Ok(())
            }
            (_, None) => Err(Refusal::not_found("is not enabled: insert it")),
            (Type::Delete, Some(_)) => {
                channels.remove(&digest);
                Ok(())
            }
            (_, Some(channel)) => {
                channel.config = config;
                Ok(())
            }
        }
    }

    /// The configuration of an enabled digest.
    pub(super) fn config(&self, digest: DigestHandle) -> Option<v1::digest_entry::Config> {
        self.state
            .lock()
            .channels
            .get(&digest)
            .map(|channel| channel.config)
    }

    /// Goes back to an earlier configuration; `None` is not enabled.
    pub(super) fn restore(&self, digest: DigestHandle, config: Option<v1::digest_entry::Config>) {
        let channels = &mut self.state.lock().channels;
        match (config, channels.get_mut(&digest)) {
            (Some(config), Some(channel)) => channel.config = config,
            (Some(config), None) => {
                channels.insert(digest, DigestChannel::new(config));
            }
            (None, _) => {
                channels.remove(&digest);
            }
        }
    }

    /// Handles an acknowledgement.
    pub(super) fn acknowledge(&self, digest: DigestHandle, list_id: u64) {
        if let Some(channel) = self.state.lock().channels.get_mut(&digest) {
            channel.acknowledge(list_id);
        }
    }

    /// Another controller is primary: it knows of no list.
    pub(super) fn primary_changed(&self) {
        self.state
            .lock()
            .channels
            .values_mut()
            .for_each(DigestChannel::reset);
    }

    /// Collects messages from the data plane and sends the lists that are due; gives the time of
    /// the next one that waits.
    pub(super) fn poll(
        &self,
        now: Duration,
        epoch: Duration,
        loaded: &Loaded,
        control: &Control,
        mut send: impl FnMut(v1::DigestList),
    ) -> Option<Duration> {
        let state = &mut *self.state.lock();
        for (digest, handle) in loaded.digests.iter() {
            let Some(channel) = state.channels.get_mut(&handle) else {
                continue;
            };
            channel.expire(now);
            loop {
                let messages = control.take_digests(handle, channel.list_size());
                let more = !messages.is_empty();
                messages
                    .into_iter()
                    .for_each(|message| channel.push(now, message));
                while channel.is_due(now) {
                    state.last_list += 1;
                    let messages = channel.take_list(now, state.last_list);
                    let encode = |message: &crate::control::DigestMessage| {
                        let values: Vec<Bitstring> = message
                            .fields
                            .iter()
                            .map(|f| Bitstring::from(&f[..]))
                            .collect();
                        digest.data_type.encode(&values).ok()
                    };
                    let data: Vec<v1::P4Data> = messages.iter().filter_map(encode).collect();
                    if data.len() < messages.len() {
                        tracing::warn!(digest = digest.name, "a digest is not of its P4Info type");
                    }
                    send(v1::DigestList {
                        digest_id: digest.id,
                        list_id: state.last_list,
                        data,
                        timestamp: super::timestamp(epoch, now),
                    });
                }
                if !more {
                    break;
                }
            }
        }
        state
            .channels
            .values()
            .filter_map(DigestChannel::deadline)
            .min()
    }
}
