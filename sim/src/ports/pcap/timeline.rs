//! Whose turn it is when several captures are read as one.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The next time of each capture that a switch reads. A capture waits while another has an earlier
/// frame, and, where the pace is kept, until its frame is due.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By place: nanoseconds of the next frame; `None` once the capture has ended.
    next: Vec<Option<u64>>,
    pace: bool,
    /// The earliest time of all and when its frame was shown.
    start: Option<(u64, Instant)>,
}

impl State {
    fn first(&self) -> Option<(u64, usize)> {
        let waiting = self.next.iter().enumerate();
        waiting
            .filter_map(|(place, next)| next.map(|next| (next, place)))
            .min()
    }
}

impl Timeline {
    /// Adds a capture that begins at this time; gives its place.
    pub(super) fn join(&self, first_ns: u64, pace: bool) -> usize {
        let mut state = self.0.lock();
        state.next.push(Some(first_ns));
        state.pace |= pace;
        state.next.len() - 1
    }

    /// How long a capture has to wait before its next frame; zero when it is its turn.
    pub(super) fn wait(&self, place: usize, now: impl FnOnce() -> Instant) -> Duration {
        let mut state = self.0.lock();
        let Some((first_ns, whose)) = state.first() else {
            return Duration::ZERO;
        };
        let wait = if state.pace {
            let now = now();
            let due_ns = state.next.get(place).copied().flatten().unwrap_or(first_ns);
            let (start_ns, start) = *state.start.get_or_insert((first_ns, now));
            let due = Duration::from_nanos(due_ns.saturating_sub(start_ns));
            due.saturating_sub(now.saturating_duration_since(start))
        } else {
            Duration::ZERO
        };
        if whose == place {
            wait
        } else {
            wait.max(Duration::from_nanos(1))
        }
    }

    /// Says when a capture's next frame is, if it has one.
    pub(super) fn advance(&self, place: usize, next_ns: Option<u64>) {
        if let Some(next) = self.0.lock().next.get_mut(place) {
            *next = next_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capture_with_the_earliest_frame_has_its_turn() {
        let (timeline, now) = (Timeline::default(), Instant::now());
        let (a, b) = (timeline.join(100, false), timeline.join(50, false));
        assert!(timeline.wait(a, || now) > Duration::ZERO);
        assert_eq!(timeline.wait(b, || now), Duration::ZERO);
        timeline.advance(b, Some(200));
        assert_eq!(timeline.wait(a, || now), Duration::ZERO);
        timeline.advance(a, None);
        assert_eq!(timeline.wait(b, || now), Duration::ZERO);
    }

    #[test]
    fn where_the_pace_is_kept_a_frame_waits_for_its_time() {
        let (timeline, now) = (Timeline::default(), Instant::now());
        let a = timeline.join(1_000, true);
        assert_eq!(timeline.wait(a, || now), Duration::ZERO);
        timeline.advance(a, Some(5_000));
        assert_eq!(timeline.wait(a, || now), Duration::from_nanos(4_000));
        let later = now + Duration::from_nanos(4_000);
        assert_eq!(timeline.wait(a, || later), Duration::ZERO);
    }
}
