//! How much one client, and all of them, may ask of the broker.

use serde::Deserialize;

use crate::rate::Rate;

/// How many messages a second are taken. Beyond that a PUBLISH of QoS 0 or −1 is dropped, and other
/// PUBLISH, REGISTER and SUBSCRIBE are answered with congestion. 0 is no limit. What the data plane
/// serves is not counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateConfig {
    /// Of one client. Default no limit.
    pub per_client: u32,
    /// How many of them may come at once. Default, and at least, one.
    pub per_client_burst: u32,
    /// Of all clients together. Default no limit.
    pub total: u32,
    /// How many of them may come at once. Default, and at least, one.
    pub total_burst: u32,
    /// PUBLISH of QoS −1, which anybody may send. Default no limit.
    pub anybody: u32,
    /// How many of them may come at once. Default, and at least, one.
    pub anybody_burst: u32,
}

impl RateConfig {
    pub(crate) fn of_client(&self) -> Option<Rate> {
        Rate::new(self.per_client, self.per_client_burst)
    }

    pub(crate) fn of_all(&self) -> Option<Rate> {
        Rate::new(self.total, self.total_burst)
    }

    pub(crate) fn of_anybody(&self) -> Option<Rate> {
        Rate::new(self.anybody, self.anybody_burst)
    }
}
