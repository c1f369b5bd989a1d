//! What is derived from a lowered program, once it is complete.

use super::encode::encode;
use super::inst::{Inst, PHV_WORDS, Switch};
use super::layout::Layout;
use super::sum::Sum;
use super::{Loc, Op, Pc, Program, Table};

/// One word of a table's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyWord {
    pub(crate) s: u16,
    /// 0 while this word is 0.
    pub(crate) valid: u16,
    pub(crate) mask: u64,
}

/// What the workers run, derived from the rest of the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Derived {
    /// As long as the code.
    pub(crate) insts: Vec<Inst>,
    pub(crate) switches: Vec<Switch>,
    /// Of each header.
    pub(crate) layouts: Vec<Layout>,
    /// The key of each table.
    pub(crate) keys: Vec<Box<[KeyWord]>>,
    /// Where control goes on after each table, if neither hit nor action matter.
    pub(crate) after: Vec<Option<Pc>>,
    /// Whether each action does anything.
    pub(crate) empty: Vec<bool>,
    /// Of each calculation, if it is one.
    pub(crate) sums: Vec<Option<Sum>>,
}

impl Program {
    /// Derives what the workers run. `false` if the PHV is too large.
    pub(crate) fn finish(&mut self, temporaries: &std::ops::Range<Loc>) -> bool {
        if self.phv_words as usize > PHV_WORDS {
            return false;
        }
        let (insts, switches) = encode(self, temporaries);
        self.derived = Derived {
            insts,
            switches,
            layouts: self.headers.iter().map(Layout::new).collect(),
            keys: self.tables.iter().map(key_words).collect(),
            after: self.tables.iter().map(after).collect(),
            empty: self
                .actions
                .iter()
                .map(|action| self.code.get(action.start as usize) == Some(&Op::Return))
                .collect(),
            sums: self.calculations.iter().map(Sum::new).collect(),
        };
        true
    }
}

fn key_words(table: &Table) -> Box<[KeyWord]> {
    let mut words = Vec::new();
    for key in &table.keys {
        for i in 0..key.span.words {
            words.push(KeyWord {
                s: (key.span.loc + i) as u16,
                valid: key.valid as u16,
                mask: match &key.mask {
                    Some(mask) => mask.get(i as usize).copied().unwrap_or(0),
                    None => u64::MAX,
                },
            });
        }
    }
    words.into()
}

fn after(table: &Table) -> Option<Pc> {
    let next = &table.next;
    let same = |pc: &Option<Pc>| pc.is_none_or(|pc| pc == next.default);
    (same(&next.hit) && same(&next.miss) && next.by_action.iter().all(|a| a.1 == next.default))
        .then_some(next.default)
}
