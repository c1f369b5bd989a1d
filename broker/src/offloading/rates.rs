//! What clients publish through the broker, told to a controller that asks.

use offload::TopicIndex;
use rustc_hash::FxHashMap;

/// Most topics of one answer: those with the most PUBLISH.
const MOST: usize = 1024;

/// PUBLISH per topic that came untagged, so that no counter of the data plane shows them.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Only for a controller that has asked.
    counting: bool,
    heard: FxHashMap<TopicIndex, u64>,
}

impl Rates {
    pub(crate) fn heard(&mut self, topic: TopicIndex) {
        if self.counting {
            *self.heard.entry(topic).or_default() += 1;
        }
    }

    /// What was counted since the question before, the most first.
    pub(crate) fn take(&mut self) -> Vec<(TopicIndex, u64)> {
        self.counting = true;
        let mut topics: Vec<_> = self.heard.drain().collect();
        topics.sort_unstable_by_key(|&(topic, packets)| (std::cmp::Reverse(packets), topic));
        topics.truncate(MOST);
        topics
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_begins_with_the_first_question_and_anew_with_each() {
        let mut rates = Rates::default();
        rates.heard(TopicIndex(1));
        assert_eq!(rates.take(), []);
        for topic in [2, 3, 3] {
            rates.heard(TopicIndex(topic));
        }
        assert_eq!(rates.take(), [(TopicIndex(3), 2), (TopicIndex(2), 1)]);
        assert_eq!(rates.take(), []);
    }

    #[test]
    fn an_answer_names_no_more_topics_than_it_may() {
        let mut rates = Rates::default();
        rates.take();
        for topic in 0..3 * MOST as u32 {
            rates.heard(TopicIndex(topic));
        }
        assert_eq!(rates.take().len(), MOST);
    }
}
