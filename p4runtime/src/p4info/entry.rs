//! Building table entries and action calls from names and values.

use std::time::Duration;

use super::EntityError;
use super::rules::{
    check_idle_timeout, check_implementation, check_priority, check_scope, fit, is_all_ones,
    mask_holds, missing_match, prefix_holds,
};
use super::schema::{Action, ActionRef, MatchField, MatchKind, Table};
use crate::bytes::Bitstring;
use crate::v1;
use crate::v1::field_match::{Exact, FieldMatchType, Lpm, Optional, Range, Ternary};

/// An action whose parameters are being given.
#[derive(Debug, Clone)]
pub struct ActionCall<'p> {
    action: &'p Action,
    values: Vec<Option<Bitstring>>,
}

impl Action {
    /// Starts a call of this action.
    pub fn call(&self) -> ActionCall<'_> {
        ActionCall {
            action: self,
            values: vec![None; self.params.len()],
        }
    }
}

impl ActionCall<'_> {
    /// Gives a parameter.
    ///
    /// # Errors
    /// An unknown name, a value too large, a parameter given twice.
    pub fn param(mut self, name: &str, value: impl Into<Bitstring>) -> Result<Self, EntityError> {
        self.set(name, value.into())?;
        Ok(self)
    }

    fn set(&mut self, name: &str, value: Bitstring) -> Result<(), EntityError> {
        let position = self.action.params.position(name)?;
        let param = self.action.params.at(position);
        let value = fit(&param.name, value, param.bitwidth)?;
        if self.values[position].replace(value).is_some() {
            let (owner, field) = (format!("action {}", self.action.name), param.name.clone());
            return Err(EntityError::Twice { owner, field });
        }
        Ok(())
    }

    /// The action with its parameters.
    ///
    /// # Errors
    /// [`EntityError::Missing`] names a parameter that was not given.
    pub fn build(self) -> Result<v1::Action, EntityError> {
        let params = self
            .action
            .params
            .iter()
            .zip(self.values)
            .map(|(param, value)| match value {
                Some(value) => Ok(v1::action::Param {
                    param_id: param.id,
                    value: value.into_bytes(),
                }),
                None => Err(EntityError::Missing {
                    owner: format!("action {}", self.action.name),
                    field: param.name.clone(),
                }),
            })
            .collect::<Result<_, _>>()?;
        Ok(v1::Action {
            action_id: self.action.id,
            params,
        })
    }
}

/// What a table entry under construction does.
#[derive(Debug, Clone)]
enum Does<'p> {
    Nothing,
    Action(&'p ActionRef, ActionCall<'p>),
    Member(u32),
    Group(u32),
    Weighted(Vec<(ActionCall<'p>, i32)>),
}

impl Does<'_> {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Action(..) => "an action",
            Self::Member(_) => "a member",
            Self::Group(_) => "a group",
            Self::Weighted(_) => "weighted actions",
        }
    }
}

/// A table entry under construction. Made by [`Table::entry`] or [`Table::default_entry`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EntryBuilder<'p> {
    table: &'p Table,
    is_default: bool,
    /// One for each match field, in order; a don't-care match is `Some(None)`.
    matches: Vec<Option<Option<FieldMatchType>>>,
    does: Does<'p>,
    priority: i32,
    idle_timeout_ns: i64,
    metadata: Vec<u8>,
    meter_config: Option<v1::MeterConfig>,
    counter_data: Option<v1::CounterData>,
}

impl Table {
    /// Starts an entry.
    pub fn entry(&self) -> EntryBuilder<'_> {
        EntryBuilder {
            table: self,
            is_default: false,
            matches: vec![None; self.match_fields.len()],
            does: Does::Nothing,
            priority: 0,
            idle_timeout_ns: 0,
            metadata: Vec::new(),
            meter_config: None,
            counter_data: None,
        }
    }

    /// Starts the default entry; written with MODIFY. Without an action it resets the table to
    /// the program's default.
    pub fn default_entry(&self) -> EntryBuilder<'_> {
        EntryBuilder {
            is_default: true,
            ..self.entry()
        }
    }

    /// A read request for every entry but the default one.
    pub fn all_entries(&self) -> v1::TableEntry {
        v1::TableEntry {
            table_id: self.id,
            ..Default::default()
        }
    }
}

