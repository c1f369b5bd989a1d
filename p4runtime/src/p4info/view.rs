//! Reading table entries and action calls as names and values.
//!
//! The checks are those that a server owes its clients (P4Runtime specification, "TableEntry"), so
//! that a switch and a controller use the same code; [`EntityError::code`] is the answer.

use std::time::Duration;

use super::rules::{
    check_idle_timeout, check_implementation, check_priority, check_scope, is_all_ones, mask_holds,
    missing_match, prefix_holds,
};
use super::schema::{Action, MatchField, MatchKind, Table};
use super::{EntityError, LookupError};
use crate::bytes::Bitstring;
use crate::v1;
use crate::v1::field_match::FieldMatchType;
use crate::v1::table_action::Type;

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MatchValue {
    /// Equal to it.
    Exact(Bitstring),
    /// Its first bits.
    Lpm {
        /// The prefix, zero behind it.
        value: Bitstring,
        /// In bits, from 1.
        prefix_len: u32,
    },
    /// Under a mask.
    Ternary {
        /// Zero where the mask is.
        value: Bitstring,
        /// Not all zero.
        mask: Bitstring,
    },
    /// Between bounds, both included.
    Range {
        /// The lower bound.
        low: Bitstring,
        /// The upper bound.
        high: Bitstring,
    },
    /// Equal to it, where not left out.
    Optional(Bitstring),
}

/// An action call with its parameters by name.
#[derive(Debug, Clone)]
pub struct ActionView<'p> {
    /// The action.
    pub action: &'p Action,
    /// One value for each of the action's parameters, in their order.
    pub values: Vec<Bitstring>,
}

impl<'p> ActionView<'p> {
    /// The parameter of this name.
    ///
    /// # Errors
    /// The action has no such parameter.
    pub fn param(&self, name: &str) -> Result<&Bitstring, LookupError> {
        self.action
            .params
            .position(name)
            .map(|position| &self.values[position])
    }

    /// Names and values in order.
    pub fn params(&self) -> impl Iterator<Item = (&'p str, &Bitstring)> {
        let action = self.action;
        action
            .params
            .iter()
            .map(|param| param.name.as_str())
            .zip(&self.values)
    }
}

/// What an entry does.
#[derive(Debug, Clone)]
pub enum TableActionView<'p> {
    /// An action.
    Action(ActionView<'p>),
    /// A member of the table's action profile.
    Member(u32),
    /// A group of the table's action selector.
    Group(u32),
    /// Actions with their weights, given in place of a group.
    Weighted(Vec<(ActionView<'p>, i32)>),
}

/// A table entry as names and values.
#[derive(Debug, Clone)]
pub struct EntryView<'p> {
    /// The table.
    pub table: &'p Table,
    /// One for each match field in the order of P4Info; `None` matches anything.
    pub matches: Vec<Option<MatchValue>>,
    /// What it does; `None` where the message does not say (DELETE, or a reset to the default).
    pub action: Option<TableActionView<'p>>,
    /// The larger wins; 0 where the table has no priorities.
    pub priority: i32,
    /// Zero is never.
    pub idle_timeout: Duration,
    /// Whether this is the default entry.
    pub is_default: bool,
    /// The controller's octets.
    pub metadata: Vec<u8>,
    /// Of the direct meter, where it was asked for and is not the default.
    pub meter_config: Option<v1::MeterConfig>,
}

impl<'p> EntryView<'p> {
    /// What the named field is compared with; `None` matches anything.
    ///
    /// # Errors
    /// The table has no such field.
    pub fn field(&self, name: &str) -> Result<Option<&MatchValue>, LookupError> {
        let position = self.table.match_fields.position(name)?;
        Ok(self.matches.get(position).and_then(Option::as_ref))
    }

    /// The value of an exact field.
    ///
    /// # Errors
    /// The table has no such field, or it is not exact.
    pub fn exact(&self, name: &str) -> Result<&Bitstring, EntityError> {
        match self.field(name)? {
            Some(MatchValue::Exact(value)) => Ok(value),
            _ => {
                let field = self.table.match_fields.get(name)?;
                Err(EntityError::MatchKind {
                    table: self.table.name.clone(),
                    field: field.name.clone(),
                    expected: field.kind.as_str().to_owned(),
                    used: MatchKind::Exact.as_str().to_owned(),
                })
            }
        }
    }

    /// The action call, for an entry that has one of its own.
    pub fn call(&self) -> Option<&ActionView<'p>> {
        match &self.action {
            Some(TableActionView::Action(call)) => Some(call),
            _ => None,
        }
    }

    /// The full name of the action, for an entry that has one of its own.
    pub fn action_name(&self) -> Option<&'p str> {
        self.call().map(|call| call.action.name.as_str())
    }

    /// The named parameter of the entry's action.
    ///
    /// # Errors
    /// The entry has no action, or the action no such parameter.
    pub fn param(&self, name: &str) -> Result<&Bitstring, EntityError> {
        let call = self.call().ok_or_else(|| EntityError::NoAction {
            table: self.table.name.clone(),
        })?;
        Ok(call.param(name)?)
    }

    /// Names of the fields that do not match anything, with what they are compared with.
    pub fn fields(&self) -> impl Iterator<Item = (&'p str, &MatchValue)> {
        let table = self.table;
        let named = table.match_fields.iter().zip(&self.matches);
        named.filter_map(|(field, value)| value.as_ref().map(|value| (field.name.as_str(), value)))
    }
}

