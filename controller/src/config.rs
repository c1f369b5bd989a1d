//! What an operator can set.

use std::path::PathBuf;
use std::time::Duration;

use mqttsn::topic::TopicError;
use serde::{Deserialize, Serialize};

use crate::constants::VLANS;
use crate::hot::HotConfig;
use crate::policy::Policy;
use crate::tables::Rate;

/// The controller of one switch. Durations are in the unit that their key names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The switch's P4Runtime server, `host:port`.
    pub switch: String,
    /// TLS to the switch.
    pub tls: TlsConfig,
    /// P4Runtime's `device_id`.
    pub device_id: u64,
    /// P4Runtime's election id: of several controllers the one with the highest is primary.
    pub election_id: u64,
    /// What to do while it is not primary.
    pub takeover: Takeover,
    /// How long there must be nobody who leads, before a standby takes over.
    pub takeover_ms: u64,
    /// The switch's ports, each from 0 to 509.
    pub ports: Vec<u16>,
    /// The port behind which the broker lives. Unset: it is learned.
    pub broker_port: Option<u16>,
    /// The longest IP packet, in octets, that the switch's ports carry.
    pub mtu: u16,
    /// VLANs whose ports are known: their frames are taken from these and flooded to these only.
    /// Others are flooded to all ports, with their tags.
    pub vlans: Vec<Vlan>,
    /// What one client may publish under one alias; the switch drops what is above. Unset: anything.
    pub publication_rate: Option<Rate>,
    /// What may be published at QoS −1 through one port, by whomever. Unset: anything.
    pub open_rate: Option<Rate>,
    /// What may be sent to the broker through one port without being offloaded. Unset: anything.
    pub software_rate: Option<Rate>,
    /// P4Info of the program (`.txtpb`, `.json` or `.bin`). Unset: the one that is built in.
    pub p4info: Option<PathBuf>,
    /// The program as the target loads it (p4c's BMv2 JSON). Unset: the one that is built in.
    pub device_config: Option<PathBuf>,
    /// Who this is, for the broker's logs and status.
    pub name: String,
    /// Which topics deserve room.
    pub policy: Policy,
    /// How policy `hot` weighs.
    pub hot: HotConfig,
    /// When publications give their rows up.
    pub publications: CacheConfig,
    /// How long a group or row that no topic uses any more is kept for packets under way.
    pub drain_ms: u64,
    /// A station that is silent for so long is forgotten, and frames to it are flooded.
    pub station_timeout_s: u64,
    /// How far back the switch can tell when a publication was last used.
    pub activity_window_s: u64,
    /// A change that is not on the switch after so long keeps the lease from being renewed.
    pub overdue_ms: u64,
    /// An answer of the switch or the broker in the lease protocol that takes longer is not
    /// waited for.
    pub lease_patience_ms: u64,
    /// The longest time that a write may take before the switch counts as lost.
    pub write_timeout_ms: u64,
    /// Most updates in one write.
    pub batch: usize,
    /// What to do with the topics on the switch when the broker is lost. They offload nothing
    /// in any case when the lease has run out.
    pub on_broker_loss: OnBrokerLoss,
    /// The highest multicast group and replication id that may be used; 0: what the program allows.
    pub max_group: u16,
    /// See `max_group`.
    pub max_rid: u16,
    /// How many copies of one packet the switch can queue for one port; 0: any number. A topic with
    /// more subscribers behind a port stays in software.
    pub max_copies_per_port: u16,
}

/// A VLAN of the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// Its number, from 1 to 4094 (IEEE 802.1Q).
    pub vid: u16,
    /// The ports that carry its tag.
    pub ports: Vec<u16>,
}

/// Whom the controller trusts to be the switch, and who it is. Files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates of the authorities that may have signed the switch's. Unset: no TLS.
    pub ca: Option<PathBuf>,
    /// The controller's certificate chain, for a switch that wants one.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

/// What a controller does while another is primary, or nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takeover {
    /// It waits until its own election id is the highest.
    Never,
    /// It bids with a higher election id when nobody is primary, or nobody is linked to the broker.
    #[default]
    WhenVacant,
    /// It bids with a higher election id than whoever is primary. For one controller at most.
    Always,
}

impl std::str::FromStr for Takeover {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Takeover::Never),
            "when_vacant" => Ok(Takeover::WhenVacant),
            "always" => Ok(Takeover::Always),
            other => Err(format!(
                "`{other}` is not when to take over; known are: never, when_vacant, always"
            )),
        }
    }
}

/// What to do when the broker is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBrokerLoss {
    /// Leave the entries: nothing uses them, and little is to be written when it comes back.
    #[default]
    Keep,
    /// Delete them.
    Release,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            switch: "127.0.0.1:9559".into(),
            tls: TlsConfig::default(),
            device_id: 1,
            election_id: 1,
            takeover: Takeover::WhenVacant,
            takeover_ms: 3000,
            ports: Vec::new(),
            broker_port: None,
            mtu: 1500,
            vlans: Vec::new(),
            publication_rate: None,
            open_rate: None,
            software_rate: None,
            p4info: None,
            device_config: None,
            name: "topicswitch controller".into(),
            policy: Policy::All,
            hot: HotConfig::default(),
            publications: CacheConfig::default(),
            drain_ms: 50,
            station_timeout_s: 300,
            activity_window_s: 24 * 3600,
            overdue_ms: 100,
            lease_patience_ms: 100,
            write_timeout_ms: 10_000,
            batch: 512,
            on_broker_loss: OnBrokerLoss::Keep,
            max_group: 0,
            max_rid: 0,
            max_copies_per_port: 0,
        }
    }
}

