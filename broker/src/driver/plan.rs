//! From single datagrams to messages of sendmmsg: which of them may leave as one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use mmsg::MAX_SEGMENTS;

/// Octets of one message: an IP packet's length less an IPv6 and a UDP header.
const MAX_OCTETS: usize = 65_535 - 40 - 8;

/// No entry.
const NONE: u32 = u32::MAX;

/// What one destination gets by one message of sendmmsg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Where to.
    pub(super) to: SocketAddr,
    /// Which of the parts make it up; at most 1024 of them.
    pub(super) parts: Range<usize>,
    /// Length of all datagrams in it but the last, which may be shorter; 0 for one datagram.
    pub(super) segment: u16,
    /// Number of datagrams.
    pub(super) datagrams: usize,
}

/// How the datagrams of a lane are sent. Kept for its memory.
#[derive(Debug)]
pub(super) struct Plan {
    destinations: Vec<Destination>,
    index: HashMap<SocketAddr, u32, foldhash::fast::RandomState>,
    /// For each datagram, the next one to the same destination.
    next: Vec<u32>,
    /// What to send, in this order.
    pub(super) messages: Vec<Message>,
    /// What the messages are made of: ranges of the datagrams' buffer.
    pub(super) parts: Vec<Range<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Destination {
    to: SocketAddr,
    first: u32,
    last: u32,
}

impl Default for Plan {
    /// With room for an ordinary batch.
    fn default() -> Self {
        const ROOM: usize = 1024;
        Plan {
            destinations: Vec::with_capacity(ROOM),
            index: HashMap::with_capacity_and_hasher(ROOM, Default::default()),
            next: Vec::with_capacity(ROOM),
            messages: Vec::with_capacity(ROOM),
            parts: Vec::with_capacity(ROOM),
        }
    }
}

impl Plan {
    /// Arranges datagrams: those to one destination one behind the other, in their order, and in one
    /// message as long as they are of one length (the last may be shorter) of at most `longest` octets.
    /// With `longest` 0 each is a message of its own.
    pub(super) fn arrange<D>(&mut self, datagrams: &[D], longest: usize)
    where
        D: Datagram,
    {
        self.messages.clear();
        self.parts.clear();
        if let [only] = datagrams {
            self.parts.push(only.range());
            self.messages.push(single(only.to(), 0));
            return;
        }
        self.link(datagrams);
        for at in 0..self.destinations.len() {
            let Destination { to, first, .. } = self.destinations[at];
            let mut run = Run::default();
            let mut number = first;
            while number != NONE {
                let range = datagrams[number as usize].range();
                if !run.takes(range.len(), longest) {
                    self.close(to, &run);
                    run = Run {
                        first_part: self.parts.len(),
                        ..Run::default()
                    };
                }
                if run.datagrams == 0 {
                    run.first_part = self.parts.len();
                }
                run.add(range.len());
                match self.parts.last_mut() {
                    // Datagrams that lie one behind the other are one part.
                    Some(last)
                        if run.datagrams > 1 && last.end == range.start && !range.is_empty() =>
                    {
                        last.end = range.end;
                    }
                    _ => self.parts.push(range),
                }
                number = self.next[number as usize];
            }
            self.close(to, &run);
        }
    }

    /// Chains the datagrams by destination.
    fn link<D: Datagram>(&mut self, datagrams: &[D]) {
        const ORDINARY: usize = 4096;
        self.destinations.clear();
        if self.index.capacity() > 2 * ORDINARY {
            self.index = HashMap::with_capacity_and_hasher(ORDINARY, self.index.hasher().clone());
        }
        self.index.clear();
        self.next.clear();
        self.next.resize(datagrams.len(), NONE);
        let mut latest: Option<u32> = None;
        for (number, datagram) in datagrams.iter().enumerate() {
            // A lane is emptied long before it holds 2³² datagrams: they would fill the memory.
            let number = number as u32;
            let to = datagram.to();
            let again = latest.filter(|&at| self.destinations[at as usize].to == to);
            let fresh = self.destinations.len() as u32;
            let at = again.unwrap_or_else(|| *self.index.entry(to).or_insert(fresh));
            if at == fresh {
                self.destinations.push(Destination {
                    to,
                    first: number,
                    last: number,
                });
            } else {
                let destination = &mut self.destinations[at as usize];
                self.next[destination.last as usize] = number;
                destination.last = number;
            }
            latest = Some(at);
        }
    }

