//! A persistent hash map: the snapshots of all tables are made of it.
//!
//! A clone is one reference count. A change copies the few nodes on its path that someone else
//! still sees, and changes in place those that nobody does: a batch of changes between two
//! snapshots copies each node once. Nodes have 32 branches; leaves hold a few values and split
//! when they have too many.

use std::sync::Arc;

/// Bits of the hash that one level takes.
const BITS: u32 = 5;
/// Values a leaf may hold before it splits.
const LEAF: usize = 8;
/// No more hash bits to split by.
const DEEPEST: u32 = 60;

/// What the map holds: values that know their key and its hash.
pub(crate) trait Keyed {
    fn hash(&self) -> u64;
    fn key(&self) -> &[u64];
}

enum Node<T> {
    Branch(Box<[Option<Arc<Node<T>>>; 1 << BITS]>),
    Leaf(Vec<(u64, Arc<T>)>),
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Node::Branch(children) => Node::Branch(children.clone()),
            Node::Leaf(values) => Node::Leaf(values.clone()),
        }
    }
}

/// The map.
pub(crate) struct Trie<T> {
    root: Option<Arc<Node<T>>>,
    len: usize,
}

impl<T> Clone for Trie<T> {
    fn clone(&self) -> Self {
        Trie {
            root: self.root.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Trie { root: None, len: 0 }
    }
}

#[inline]
fn branch(hash: u64, shift: u32) -> usize {
    (hash >> shift) as usize & ((1 << BITS) - 1)
}

impl<T: Keyed> Trie<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The value with this key.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u64]) -> Option<&Arc<T>> {
        let mut node = self.root.as_deref()?;
        let mut shift = 0;
        loop {
            match node {
                Node::Branch(children) => {
                    node = children[branch(hash, shift)].as_deref()?;
                    shift += BITS;
                }
                Node::Leaf(values) => {
                    let same = |(h, value): &&(u64, Arc<T>)| *h == hash && value.key() == key;
                    return values.iter().find(same).map(|(_, value)| value);
                }
            }
        }
    }

    /// Inserts a value; the one with the same key goes.
    pub(crate) fn insert(&mut self, value: Arc<T>) -> Option<Arc<T>> {
        let root = self
            .root
            .get_or_insert_with(|| Arc::new(Node::Leaf(Vec::new())));
        let old = insert(root, value.hash(), value, 0);
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes the value with this key.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u64]) -> Option<Arc<T>> {
        // Looking first keeps a miss from copying nodes.
        self.get(hash, key)?;
        let old = remove(self.root.as_mut()?, hash, key, 0);
        self.len -= usize::from(old.is_some());
        if self.len == 0 {
            self.root = None;
        }
        old
    }

    /// Every value, in no particular order.
    pub(crate) fn for_each<'a>(&'a self, f: &mut impl FnMut(&'a Arc<T>)) {
        fn visit<'a, T>(node: &'a Node<T>, f: &mut impl FnMut(&'a Arc<T>)) {
            match node {
                Node::Branch(children) => {
                    children.iter().flatten().for_each(|child| visit(child, f));
                }
                Node::Leaf(values) => values.iter().for_each(|(_, value)| f(value)),
            }
        }
        if let Some(root) = &self.root {
            visit(root, f);
        }
    }
}

fn insert<T: Keyed>(
    node: &mut Arc<Node<T>>,
    hash: u64,
    value: Arc<T>,
    shift: u32,
) -> Option<Arc<T>> {
    let node = Arc::make_mut(node);
    match node {
        Node::Branch(children) => match &mut children[branch(hash, shift)] {
            Some(child) => insert(child, hash, value, shift + BITS),
            empty => {
                *empty = Some(Arc::new(Node::Leaf(vec![(hash, value)])));
                None
            }
        },
        Node::Leaf(values) => {
            let same = |(h, old): &&mut (u64, Arc<T>)| *h == hash && old.key() == value.key();
            if let Some((_, old)) = values.iter_mut().find(same) {
                return Some(std::mem::replace(old, value));
            }
            values.push((hash, value));
            if values.len() > LEAF && shift < DEEPEST {
                let values = std::mem::take(values);
                let mut children: Box<[Option<Arc<Node<T>>>; 1 << BITS]> =
                    Box::new(std::array::from_fn(|_| None));
                let mut leaves: [Vec<(u64, Arc<T>)>; 1 << BITS] = std::array::from_fn(|_| vec![]);
                for (hash, value) in values {
                    leaves[branch(hash, shift)].push((hash, value));
                }
                for (child, leaf) in children.iter_mut().zip(leaves) {
                    if !leaf.is_empty() {
                        *child = Some(Arc::new(Node::Leaf(leaf)));
                    }
                }
                *node = Node::Branch(children);
            }
            None
        }
    }
}

fn remove<T: Keyed>(node: &mut Arc<Node<T>>, hash: u64, key: &[u64], shift: u32) -> Option<Arc<T>> {
    match Arc::make_mut(node) {
        Node::Branch(children) => {
            let slot = &mut children[branch(hash, shift)];
            let old = remove(slot.as_mut()?, hash, key, shift + BITS);
            if slot.as_deref().is_some_and(Node::is_empty) {
                *slot = None;
            }
            old
        }
        Node::Leaf(values) => {
            let at = values
                .iter()
                .position(|(h, v)| *h == hash && v.key() == key)?;
            Some(values.swap_remove(at).1)
        }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        match self {
            Node::Branch(children) => children.iter().all(Option::is_none),
            Node::Leaf(values) => values.is_empty(),
        }
    }
}

/// Hashes the words of a key.
#[inline]
pub(crate) fn hash_words(words: &[u64]) -> u64 {
    let mut state = 0x243F_6A88_85A3_08D3u64;
    for &word in words {
        state = fold(state ^ word, 0x9E37_79B9_7F4A_7C15);
    }
    // The low bits choose the first branches: mix the high ones in.
    fold(state, 0xD6E8_FEB8_6659_FD93)
}

/// Both halves of the product.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Value(u64, [u64; 1], u32);

    impl Keyed for Value {
        fn hash(&self) -> u64 {
            self.0
        }
        fn key(&self) -> &[u64] {
            &self.1
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_old_clones_do_not_change(
            ops in prop::collection::vec((0u64..300, any::<bool>(), any::<u32>()), 0..600),
            // A bad hash makes deep tries and long leaves.
            mask in prop::sample::select(vec![0u64, 3, u64::MAX]),
        ) {
            let hash = |key: u64| hash_words(&[key]) & mask;
            let mut trie = Trie::default();
            let mut map = HashMap::new();
            let mut clones = Vec::new();
            for (i, (key, add, value)) in ops.into_iter().enumerate() {
                if add {
                    let old = trie.insert(Arc::new(Value(hash(key), [key], value)));
                    prop_assert_eq!(old.map(|v| v.2), map.insert(key, value));
                } else {
                    let old = trie.remove(hash(key), &[key]);
                    prop_assert_eq!(old.map(|v| v.2), map.remove(&key));
                }
                if i % 50 == 0 {
                    clones.push((trie.clone(), map.clone()));
                }
            }
            clones.push((trie, map));
            for (trie, map) in clones {
                prop_assert_eq!(trie.len(), map.len());
                for key in 0..300 {
                    let found = trie.get(hash(key), &[key]).map(|v| v.2);
                    prop_assert_eq!(found, map.get(&key).copied());
                }
                let mut n = 0;
                trie.for_each(&mut |_| n += 1);
                prop_assert_eq!(n, map.len());
            }
        }
    }
}