impl Action {
    /// Reads a call of this action.
    ///
    /// # Errors
    /// The id of another action; a parameter unknown, missing, given twice or too large.
    pub fn decode(&self, call: &v1::Action) -> Result<ActionView<'_>, EntityError> {
        if call.action_id != self.id {
            let expected = format!("action {}", self.name);
            return Err(EntityError::OtherObject {
                expected,
                id: call.action_id,
            });
        }
        let owner = || format!("action {}", self.name);
        let mut values = vec![None; self.params.len()];
        for given in &call.params {
            let position = self.params.position_of_id(given.param_id)?;
            let param = self.params.by_id(given.param_id)?;
            let value = parse(&param.name, &given.value, param.bitwidth)?;
            if values[position].replace(value).is_some() {
                return Err(EntityError::Twice {
                    owner: owner(),
                    field: param.name.clone(),
                });
            }
        }
        let values = values
            .into_iter()
            .zip(&self.params)
            .map(|(value, param)| {
                value.ok_or_else(|| EntityError::Missing {
                    owner: owner(),
                    field: param.name.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(ActionView {
            action: self,
            values,
        })
    }
}

impl Table {
    /// Reads an entry of this table.
    ///
    /// Whether it needs an action, and whether a const table may be written, depends on what is
    /// done with the entry and is not checked here.
    ///
    /// # Errors
    /// [`EntityError`]: what in the entry the schema does not allow.
    pub fn decode(&self, entry: &v1::TableEntry) -> Result<EntryView<'_>, EntityError> {
        if entry.table_id != self.id {
            let expected = format!("table {}", self.name);
            return Err(EntityError::OtherObject {
                expected,
                id: entry.table_id,
            });
        }
        let is_default = entry.is_default_action;
        if is_default && !entry.r#match.is_empty() {
            return Err(EntityError::DefaultEntry {
                table: self.name.clone(),
                what: "key",
            });
        }
        let mut matches = vec![None; self.match_fields.len()];
        for given in &entry.r#match {
            let position = self.match_fields.position_of_id(given.field_id)?;
            let field = self.match_fields.by_id(given.field_id)?;
            let value = self.decode_match(field, given)?;
            if matches[position].replace(value).is_some() {
                let (owner, field) = (format!("table {}", self.name), field.name.clone());
                return Err(EntityError::Twice { owner, field });
            }
        }
        for (field, value) in self.match_fields.iter().zip(&matches) {
            if value.is_none() && field.kind == MatchKind::Exact && !is_default {
                return Err(missing_match(self, field));
            }
        }
        check_priority(self, is_default, entry.priority)?;
        check_idle_timeout(self, is_default, entry.idle_timeout_ns)?;
        let action = entry
            .action
            .as_ref()
            .map(|action| self.decode_action(action, is_default));
        Ok(EntryView {
            table: self,
            matches,
            action: action.transpose()?,
            priority: entry.priority,
            // Not negative: checked above.
            idle_timeout: Duration::from_nanos(entry.idle_timeout_ns.unsigned_abs()),
            is_default,
            metadata: entry.metadata.clone(),
            meter_config: entry.meter_config,
        })
    }