/// How publications give their rows up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// A publisher that is silent for so long gives its row up, s; 0: only when others want it.
    pub idle_s: u64,
    /// Time between two looks while somebody is without a row, ms.
    pub interval_ms: u64,
    /// For so long is a row safe that is new, and by so much must whoever takes another's place have
    /// been heard later, ms.
    pub hold_ms: u64,
    /// Most rows that give way in a second, on average.
    pub swaps_per_s: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            idle_s: 3600,
            interval_ms: 1000,
            hold_ms: 3000,
            swaps_per_s: 100,
        }
    }
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A port that the program cannot have.
    #[error(
        "ports: {0} is not a port of the switch; ports go from 0 to 509 (510 is the controller's)"
    )]
    Port(u16),
    /// The broker's port is not one of the ports.
    #[error("broker_port: {0} is not among ports")]
    BrokerPort(u16),
    /// Not a VLAN.
    #[error("vlans: {0} is not the number of a VLAN; they go from 1 to 4094, each once")]
    Vlan(u16),
    /// A VLAN with a port that is not the switch's.
    #[error("vlans: VLAN {0} has port {1}, which is not among ports")]
    VlanPort(u16, u16),
    /// Too many VLANs.
    #[error("vlans: {0} are too many; {VLANS} can be named")]
    Vlans(usize),
    /// A rate that lets nothing through.
    #[error(
        "{0}: a rate of 0, or a burst of 0, lets nothing through; leave the key out for no limit"
    )]
    Rate(&'static str),
    /// P4Runtime calls an election id of zero invalid.
    #[error("election_id: 0 is never primary; choose 1 or more")]
    ElectionId,
    /// With less two topics would take turns.
    #[error(
        "hot.margin_percent: {0}; a topic that takes another's place has 100 % of its score or more"
    )]
    Margin(u32),
    /// No topic filter.
    #[error("policy: pinned: `{0}` is no topic filter: {1}")]
    Pinned(String, TopicError),
    /// A batch of nothing.
    #[error("batch: at least one update goes into a write")]
    Batch,
    /// A certificate without its key, the other way round, or either without TLS.
    #[error("tls: cert and key go together, and need ca")]
    Tls,
    /// A time that must be some time, and no more than a day.
    #[error("{0}: {1} ms; give it 1 to 86400000")]
    Duration(&'static str, u64),
    /// Too small for an IPv4 packet with a PUBLISH.
    #[error("mtu: {0} octets are too few; IPv4 needs 68 or more")]
    Mtu(u16),
}

impl Config {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(port) = self
            .ports
            .iter()
            .find(|port| **port >= crate::constants::CPU_PORT)
        {
            return Err(ConfigError::Port(*port));
        }
        // Without ports they are still to come, from a flag.
        if let Some(port) = self.broker_port
            && !self.ports.is_empty()
            && !self.ports.contains(&port)
        {
            return Err(ConfigError::BrokerPort(port));
        }
        if self.vlans.len() > VLANS {
            return Err(ConfigError::Vlans(self.vlans.len()));
        }
        for (n, vlan) in self.vlans.iter().enumerate() {
            let twice = self.vlans[..n].iter().any(|other| other.vid == vlan.vid);
            if !(1..=4094).contains(&vlan.vid) || twice {
                return Err(ConfigError::Vlan(vlan.vid));
            }
            let strange = vlan.ports.iter().find(|port| !self.ports.contains(port));
            if let Some(port) = strange
                && !self.ports.is_empty()
            {
                return Err(ConfigError::VlanPort(vlan.vid, *port));
            }
        }
        for (key, rate) in [
            ("publication_rate", self.publication_rate),
            ("open_rate", self.open_rate),
            ("software_rate", self.software_rate),
        ] {
            if rate.is_some_and(|rate| rate.packets_per_s == 0 || rate.burst == 0) {
                return Err(ConfigError::Rate(key));
            }
        }
        for (key, ms) in [
            ("hot.interval_ms", self.hot.interval_ms),
            ("hot.hold_ms", self.hot.hold_ms),
            ("publications.interval_ms", self.publications.interval_ms),
            ("publications.hold_ms", self.publications.hold_ms),
            ("drain_ms", self.drain_ms),
            ("overdue_ms", self.overdue_ms),
            ("takeover_ms", self.takeover_ms),
            ("lease_patience_ms", self.lease_patience_ms),
            ("write_timeout_ms", self.write_timeout_ms),
        ] {
            if !(1..=86_400_000).contains(&ms) {
                return Err(ConfigError::Duration(key, ms));
            }
        }
        if let Some((filter, why)) = self.policy.misspelt() {
            return Err(ConfigError::Pinned(filter.to_owned(), why));
        }
        let TlsConfig { ca, cert, key } = &self.tls;
        if cert.is_some() != key.is_some() || (cert.is_some() && ca.is_none()) {
            return Err(ConfigError::Tls);
        }
        if self.election_id == 0 {
            return Err(ConfigError::ElectionId);
        }
        if self.hot.margin_percent < 100 {
            return Err(ConfigError::Margin(self.hot.margin_percent));
        }
        if self.batch == 0 {
            return Err(ConfigError::Batch);
        }
        if self.mtu < 68 {
            return Err(ConfigError::Mtu(self.mtu));
        }
        Ok(())
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    pub(crate) fn overdue(&self) -> Duration {
        Duration::from_millis(self.overdue_ms)
    }
}
