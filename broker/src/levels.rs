//! A trie over the levels of topic names and topic filters.
//!
//! One type serves both directions: filters stored, and a name looked up; or names stored, and a
//! filter looked up. The cost of a look-up grows with what it can match, not with what is stored.

use std::collections::HashMap;

/// Index of the root in `nodes`.
const ROOT: usize = 0;

#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, usize>,
    /// Parent and own level, to prune on removal. The root's parent is itself.
    parent: usize,
    level: Box<str>,
    value: Option<T>,
}

impl<T> Node<T> {
    fn new(parent: usize, level: &str) -> Self {
        Node {
            children: HashMap::new(),
            parent,
            level: level.into(),
            value: None,
        }
    }
}

/// Values of type `T` under strings whose levels are separated by `/`.
#[derive(Debug)]
pub(crate) struct Levels<T> {
    nodes: Vec<Node<T>>,
    free: Vec<usize>,
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Levels {
            nodes: vec![Node::new(ROOT, "")],
            free: Vec::new(),
        }
    }
}

impl<T> Levels<T> {
    /// The value under exactly this string.
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        let at = self.find(key)?;
        self.nodes[at].value.as_ref()
    }

    /// The value under exactly this string.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        let at = self.find(key)?;
        self.nodes[at].value.as_mut()
    }

    /// The value under this string, put there by `new` if there was none.
    pub(crate) fn get_or_insert_with(&mut self, key: &str, new: impl FnOnce() -> T) -> &mut T {
        let mut at = ROOT;
        for level in key.split('/') {
            at = match self.nodes[at].children.get(level) {
                Some(&child) => child,
                None => self.add_child(at, level),
            };
        }
        self.nodes[at].value.get_or_insert_with(new)
    }

    /// Takes the value out and prunes the branch that held nothing else.
    pub(crate) fn remove(&mut self, key: &str) -> Option<T> {
        let mut at = self.find(key)?;
        let value = self.nodes[at].value.take();
        while at != ROOT && self.nodes[at].value.is_none() && self.nodes[at].children.is_empty() {
            let parent = self.nodes[at].parent;
            let level = std::mem::take(&mut self.nodes[at].level);
            self.nodes[parent].children.remove(&level);
            self.free.push(at);
            at = parent;
        }
        value
    }

    /// Calls `visit` with the value of each stored filter that matches the topic name.
    pub(crate) fn matching(&self, name: &str, mut visit: impl FnMut(&T)) {
        let levels: Vec<&str> = name.split('/').collect();
        // A stack of its own: the number of levels is a client's choice.
        let mut open = vec![(ROOT, 0)];
        while let Some((at, depth)) = open.pop() {
            let node = &self.nodes[at];
            // MQTT 3.1.1 §4.7.2: a leading wildcard does not match a name that starts with `$`.
            let wildcards = depth > 0 || !name.starts_with('$');
            if wildcards && let Some(&hash) = node.children.get("#") {
                // Also with no level left: `a/#` matches `a` (MQTT 3.1.1 §4.7.1.2).
                self.nodes[hash].value.iter().for_each(&mut visit);
            }
            let Some(&level) = levels.get(depth) else {
                node.value.iter().for_each(&mut visit);
                continue;
            };
            if wildcards && let Some(&plus) = node.children.get("+") {
                open.push((plus, depth + 1));
            }
            if let Some(&child) = node.children.get(level) {
                open.push((child, depth + 1));
            }
        }
    }

    /// Calls `visit` with the value of each stored topic name that the filter matches.
    pub(crate) fn matched_by(&self, filter: &str, mut visit: impl FnMut(&T)) {
        let levels: Vec<&str> = filter.split('/').collect();
        let mut open = vec![(ROOT, 0)];
        while let Some((at, depth)) = open.pop() {
            let node = &self.nodes[at];
            let Some(&level) = levels.get(depth) else {
                node.value.iter().for_each(&mut visit);
                continue;
            };
            match level {
                "#" => {
                    node.value.iter().for_each(&mut visit);
                    // Stays at `#`: everything below matches.
                    open.extend(self.wild_children(at).map(|child| (child, depth)));
                }
                "+" => open.extend(self.wild_children(at).map(|child| (child, depth + 1))),
                _ => open.extend(node.children.get(level).map(|&child| (child, depth + 1))),
            }
        }
    }

    /// The children that a wildcard matches.
    fn wild_children(&self, at: usize) -> impl Iterator<Item = usize> {
        self.nodes[at]
            .children
            .iter()
            .filter(move |(level, _)| at != ROOT || !level.starts_with('$'))
            .map(|(_, &child)| child)
    }

    fn find(&self, key: &str) -> Option<usize> {
        key.split('/').try_fold(ROOT, |at, level| {
            self.nodes[at].children.get(level).copied()
        })
    }

    fn add_child(&mut self, parent: usize, level: &str) -> usize {
        let node = Node::new(parent, level);
        let child = match self.free.pop() {
            Some(free) => {
                self.nodes[free] = node;
                free
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.nodes[parent].children.insert(level.into(), child);
        child
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just(""), Just("$s")]
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..4)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a name has a character", |name| !name.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop_oneof![2 => level(), 1 => Just("+")], 1..4);
        (levels, any::<bool>())
            .prop_map(|(mut levels, hash)| {
                if hash {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("a filter has a character", |filter| !filter.is_empty())
    }

    proptest! {
        #[test]
        fn both_directions_agree_with_the_rules_of_mqtt(
            names in prop::collection::btree_set(name(), 1..12),
            filters in prop::collection::btree_set(filter(), 1..12),
        ) {
            let mut stored_names = Levels::default();
            let mut stored_filters = Levels::default();
            for name in &names {
                stored_names.get_or_insert_with(name, || name.clone());
            }
            for filter in &filters {
                stored_filters.get_or_insert_with(filter, || filter.clone());
            }
            for filter in &filters {
                let mut found = Vec::new();
                stored_names.matched_by(filter, |name| found.push(name.clone()));
                found.sort();
                let expected: Vec<String> = names
                    .iter()
                    .filter(|name| mqttsn::topic::matches(filter, name))
                    .cloned()
                    .collect();
                prop_assert_eq!(found, expected);
            }
            for name in &names {
                let mut found = Vec::new();
                stored_filters.matching(name, |filter| found.push(filter.clone()));
                found.sort();
                let expected: Vec<String> = filters
                    .iter()
                    .filter(|filter| mqttsn::topic::matches(filter, name))
                    .cloned()
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn removal_leaves_nothing_behind(keys in prop::collection::vec(filter(), 1..20)) {
            let mut stored = Levels::default();
            for key in &keys {
                stored.get_or_insert_with(key, || key.clone());
            }
            for key in &keys {
                stored.remove(key);
            }
            prop_assert!(stored.nodes[ROOT].children.is_empty());
            prop_assert_eq!(stored.free.len() + 1, stored.nodes.len());
        }
    }
}
