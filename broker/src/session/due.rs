//! Retained messages that the subscriptions of a session still owe it.
//!
//! A wildcard may match more retained messages than may wait for one client. So they are not queued
//! at once: each subscription goes through its topics in the order of their index, and goes on when
//! there is room again.

use std::collections::{BTreeSet, VecDeque};

use offload::TopicIndex;

/// One subscription's way through its topics.
#[derive(Debug)]
pub(crate) struct DueFilter {
    pub(crate) filter: Box<str>,
    /// The first topic that was not gone through.
    pub(crate) next: TopicIndex,
    /// The youngest topic that there was when the subscription began.
    pub(crate) last: TopicIndex,
    /// Topics ahead of which something was published meanwhile, so that their turn is over.
    pub(crate) passed: BTreeSet<TopicIndex>,
}

impl DueFilter {
    /// Whether the topic, which the filter matches, has its turn yet.
    pub(crate) fn is_ahead(&self, topic: TopicIndex) -> bool {
        (self.next..=self.last).contains(&topic) && !self.passed.contains(&topic)
    }
}

/// All that is due to one session.
#[derive(Debug, Default)]
pub(crate) struct Due {
    filters: VecDeque<DueFilter>,
}

impl Due {
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The subscription begins, or begins anew.
    pub(crate) fn add(&mut self, filter: &str, last: TopicIndex) {
        self.remove(filter);
        self.filters.push_back(DueFilter {
            filter: filter.into(),
            next: TopicIndex(0),
            last,
            passed: BTreeSet::new(),
        });
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.retain(|due| *due.filter != *filter);
    }

    pub(crate) fn front(&mut self) -> Option<&mut DueFilter> {
        self.filters.front_mut()
    }

    /// All, in their turn.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &DueFilter> {
        self.filters.iter()
    }

    /// Puts back what was stored, behind all others.
    pub(crate) fn restore(&mut self, due: DueFilter) {
        self.filters.push_back(due);
    }

    /// The front one is through.
    pub(crate) fn pop(&mut self) {
        self.filters.pop_front();
    }

    /// Whether the topic has its turn yet with some subscription.
    pub(crate) fn is_ahead(&self, topic: TopicIndex, name: &str) -> bool {
        self.filters
            .iter()
            .any(|due| due.is_ahead(topic) && mqttsn::topic::matches(&due.filter, name))
    }

    /// The topic's turn is over with all subscriptions.
    pub(crate) fn pass(&mut self, topic: TopicIndex, name: &str) {
        for due in &mut self.filters {
            if due.is_ahead(topic) && mqttsn::topic::matches(&due.filter, name) {
                due.passed.insert(topic);
            }
        }
    }
}