impl<'p> EntryBuilder<'p> {
    /// Matches an exact field.
    ///
    /// # Errors
    /// An unknown field or one of another kind, a value too large, a field given twice.
    pub fn exact(self, field: &str, value: impl Into<Bitstring>) -> Result<Self, EntityError> {
        let value = value.into();
        self.set(field, &MatchKind::Exact, |field, _| {
            let value = fit(&field.name, value, field.bitwidth)?.into_bytes();
            Ok(Some(FieldMatchType::Exact(Exact { value })))
        })
    }

    /// Matches the first `prefix_len` bits of an LPM field; length 0 matches anything.
    ///
    /// # Errors
    /// As [`EntryBuilder::exact`]; bits set behind the prefix; a prefix longer than the field.
    pub fn lpm(
        self,
        field: &str,
        value: impl Into<Bitstring>,
        prefix_len: u32,
    ) -> Result<Self, EntityError> {
        let value = value.into();
        self.set(field, &MatchKind::Lpm, |field, bad| {
            let value = fit(&field.name, value, field.bitwidth)?;
            if prefix_len > field.bitwidth {
                return Err(bad(format!(
                    "a prefix of {prefix_len} bits is longer than the field's {}",
                    field.bitwidth
                )));
            }
            if !prefix_holds(value.as_bytes(), field.bitwidth, prefix_len) {
                return Err(bad(format!(
                    "{value} has bits set behind its prefix /{prefix_len}"
                )));
            }
            Ok((prefix_len > 0).then(|| {
                // At most the bitwidth, which P4Info holds in an i32.
                let prefix_len = prefix_len as i32;
                FieldMatchType::Lpm(Lpm {
                    value: value.into_bytes(),
                    prefix_len,
                })
            }))
        })
    }

    /// Matches a ternary field where the mask has ones; a mask of zero matches anything.
    ///
    /// # Errors
    /// As [`EntryBuilder::exact`]; value bits set where the mask has zeros.
    pub fn ternary(
        self,
        field: &str,
        value: impl Into<Bitstring>,
        mask: impl Into<Bitstring>,
    ) -> Result<Self, EntityError> {
        let (value, mask) = (value.into(), mask.into());
        self.set(field, &MatchKind::Ternary, |field, bad| {
            let value = fit(&field.name, value, field.bitwidth)?;
            let mask = fit(&field.name, mask, field.bitwidth)?;
            if !mask_holds(value.as_bytes(), mask.as_bytes()) {
                return Err(bad(format!("{value} has bits set outside its mask {mask}")));
            }
            let (value, is_any) = (value.into_bytes(), mask.is_zero());
            let mask = mask.into_bytes();
            Ok((!is_any).then_some(FieldMatchType::Ternary(Ternary { value, mask })))
        })
    }

    /// Matches a range field between two bounds, both included; the full range matches anything.
    ///
    /// # Errors
    /// As [`EntryBuilder::exact`]; bounds the wrong way round.
    pub fn range(
        self,
        field: &str,
        low: impl Into<Bitstring>,
        high: impl Into<Bitstring>,
    ) -> Result<Self, EntityError> {
        let (low, high) = (low.into(), high.into());
        self.set(field, &MatchKind::Range, |field, bad| {
            let low = fit(&field.name, low, field.bitwidth)?;
            let high = fit(&field.name, high, field.bitwidth)?;
            if low > high {
                return Err(bad(format!(
                    "the range's low bound {low} is above its high {high}"
                )));
            }
            let is_any = low.is_zero() && is_all_ones(high.as_bytes(), field.bitwidth);
            let (low, high) = (low.into_bytes(), high.into_bytes());
            Ok((!is_any).then_some(FieldMatchType::Range(Range { low, high })))
        })
    }

