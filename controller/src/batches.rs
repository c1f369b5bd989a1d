//! How many updates go into one write.

use crate::apply::Update;
use crate::tables::Value;

/// Most replicas in one batch: as a message of some 2 MB, for servers that take 4 MB, gRPC's default.
/// One group is smaller: it has fewer replicas than there are replication ids.
const REPLICAS: usize = 1 << 17;

/// Deals out updates, in their order, to batches of up to `most`.
pub(crate) fn batches(updates: Vec<Update>, most: usize) -> Vec<Vec<Update>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Update> = Vec::new();
    let mut replicas = 0;
    for update in updates {
        let more = update.value.as_ref().map_or(0, Value::replicas);
        if batch.len() == most || (replicas + more > REPLICAS && !batch.is_empty()) {
            batches.push(std::mem::take(&mut batch));
            replicas = 0;
        }
        replicas += more;
        batch.push(update);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Op;
    use crate::tables::{Key, Replica, replication};

    fn group(id: u16, replicas: u16) -> Update {
        let replicas = (0..replicas).map(|rid| Replica { port: 1, rid });
        Update {
            op: Op::Insert,
            key: Key::Group(id),
            value: Some(Value::Replicas(replication::replicas(replicas))),
        }
    }

    fn dealt(groups: &[u16], most: usize) -> Vec<Vec<u16>> {
        let updates = (1..).zip(groups).map(|(id, replicas)| group(id, *replicas));
        let batches = batches(updates.collect(), most);
        let id = |update: &Update| match update.key {
            Key::Group(id) => id,
            other => panic!("{other:?}"),
        };
        let ids = batches.iter().map(|batch| batch.iter().map(id).collect());
        ids.collect()
    }

    #[test]
    fn a_batch_holds_so_many_updates_and_what_is_left_is_the_last_one() {
        assert_eq!(dealt(&[1; 5], 2), [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(dealt(&[], 2), [[0; 0]; 0]);
    }

    #[test]
    fn groups_of_very_many_replicas_go_in_batches_of_their_own() {
        let wide = 60_000;
        assert_eq!(
            dealt(&[wide, wide, wide, 1, wide, wide], 512),
            [vec![1, 2], vec![3, 4, 5], vec![6]]
        );
    }
}
