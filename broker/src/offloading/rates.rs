//! What clients publish through the broker, told to a controller that asks.

use std::cmp::Reverse;

use offload::{PublicationKey, TopicIndex};
use rustc_hash::FxHashMap;

/// Most topics, and most publications, of one answer: those with the most PUBLISH.
const MOST: usize = 1024;

/// PUBLISH that came untagged, so that no counter of the data plane shows them.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Only for a controller that has asked.
    counting: bool,
    heard: FxHashMap<TopicIndex, u64>,
    /// Of publications that the controller has refused.
    heard_of: FxHashMap<PublicationKey, u64>,
}

/// How many PUBLISH came for each topic, and from each refused publication.
pub(crate) type Heard = (Vec<(TopicIndex, u64)>, Vec<(PublicationKey, u64)>);

impl Rates {
    pub(crate) fn is_counting(&self) -> bool {
        self.counting
    }

    pub(crate) fn heard(&mut self, topic: TopicIndex) {
        if self.counting {
            *self.heard.entry(topic).or_default() += 1;
        }
    }

    pub(crate) fn heard_of(&mut self, publication: PublicationKey) {
        if self.counting {
            *self.heard_of.entry(publication).or_default() += 1;
        }
    }

    /// What was counted since the question before, the most first.
    pub(crate) fn take(&mut self) -> Heard {
        self.counting = true;
        (most(&mut self.heard), most(&mut self.heard_of))
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

fn most<K: Copy + Ord + std::hash::Hash>(counts: &mut FxHashMap<K, u64>) -> Vec<(K, u64)> {
    let mut counts: Vec<_> = counts.drain().collect();
    counts.sort_unstable_by_key(|&(key, packets)| (Reverse(packets), key));
    counts.truncate(MOST);
    counts
}

#[cfg(test)]
mod tests {
    use offload::{Alias, AliasType};

    use super::*;

    fn publication(id: u16) -> PublicationKey {
        PublicationKey {
            address: ([10, 0, 0, 1], 1000).into(),
            alias: Alias {
                id_type: AliasType::Normal,
                id,
            },
        }
    }

    #[test]
    fn counting_begins_with_the_first_question_and_anew_with_each() {
        let mut rates = Rates::default();
        rates.heard(TopicIndex(1));
        rates.heard_of(publication(1));
        assert_eq!(rates.take(), (vec![], vec![]));
        for topic in [2, 3, 3] {
            rates.heard(TopicIndex(topic));
        }
        rates.heard_of(publication(5));
        let topics = vec![(TopicIndex(3), 2), (TopicIndex(2), 1)];
        assert_eq!(rates.take(), (topics, vec![(publication(5), 1)]));
        assert_eq!(rates.take(), (vec![], vec![]));
    }

    #[test]
    fn an_answer_names_no_more_topics_than_it_may() {
        let mut rates = Rates::default();
        rates.take();
        for topic in 0..3 * MOST as u32 {
            rates.heard(TopicIndex(topic));
            rates.heard_of(publication(topic as u16));
        }
        let (topics, publications) = rates.take();
        assert_eq!((topics.len(), publications.len()), (MOST, MOST));
    }
}