    fn decode_match(
        &self,
        field: &MatchField,
        given: &v1::FieldMatch,
    ) -> Result<MatchValue, EntityError> {
        let bad = |what: String| EntityError::BadMatch {
            table: self.name.clone(),
            field: field.name.clone(),
            what,
        };
        let parse = |bytes: &[u8]| parse(&field.name, bytes, field.bitwidth);
        let any = "it matches anything and must be left out";
        match (&field.kind, &given.field_match_type) {
            (MatchKind::Exact, Some(FieldMatchType::Exact(exact))) => {
                Ok(MatchValue::Exact(parse(&exact.value)?))
            }
            (MatchKind::Optional, Some(FieldMatchType::Optional(optional))) => {
                Ok(MatchValue::Optional(parse(&optional.value)?))
            }
            (MatchKind::Lpm, Some(FieldMatchType::Lpm(lpm))) => {
                let value = parse(&lpm.value)?;
                let prefix_len = u32::try_from(lpm.prefix_len)
                    .ok()
                    .filter(|&prefix_len| prefix_len <= field.bitwidth)
                    .ok_or_else(|| {
                        let (len, bits) = (lpm.prefix_len, field.bitwidth);
                        bad(format!("a prefix of {len} bits in a field of {bits} bits"))
                    })?;
                if prefix_len == 0 {
                    return Err(bad(any.into()));
                }
                if !prefix_holds(value.as_bytes(), field.bitwidth, prefix_len) {
                    return Err(bad(format!(
                        "{value} has bits behind its prefix /{prefix_len}"
                    )));
                }
                Ok(MatchValue::Lpm { value, prefix_len })
            }
            (MatchKind::Ternary, Some(FieldMatchType::Ternary(ternary))) => {
                let (value, mask) = (parse(&ternary.value)?, parse(&ternary.mask)?);
                if mask.is_zero() {
                    return Err(bad(any.into()));
                }
                if !mask_holds(value.as_bytes(), mask.as_bytes()) {
                    return Err(bad(format!("{value} has bits set outside its mask {mask}")));
                }
                Ok(MatchValue::Ternary { value, mask })
            }
            (MatchKind::Range, Some(FieldMatchType::Range(range))) => {
                let (low, high) = (parse(&range.low)?, parse(&range.high)?);
                if low > high {
                    return Err(bad(format!("its low bound {low} is above its high {high}")));
                }
                if low.is_zero() && is_all_ones(high.as_bytes(), field.bitwidth) {
                    return Err(bad(any.into()));
                }
                Ok(MatchValue::Range { low, high })
            }
            (_, None) => Err(EntityError::Unset {
                owner: field.name.clone(),
                what: "field_match_type",
            }),
            (kind, Some(used)) => Err(EntityError::MatchKind {
                table: self.name.clone(),
                field: field.name.clone(),
                expected: kind.as_str().to_owned(),
                used: kind_of(used).to_owned(),
            }),
        }
    }

    fn decode_action(
        &self,
        action: &v1::TableAction,
        is_default: bool,
    ) -> Result<TableActionView<'_>, EntityError> {
        let call = |action: &v1::Action| -> Result<ActionView<'_>, EntityError> {
            let reference = self.actions.by_id(action.action_id)?;
            check_scope(self, reference, is_default)?;
            reference.action.decode(action)
        };
        let unset = || EntityError::Unset {
            owner: format!("table {}", self.name),
            what: "action",
        };
        let implements = |used| check_implementation(self, is_default, used);
        match action.r#type.as_ref().ok_or_else(unset)? {
            Type::Action(action) => {
                implements("an action")?;
                call(action).map(TableActionView::Action)
            }
            Type::ActionProfileMemberId(id) => {
                implements("a member")?;
                Ok(TableActionView::Member(*id))
            }
            Type::ActionProfileGroupId(id) => {
                implements("a group")?;
                Ok(TableActionView::Group(*id))
            }
            Type::ActionProfileActionSet(set) => {
                implements("weighted actions")?;
                set.action_profile_actions
                    .iter()
                    .map(|weighted| {
                        let action = weighted.action.as_ref().ok_or_else(unset)?;
                        Ok((call(action)?, weighted.weight))
                    })
                    .collect::<Result<_, _>>()
                    .map(TableActionView::Weighted)
            }
        }
    }
}

fn parse(field: &str, bytes: &[u8], bitwidth: u32) -> Result<Bitstring, EntityError> {
    Bitstring::parse(bytes, bitwidth).map_err(|source| EntityError::Value {
        field: field.to_owned(),
        source,
    })
}

fn kind_of(used: &FieldMatchType) -> &'static str {
    match used {
        FieldMatchType::Exact(_) => "exact",
        FieldMatchType::Ternary(_) => "ternary",
        FieldMatchType::Lpm(_) => "lpm",
        FieldMatchType::Range(_) => "range",
        FieldMatchType::Optional(_) => "optional",
        FieldMatchType::Other(_) => "other",
    }
}
