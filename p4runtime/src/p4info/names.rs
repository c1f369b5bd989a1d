//! Finding objects by id, full name, alias or unique suffix.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::SchemaError;

/// A name or id that P4Info does not know, or a name that means more than one object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No object has this name.
    #[error("{owner} has no {kind} named \"{name}\"{}", suggestion(.nearest))]
    UnknownName {
        /// What was looked for, e.g. `table`.
        kind: &'static str,
        /// Where, e.g. `P4Info` or `table "MyIngress.dmac"`.
        owner: String,
        /// The name that was asked for.
        name: String,
        /// The known names most like it, best first.
        nearest: Vec<String>,
    },
    /// The name is a suffix of several full names.
    #[error("\"{name}\" means more than one {kind} of {owner}: {}; use a full name", .candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        kind: &'static str,
        /// Where.
        owner: String,
        /// The name that was asked for.
        name: String,
        /// The full names it may mean.
        candidates: Vec<String>,
    },
    /// No object has this id.
    #[error("{owner} has no {kind} with the id {id:#x}")]
    UnknownId {
        /// What was looked for.
        kind: &'static str,
        /// Where.
        owner: String,
        /// The id that was asked for.
        id: u32,
    },
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; nearest: {}", nearest.join(", "))
    }
}

/// An object of P4Info, or a part of one, that has an id and a name.
pub trait Named {
    /// The id, unique among its siblings.
    fn id(&self) -> u32;
    /// The full name.
    fn name(&self) -> &str;
    /// The alias: by default the name.
    fn alias(&self) -> &str {
        self.name()
    }
}

/// Named objects of one kind, in the order of P4Info.
#[derive(Debug, Clone)]
pub struct Objects<T> {
    kind: &'static str,
    owner: String,
    items: Vec<Arc<T>>,
    // Several of these are asked for each row that is written; who wrote the program is trusted.
    by_id: FxHashMap<u32, usize>,
    by_name: FxHashMap<String, usize>,
    /// Dotted suffixes of full names and the objects that have them.
    by_suffix: FxHashMap<String, Vec<usize>>,
}

impl<T: Named> Objects<T> {
    pub(super) fn new(
        kind: &'static str,
        owner: impl Into<String>,
        items: Vec<Arc<T>>,
    ) -> Result<Self, SchemaError> {
        let mut objects = Self {
            kind,
            owner: owner.into(),
            items,
            by_id: FxHashMap::default(),
            by_name: FxHashMap::default(),
            by_suffix: FxHashMap::default(),
        };
        for (position, item) in objects.items.iter().enumerate() {
            let duplicate = |what: String| SchemaError::Duplicate {
                kind,
                owner: objects.owner.clone(),
                what,
            };
            if objects.by_id.insert(item.id(), position).is_some() {
                return Err(duplicate(format!("id {:#x}", item.id())));
            }
            if objects
                .by_name
                .insert(item.name().to_owned(), position)
                .is_some()
            {
                return Err(duplicate(format!("name \"{}\"", item.name())));
            }
            for (dot, _) in item.name().match_indices('.') {
                let suffix = item.name()[dot + 1..].to_owned();
                objects.by_suffix.entry(suffix).or_default().push(position);
            }
        }
        // An alias wins over the suffixes of other objects, never over a full name.
        for (position, item) in objects.items.iter().enumerate() {
            if !item.alias().is_empty() {
                objects
                    .by_name
                    .entry(item.alias().to_owned())
                    .or_insert(position);
            }
        }
        Ok(objects)
    }

    /// The object with this full name, alias or unique dotted suffix of a full name.
    ///
    /// # Errors
    /// [`LookupError::UnknownName`] with the nearest known names, [`LookupError::Ambiguous`].
    pub fn get(&self, name: &str) -> Result<&Arc<T>, LookupError> {
        self.position(name).map(|position| &self.items[position])
    }

    /// The object with this id.
    ///
    /// # Errors
    /// [`LookupError::UnknownId`].
    pub fn by_id(&self, id: u32) -> Result<&Arc<T>, LookupError> {
        self.position_of_id(id)
            .map(|position| &self.items[position])
    }

    /// The objects in the order of P4Info.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.items.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The object at a position that `position` or `position_of_id` gave.
    pub(super) fn at(&self, position: usize) -> &Arc<T> {
        &self.items[position]
    }

    pub(super) fn position(&self, name: &str) -> Result<usize, LookupError> {
        if let Some(&position) = self.by_name.get(name) {
            return Ok(position);
        }
        match self.by_suffix.get(name).map(Vec::as_slice) {
            Some(&[position]) => Ok(position),
            Some(several) => Err(LookupError::Ambiguous {
                kind: self.kind,
                owner: self.owner.clone(),
                name: name.to_owned(),
                candidates: several
                    .iter()
                    .map(|&i| self.items[i].name().to_owned())
                    .collect(),
            }),
            None => Err(LookupError::UnknownName {
                kind: self.kind,
                owner: self.owner.clone(),
                name: name.to_owned(),
                nearest: self.nearest(name),
            }),
        }
    }

    pub(super) fn position_of_id(&self, id: u32) -> Result<usize, LookupError> {
        self.by_id
            .get(&id)
            .copied()
            .ok_or_else(|| LookupError::UnknownId {
                kind: self.kind,
                owner: self.owner.clone(),
                id,
            })
    }

    /// Up to three known names like `name`, best first.
    fn nearest(&self, name: &str) -> Vec<String> {
        // Whoever mistypes a suffix means the suffix.
        let likeness = |item: &T| {
            let full = item.name();
            full.match_indices('.')
                .map(|(dot, _)| &full[dot + 1..])
                .chain([full, item.alias()])
                .map(|known| strsim::jaro_winkler(name, known))
                .fold(0.0, f64::max)
        };
        let mut scored: Vec<(f64, &str)> = self
            .items
            .iter()
            .map(|item| (likeness(item), item.name()))
            .collect();
        scored.retain(|(score, _)| *score > 0.6);
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored
            .into_iter()
            .take(3)
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

impl<'a, T> IntoIterator for &'a Objects<T> {
    type Item = &'a Arc<T>;
    type IntoIter = std::slice::Iter<'a, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}