    /// Makes the run a message.
    fn close(&mut self, to: SocketAddr, run: &Run) {
        if run.datagrams == 0 {
            return;
        }
        let segment = match run.datagrams {
            1 => 0,
            // At most `longest`, which fits a u16 as datagrams do.
            _ => run.segment as u16,
        };
        self.messages.push(Message {
            to,
            parts: run.first_part..self.parts.len(),
            segment,
            datagrams: run.datagrams,
        });
    }
}

fn single(to: SocketAddr, part: usize) -> Message {
    Message {
        to,
        parts: part..part + 1,
        segment: 0,
        datagrams: 1,
    }
}

/// What a plan needs to know of a datagram.
pub(super) trait Datagram {
    /// Where it goes.
    fn to(&self) -> SocketAddr;
    /// Where its bytes are.
    fn range(&self) -> Range<usize>;
}

impl Datagram for crate::transmit::Entry {
    fn to(&self) -> SocketAddr {
        self.to
    }

    fn range(&self) -> Range<usize> {
        crate::transmit::Entry::range(self)
    }
}

/// Datagrams to one destination that may leave as one message.
#[derive(Debug, Default)]
struct Run {
    first_part: usize,
    datagrams: usize,
    octets: usize,
    /// Length of all but the last.
    segment: usize,
    /// A shorter one has ended it.
    ended: bool,
}

impl Run {
    fn takes(&self, length: usize, longest: usize) -> bool {
        self.datagrams == 0
            || (!self.ended
                && self.datagrams < MAX_SEGMENTS
                && length > 0
                && length <= self.segment
                && self.segment <= longest
                && self.octets + length <= MAX_OCTETS)
    }

