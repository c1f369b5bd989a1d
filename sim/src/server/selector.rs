//! How an action selector counts the members of a group (P4Info's `selector_size_semantics` and
//! `weights_disallowed`).

use p4runtime::config::ActionProfile;
use p4runtime::config::action_profile::SelectorSizeSemantics;

use super::errors::{Outcome, Refusal};

/// The rules of one selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SelectorRules {
    /// The size of a group is the number of its members, not the sum of their weights.
    pub(super) counts_members: bool,
    /// With that, the greatest weight of one; 0 is unbounded.
    max_member_weight: u32,
    /// Members have no weight, and all the same share.
    weights_disallowed: bool,
}

impl SelectorRules {
    pub(super) fn of(profile: &ActionProfile) -> Self {
        let members = match &profile.selector_size_semantics {
            Some(SelectorSizeSemantics::SumOfMembers(members)) => Some(members),
            Some(SelectorSizeSemantics::SumOfWeights(_)) | None => None,
        };
        let most = members.map_or(0, |members| members.max_member_weight);
        SelectorRules {
            counts_members: members.is_some(),
            max_member_weight: u32::try_from(most).unwrap_or(0),
            weights_disallowed: profile.weights_disallowed,
        }
    }

    /// The share of a member of this weight.
    pub(super) fn weight(&self, weight: i32) -> Outcome<u32> {
        if self.weights_disallowed {
            return match weight {
                0 => Ok(1),
                _ => Err(Refusal::invalid(
                    "the selector has no weights: leave the weight unset",
                )),
            };
        }
        let refuse = || Refusal::invalid(format!("the weight {weight} is not greater than 0"));
        let weight = u32::try_from(weight).ok().filter(|&weight| weight > 0);
        let weight = weight.ok_or_else(refuse)?;
        if self.max_member_weight > 0 && weight > self.max_member_weight {
            return Err(Refusal::invalid(format!(
                "the weight {weight} is beyond max_member_weight {}",
                self.max_member_weight
            )));
        }
        Ok(weight)
    }

    /// A share as it was written.
    pub(super) fn weight_to_wire(&self, weight: u32) -> i32 {
        match self.weights_disallowed {
            true => 0,
            false => i32::try_from(weight).unwrap_or(i32::MAX),
        }
    }

    /// The size of a group of members of these weights.
    pub(super) fn size(&self, weights: impl Iterator<Item = u32>) -> u64 {
        weights
            .map(|weight| match self.counts_members {
                true => 1,
                false => u64::from(weight),
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use p4runtime::config::action_profile::SumOfMembers;

    use super::*;

    #[test]
    fn the_size_of_a_group_is_the_sum_of_its_weights_or_its_members() {
        let weights = SelectorRules::of(&ActionProfile::default());
        assert_eq!(weights.size([3, 4].into_iter()), 7);
        let semantics = SelectorSizeSemantics::SumOfMembers(SumOfMembers {
            max_member_weight: 4,
        });
        let members = SelectorRules::of(&ActionProfile {
            selector_size_semantics: Some(semantics),
            ..Default::default()
        });
        assert_eq!(members.size([3, 4].into_iter()), 2);
        assert_eq!(members.weight(4), Ok(4));
        assert!(members.weight(5).is_err());
    }

    #[test]
    fn where_weights_are_disallowed_0_is_the_only_one() {
        let rules = SelectorRules::of(&ActionProfile {
            weights_disallowed: true,
            ..Default::default()
        });
        assert_eq!(rules.weight(0), Ok(1));
        assert!(rules.weight(1).is_err());
        assert_eq!(rules.weight_to_wire(1), 0);
        assert!(SelectorRules::default().weight(0).is_err());
    }
}
