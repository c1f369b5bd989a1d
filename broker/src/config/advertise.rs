//! How clients find this gateway.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::rate::Rate;

/// Gateway advertisement and discovery (MQTT-SN 1.2 §6.1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdvertiseConfig {
    /// The multicast group and port that stand for the broadcast of the underlying network:
    /// ADVERTISE and GWINFO go there, SEARCHGW is heard there. Default none: no ADVERTISE, and
    /// SEARCHGW is heard and answered by unicast only.
    pub group: Option<SocketAddr>,
    /// T_ADV: time between two ADVERTISE, and what its Duration says, in seconds (MQTT-SN 1.2 §7.2:
    /// more than 15 minutes). Default 960.
    pub interval_s: u16,
    /// How many routers a message to the group may cross, 1 for none (IP TTL or hop limit). Default 1.
    pub hops: u8,
    /// SEARCHGW answered in a second, as a burst too; the others are dropped, since their address may
    /// be forged and the group hears each answer. Default 10.
    pub answers_per_s: u32,
}

impl Default for AdvertiseConfig {
    fn default() -> Self {
        AdvertiseConfig {
            group: None,
            interval_s: 960,
            hops: 1,
            answers_per_s: 10,
        }
    }
}

impl AdvertiseConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(group) = self.group
            && (!group.ip().is_multicast() || group.port() == 0)
        {
            return Err(ConfigError::AdvertiseGroup(group));
        }
        if self.interval_s == 0 {
            return Err(ConfigError::AdvertiseInterval);
        }
        for (name, zero) in [
            ("advertise.hops", self.hops == 0),
            ("advertise.answers_per_s", self.answers_per_s == 0),
        ] {
            if zero {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }

    /// T_ADV.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.into())
    }

    pub(crate) fn answer_rate(&self) -> Option<Rate> {
        Rate::new(self.answers_per_s, self.answers_per_s)
    }
}
