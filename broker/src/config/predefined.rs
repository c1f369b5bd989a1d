//! Topic ids that clients know without REGISTER (MQTT-SN 1.2 §3, §6.7).

use std::collections::BTreeMap;

use super::ConfigError;

/// Predefined topic ids and their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predefined {
    /// For every client, and the only ones for PUBLISH of QoS −1, which comes from nobody.
    pub all: BTreeMap<u16, String>,
    /// For the client of this ClientId, where they come before those for all.
    pub of: BTreeMap<String, BTreeMap<u16, String>>,
}

impl Predefined {
    /// Checks ids and names.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        check(&self.all)?;
        self.of.values().try_for_each(check)
    }

    /// All entries: whose, id and name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<&str>, u16, &str)> {
        let all = self.all.iter().map(|(&id, name)| (None, id, name.as_str()));
        let of = self.of.iter().flat_map(|(client, topics)| {
            let client = Some(client.as_str());
            topics
                .iter()
                .map(move |(&id, name)| (client, id, name.as_str()))
        });
        all.chain(of)
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.all.len() + self.of.values().map(BTreeMap::len).sum::<usize>()
    }
}

fn check(topics: &BTreeMap<u16, String>) -> Result<(), ConfigError> {
    let mut ids = BTreeMap::new();
    for (&id, name) in topics {
        if id == 0 || id == u16::MAX {
            return Err(ConfigError::PredefinedId(id));
        }
        if let Err(why) = mqttsn::topic::validate_name(name) {
            return Err(ConfigError::PredefinedName {
                id,
                name: name.clone(),
                why,
            });
        }
        if let Some(other) = ids.insert(name.as_str(), id) {
            return Err(ConfigError::PredefinedTwice(other, id));
        }
    }
    Ok(())
}