    fn add(&mut self, length: usize) {
        if self.datagrams == 0 {
            self.segment = length;
        }
        self.ended = length < self.segment;
        self.datagrams += 1;
        self.octets += length;
    }
}

/// The datagrams of a message, each as a message of its own: where the kernel cannot segment.
pub(super) fn plain(
    message: &Message,
    parts: &[Range<usize>],
    messages: &mut Vec<Message>,
    singles: &mut Vec<Range<usize>>,
) {
    messages.clear();
    singles.clear();
    let segment = usize::from(message.segment).max(1);
    for part in &parts[message.parts.clone()] {
        // A part is made of whole datagrams: all of `segment` octets but the message's last.
        let mut start = part.start;
        while start < part.end {
            let end = (start + segment).min(part.end);
            messages.push(single(message.to, singles.len()));
            singles.push(start..end);
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Sent = (SocketAddr, Range<usize>);

    impl Datagram for Sent {
        fn to(&self) -> SocketAddr {
            self.0
        }

        fn range(&self) -> Range<usize> {
            self.1.clone()
        }
    }

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// Datagrams of these lengths, one behind the other in the buffer.
    fn line(port: u16, lengths: &[usize]) -> Vec<Sent> {
        let mut start = 0;
        let place = |&length: &usize| {
            let range = start..start + length;
            start += length;
            (to(port), range)
        };
        lengths.iter().map(place).collect()
    }

    /// (segment, datagrams, parts) of each message.
    fn shape(datagrams: &[Sent], longest: usize) -> Vec<(u16, usize, usize)> {
        let mut plan = Plan::default();
        plan.arrange(datagrams, longest);
        plan.messages
            .iter()
            .map(|m| (m.segment, m.datagrams, m.parts.len()))
            .collect()
    }

    #[test]
    fn a_run_of_one_length_is_one_message_and_one_part() {
        assert_eq!(shape(&line(1, &[9, 9, 9]), 1472), [(9, 3, 1)]);
    }

    #[test]
    fn the_last_of_a_run_may_be_shorter_but_no_other() {
        assert_eq!(shape(&line(1, &[9, 9, 5, 9]), 1472), [(9, 3, 1), (0, 1, 1)]);
        assert_eq!(shape(&line(1, &[5, 9, 9]), 1472), [(0, 1, 1), (9, 2, 1)]);
    }

    #[test]
    fn a_run_has_at_most_64_datagrams() {
        assert_eq!(
            shape(&line(1, &[7; 130]), 1472),
            [(7, 64, 1), (7, 64, 1), (7, 2, 1)]
        );
    }

    #[test]
    fn a_run_is_no_longer_than_an_ip_packet() {
        let shapes = shape(&line(1, &[1400; 50]), 1472);
        assert_eq!(shapes, [(1400, 46, 1), (1400, 4, 1)]);
        const { assert!(46 * 1400 <= MAX_OCTETS && 47 * 1400 > MAX_OCTETS) };
    }

    #[test]
    fn datagrams_longer_than_a_segment_may_be_leave_alone() {
        assert_eq!(shape(&line(1, &[1473, 1473]), 1472), [(0, 1, 1), (0, 1, 1)]);
        assert_eq!(shape(&line(1, &[9, 9]), 0), [(0, 1, 1), (0, 1, 1)]);
    }

    #[test]
    fn the_copies_of_one_message_share_its_bytes() {
        let copies: Vec<Sent> = [1, 2, 3].map(|port| (to(port), 10..20)).into();
        let mut plan = Plan::default();
        plan.arrange(&copies, 1472);
        assert_eq!(plan.parts, [10..20, 10..20, 10..20]);
        assert_eq!(plan.messages.len(), 3);
    }

    #[test]
    fn what_lies_apart_is_several_parts_of_one_message() {
        let datagrams = [(to(1), 0..9), (to(2), 9..18), (to(1), 18..27)];
        assert_eq!(shape(&datagrams, 1472), [(9, 2, 2), (0, 1, 1)]);
    }

    proptest! {
        #[test]
        fn every_destination_gets_its_datagrams_in_their_order(
            datagrams in prop::collection::vec((1_u16..5, 0_usize..500, 1_usize..40), 0..300),
            longest in prop::sample::select(vec![0_usize, 20, 1472]),
        ) {
            let datagrams: Vec<Sent> = datagrams
                .into_iter()
                .map(|(port, start, length)| (to(port), start..start + length))
                .collect();
            let mut plan = Plan::default();
            // Twice: the second time with the memory of the first.
            plan.arrange(&datagrams, longest);
            plan.arrange(&datagrams, longest);
            let (mut messages, mut singles) = (Vec::new(), Vec::new());
            let mut sent: Vec<Sent> = Vec::new();
            for message in &plan.messages {
                prop_assert!(message.datagrams <= MAX_SEGMENTS);
                if message.segment == 0 {
                    prop_assert_eq!(message.parts.len(), 1);
                    sent.push((message.to, plan.parts[message.parts.start].clone()));
                    continue;
                }
                plain(message, &plan.parts, &mut messages, &mut singles);
                prop_assert_eq!(messages.len(), message.datagrams);
                sent.extend(messages.iter().map(|m| (m.to, singles[m.parts.start].clone())));
            }
            for port in 1..5 {
                let of = |all: &[Sent]| -> Vec<Range<usize>> {
                    all.iter().filter(|d| d.0 == to(port)).map(|d| d.1.clone()).collect()
                };
                prop_assert_eq!(of(&sent), of(&datagrams));
            }
        }
    }
}
