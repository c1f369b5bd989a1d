//! Several sources that may all have something at the same moment.
//!
//! Which comes first is not left to chance: with the same inputs a controller does the same.

use std::future::poll_fn;
use std::task::{Context, Poll};

/// One source: asked when its turn comes, or when none before it has anything.
pub(crate) type Source<'a, T> = &'a mut (dyn FnMut(&mut Context<'_>) -> Poll<T> + Send);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turn(usize);

impl Turn {
    /// The next that one of the sources has. Each time another one is asked first, so that none
    /// keeps the others waiting however much it has.
    pub(crate) async fn next<T, const N: usize>(&mut self, mut sources: [Source<'_, T>; N]) -> T {
        let first = self.0;
        self.0 = self.0.wrapping_add(1);
        poll_fn(|context| {
            for n in 0..N {
                let source = &mut sources[first.wrapping_add(n) % N];
                if let Poll::Ready(something) = source(context) {
                    return Poll::Ready(something);
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sources_that_always_have_something_come_in_turn() {
        let mut turn = Turn::default();
        let mut heard = Vec::new();
        for _ in 0..6 {
            let mut a = |_: &mut Context<'_>| Poll::Ready('a');
            let mut b = |_: &mut Context<'_>| Poll::Ready('b');
            let mut c = |_: &mut Context<'_>| Poll::Ready('c');
            heard.push(turn.next([&mut a, &mut b, &mut c]).await);
        }
        assert_eq!(heard, ['a', 'b', 'c', 'a', 'b', 'c']);
    }

    #[tokio::test]
    async fn a_source_without_anything_is_passed_over() {
        let mut turn = Turn::default();
        for _ in 0..4 {
            let mut a = |_: &mut Context<'_>| Poll::Pending;
            let mut b = |_: &mut Context<'_>| Poll::Ready('b');
            assert_eq!(turn.next([&mut a, &mut b]).await, 'b');
        }
    }
}