    /// Matches an optional field; leave it out to match anything.
    ///
    /// # Errors
    /// As [`EntryBuilder::exact`].
    pub fn optional(self, field: &str, value: impl Into<Bitstring>) -> Result<Self, EntityError> {
        let value = value.into();
        self.set(field, &MatchKind::Optional, |field, _| {
            let value = fit(&field.name, value, field.bitwidth)?.into_bytes();
            Ok(Some(FieldMatchType::Optional(Optional { value })))
        })
    }

    fn set(
        mut self,
        field: &str,
        kind: &MatchKind,
        make: impl FnOnce(
            &MatchField,
            &dyn Fn(String) -> EntityError,
        ) -> Result<Option<FieldMatchType>, EntityError>,
    ) -> Result<Self, EntityError> {
        let position = self.table.match_fields.position(field)?;
        let field = self.table.match_fields.at(position);
        if field.kind != *kind {
            return Err(EntityError::MatchKind {
                table: self.table.name.clone(),
                field: field.name.clone(),
                expected: field.kind.as_str().to_owned(),
                used: kind.as_str().to_owned(),
            });
        }
        let made = make(field, &|what| EntityError::BadMatch {
            table: self.table.name.clone(),
            field: field.name.clone(),
            what,
        })?;
        if self.matches[position].replace(made).is_some() {
            let (owner, field) = (format!("table {}", self.table.name), field.name.clone());
            return Err(EntityError::Twice { owner, field });
        }
        Ok(self)
    }

    /// Names the action; its parameters follow with [`EntryBuilder::param`].
    ///
    /// # Errors
    /// The table has no such action.
    pub fn action(mut self, name: &str) -> Result<Self, EntityError> {
        let reference = self.table.actions.get(name)?;
        self.does = Does::Action(reference, reference.action.call());
        Ok(self)
    }

    /// Adds an action to a one-shot set, for a table with an action selector; its parameters
    /// follow with [`EntryBuilder::param`].
    ///
    /// # Errors
    /// The table has no such action.
    pub fn weighted_action(mut self, name: &str, weight: i32) -> Result<Self, EntityError> {
        let call = self.table.actions.get(name)?.action.call();
        match &mut self.does {
            Does::Weighted(calls) => calls.push((call, weight)),
            _ => self.does = Does::Weighted(vec![(call, weight)]),
        }
        Ok(self)
    }

    /// Gives a parameter of the action named last.
    ///
    /// # Errors
    /// No action yet, an unknown parameter, a value too large, a parameter given twice.
    pub fn param(mut self, name: &str, value: impl Into<Bitstring>) -> Result<Self, EntityError> {
        let call = match &mut self.does {
            Does::Action(_, call) => Some(call),
            Does::Weighted(calls) => calls.last_mut().map(|(call, _)| call),
            Does::Nothing | Does::Member(_) | Does::Group(_) => None,
        };
        let call = call.ok_or_else(|| EntityError::ParamBeforeAction {
            param: name.to_owned(),
        })?;
        call.set(name, value.into())?;
        Ok(self)
    }

    /// Uses a member of the table's action profile.
    pub fn member(mut self, member_id: u32) -> Self {
        self.does = Does::Member(member_id);
        self
    }

    /// Uses a group of the table's action selector.
    pub fn group(mut self, group_id: u32) -> Self {
        self.does = Does::Group(group_id);
        self
    }

    /// The larger wins. Needed, from 1, where [`Table::needs_priority`], and only there.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Asks for a notification when nothing hits the entry for so long; zero is never.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout_ns = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        self
    }

    /// Octets that the switch keeps with the entry for the controller.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Sets the entry's direct meter.
    pub fn meter_config(mut self, config: v1::MeterConfig) -> Self {
        self.meter_config = Some(config);
        self
    }

    /// Sets the entry's direct counter; in a read request, an empty value asks for it.
    pub fn counter_data(mut self, data: v1::CounterData) -> Self {
        self.counter_data = Some(data);
        self
    }

    /// The entry, complete with its action, for INSERT and MODIFY.
    ///
    /// # Errors
    /// As [`EntryBuilder::build_key`]; no action, an action out of scope, a missing parameter;
    /// a const table or const default action.
    pub fn build(mut self) -> Result<v1::TableEntry, EntityError> {
        let table = self.table;
        let is_const = |what| EntityError::Const {
            table: table.name.clone(),
            what,
        };
        if table.is_const && !self.is_default {
            return Err(is_const("every entry"));
        }
        if self.is_default && table.const_default_action.is_some() {
            return Err(is_const("the default action"));
        }
        let does = std::mem::replace(&mut self.does, Does::Nothing);
        let is_default = self.is_default;
        let action = match does {
            // Resets the default entry.
            Does::Nothing if is_default => None,
            Does::Nothing => {
                return Err(EntityError::NoAction {
                    table: table.name.clone(),
                });
            }
            does => Some(table_action(table, is_default, does)?),
        };
        Ok(v1::TableEntry {
            action,
            ..self.build_key()?
        })
    }

    /// The entry without its action: what DELETE, and a read of one entry, need.
    ///
    /// # Errors
    /// An exact field left out; a priority or idle timeout that the table does not take.
    pub fn build_key(self) -> Result<v1::TableEntry, EntityError> {
        let table = self.table;
        let mut r#match = Vec::new();
        for (field, given) in table.match_fields.iter().zip(self.matches) {
            if self.is_default && given.is_some() {
                return Err(EntityError::DefaultEntry {
                    table: table.name.clone(),
                    what: "key",
                });
            }
            match given {
                Some(Some(field_match_type)) => r#match.push(v1::FieldMatch {
                    field_id: field.id,
                    field_match_type: Some(field_match_type),
                }),
                None if field.kind == MatchKind::Exact && !self.is_default => {
                    return Err(missing_match(table, field));
                }
                None | Some(None) => {}
            }
        }
        check_priority(table, self.is_default, self.priority)?;
        check_idle_timeout(table, self.is_default, self.idle_timeout_ns)?;
        Ok(v1::TableEntry {
            table_id: table.id,
            r#match,
            priority: self.priority,
            idle_timeout_ns: self.idle_timeout_ns,
            metadata: self.metadata,
            meter_config: self.meter_config,
            counter_data: self.counter_data,
            is_default_action: self.is_default,
            ..Default::default()
        })
    }
}

fn table_action(
    table: &Table,
    is_default: bool,
    does: Does<'_>,
) -> Result<v1::TableAction, EntityError> {
    use v1::table_action::Type;
    check_implementation(table, is_default, does.as_str())?;
    let r#type = match does {
        Does::Action(reference, call) => {
            check_scope(table, reference, is_default)?;
            Type::Action(call.build()?)
        }
        Does::Member(id) => Type::ActionProfileMemberId(id),
        Does::Group(id) => Type::ActionProfileGroupId(id),
        Does::Weighted(calls) => {
            let action_profile_actions = calls
                .into_iter()
                .map(|(call, weight)| {
                    Ok(v1::ActionProfileAction {
                        action: Some(call.build()?),
                        weight,
                        ..Default::default()
                    })
                })
                .collect::<Result<_, EntityError>>()?;
            Type::ActionProfileActionSet(v1::ActionProfileActionSet {
                action_profile_actions,
                ..Default::default()
            })
        }
        // Its caller has taken care of it.
        Does::Nothing => {
            return Err(EntityError::NoAction {
                table: table.name.clone(),
            });
        }
    };
    Ok(v1::TableAction {
        r#type: Some(r#type),
    })
}
