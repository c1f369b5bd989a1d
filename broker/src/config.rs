//! What an operator may set.

mod access;
mod advertise;
mod limits;
mod predefined;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

pub use access::{AclAction, AclConfig, AclRule, AuthConfig, ClientPattern, Permit, Takeover};
pub use advertise::AdvertiseConfig;
pub use limits::RateConfig;
pub use predefined::Predefined;

/// Configuration of one broker. Durations are in seconds or milliseconds as their names say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// GwId in GWINFO, 0 to 255. Default 1.
    pub gateway_id: u8,
    /// A session is lost after this multiple of its keep-alive (MQTT-SN 1.2 §7.2: 1.1 for long
    /// durations to 1.5 for short ones). At least 1. Default 1.5.
    pub keep_alive_tolerance: f64,
    /// T_retry: time to the next transmission of an unanswered message, in milliseconds
    /// (MQTT-SN 1.2 §7.2: 10 to 15 s). Default 10000.
    pub t_retry_ms: u64,
    /// N_retry: retransmissions before the client counts as lost (MQTT-SN 1.2 §7.2: 3 to 5).
    /// Default 5.
    pub n_retry: u32,
    /// Sessions kept, connected or not. A CONNECT beyond them is answered with congestion.
    /// Default 100000.
    pub max_sessions: usize,
    /// Those of them that are connected or asleep at one IP address, 0 for no limit. Default 0.
    pub max_sessions_per_address: usize,
    /// Sessions of which only a CONNECT over plain UDP was heard, and will dialogues under way: for
    /// their address may be forged. The oldest makes room for the newest. Default 10000.
    pub max_unconfirmed_sessions: usize,
    /// Topic names kept. Default 1000000.
    pub max_topics: usize,
    /// Levels of one topic name or filter. Default 64.
    pub max_topic_levels: usize,
    /// Subscriptions per session. Default 1000.
    pub max_subscriptions: usize,
    /// Subscriptions of all sessions. Default 4000000.
    pub max_total_subscriptions: usize,
    /// Octets of all topic names and of all subscriptions' filters. Default 268435456.
    pub max_name_octets: usize,
    /// Topic ids per session. Default 10000.
    pub max_topic_ids: usize,
    /// Messages that wait for one client. Newer ones are dropped and counted. Default 1000.
    pub max_queued_messages: usize,
    /// Payload octets that wait for one client. Default 1048576.
    pub max_queued_octets: usize,
    /// Octets that wait for all clients together, an overhead for each message included. Default
    /// 268435456.
    pub max_total_queued_octets: usize,
    /// Octets of a will's message. Default 4096.
    pub max_will_octets: usize,
    /// Retained messages kept. Default 100000.
    pub max_retained: usize,
    /// Payload octets of all retained messages. Default 268435456.
    pub max_retained_octets: usize,
    /// Messages taken in a second. Default no limit.
    pub rates: RateConfig,
    /// Predefined topic ids and their names, the same for every client. Default none.
    pub predefined_topics: BTreeMap<u16, String>,
    /// Predefined topic ids of single clients, by ClientId; they come before those of all. Default
    /// none.
    pub predefined_topics_of: BTreeMap<String, BTreeMap<u16, String>>,
    /// How clients prove who they are. Default: they need not.
    pub auth: AuthConfig,
    /// Who may publish and subscribe to what. Default: everybody to everything.
    pub acl: AclConfig,
    /// How clients find this gateway. Default: they know, or ask by unicast.
    pub advertise: AdvertiseConfig,
    /// Work given to the network. Default: disabled.
    pub offload: OffloadConfig,
}

/// How much the broker trusts and waits for a data plane.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffloadConfig {
    /// Whether tagged copies are trusted and answers wait for the data plane. Default false.
    pub enabled: bool,
    /// How long the data plane may offload after a grant, in milliseconds, at most a minute
    /// ([`offload::MAX_LEASE`]). Default 300.
    pub lease_ms: u64,
    /// An answer that waited so long for the data plane stops further grants, in milliseconds.
    /// Default: the lease.
    pub overdue_ms: Option<u64>,
    /// How long a superseded generation is remembered, in milliseconds: longer than lease and overdue
    /// time together. Default 5000.
    pub generation_memory_ms: u64,
    /// How long an activity question may stay unanswered, in milliseconds. Default 1000.
    pub activity_answer_ms: u64,
    /// The broker's addresses as clients write them, where the socket's own address does not say
    /// (it listens on all addresses). Default none.
    pub services: Vec<SocketAddr>,
    /// The generation before the first. A restarted broker should take another start, so that
    /// copies tagged before the restart are not misread. Default 0.
    pub first_generation: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            gateway_id: 1,
            keep_alive_tolerance: 1.5,
            t_retry_ms: 10_000,
            n_retry: 5,
            max_sessions: 100_000,
            max_sessions_per_address: 0,
            max_unconfirmed_sessions: 10_000,
            max_topics: 1_000_000,
            max_topic_levels: 64,
            max_subscriptions: 1_000,
            max_total_subscriptions: 4_000_000,
            max_name_octets: 1 << 28,
            max_topic_ids: 10_000,
            max_queued_messages: 1_000,
            max_queued_octets: 1 << 20,
            max_total_queued_octets: 1 << 28,
            max_will_octets: 4096,
            max_retained: 100_000,
            max_retained_octets: 1 << 28,
            rates: RateConfig::default(),
            predefined_topics: BTreeMap::new(),
            predefined_topics_of: BTreeMap::new(),
            auth: AuthConfig::default(),
            acl: AclConfig::default(),
            advertise: AdvertiseConfig::default(),
            offload: OffloadConfig::default(),
        }
    }
}

impl Default for OffloadConfig {
    fn default() -> Self {
        OffloadConfig {
            enabled: false,
            lease_ms: 300,
            overdue_ms: None,
            generation_memory_ms: 5_000,
            activity_answer_ms: 1_000,
            services: Vec::new(),
            first_generation: 0,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The tolerance would end sessions before their keep-alive.
    #[error("keep_alive_tolerance is {0}; it must be a number from 1 to 100")]
    KeepAliveTolerance(f64),
    /// A timer of zero would never rest.
    #[error("{0} is 0; give it at least one millisecond")]
    ZeroDuration(&'static str),
    /// A duration that no protocol needs and that arithmetic on clocks may not survive.
    #[error("{0} is longer than a day")]
    LongDuration(&'static str),
    /// A lease so long that a dead controller would cost minutes.
    #[error(
        "offload.lease_ms is {0}; at most a minute is allowed, as for so long a dead controller costs messages"
    )]
    LongLease(u64),
    /// Copies that may still come would be taken for unknown.
    #[error(
        "offload.generation_memory_ms is {memory_ms}; it must exceed lease_ms and overdue_ms together, \
         {other_ms}, for so long copies of a superseded generation may come"
    )]
    ShortGenerationMemory {
        /// The memory.
        memory_ms: u64,
        /// Lease and overdue time.
        other_ms: u64,
    },
    /// What would turn something off that has to be on.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// ADVERTISE to an address that is no group.
    #[error(
        "advertise.group is {0}; it must be a multicast address with a port, such as 225.1.1.1:1883"
    )]
    AdvertiseGroup(SocketAddr),
    /// ADVERTISE without rest.
    #[error("advertise.interval_s is 0; MQTT-SN 1.2 §7.2 advises more than 900")]
    AdvertiseInterval,
    /// A pattern that means no ClientId.
    #[error("{at}: `{pattern}` is no ClientId and no beginning of one followed by `*`")]
    ClientPattern {
        /// Where it stands.
        at: String,
        /// The pattern.
        pattern: String,
    },
    /// A rule's topic is no filter.
    #[error("acl.rules, rule {number}: topic {topic:?}: {why}")]
    AclTopic {
        /// Which rule, from 1.
        number: usize,
        /// Its topic as configured.
        topic: String,
        /// What is wrong with it.
        why: mqttsn::topic::TopicError,
    },
    /// Secrets, and nothing to compare them with.
    #[error("auth.secret_in_client_id needs a key file: set auth.keys")]
    SecretsWithoutKeys,
    /// The key file is the caller's to read.
    #[error(
        "auth.keys is set: read it with Keys::load and give Broker::with_access a Policy with it"
    )]
    KeysNotRead,
    /// A predefined topic has no valid name.
    #[error("predefined topic {id} is named {name:?}: {why}")]
    PredefinedName {
        /// The topic id.
        id: u16,
        /// Its name as configured.
        name: String,
        /// What is wrong with it.
        why: mqttsn::topic::TopicError,
    },
    /// Topic ids 0x0000 and 0xFFFF are reserved (MQTT-SN 1.2 §5.3.11).
    #[error("predefined topic id {0:#06x} is reserved; use 0x0001 to 0xFFFE")]
    PredefinedId(u16),
    /// Two ids for one topic leave open which one subscribers shall see.
    #[error("predefined topics {0} and {1} have the same name; give each topic one id")]
    PredefinedTwice(u16, u16),
    /// A limit below what the configuration itself uses.
    #[error("max_topics is {0}, less than the number of predefined topics")]
    MaxTopics(usize),
}

impl Config {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1.0..=100.0).contains(&self.keep_alive_tolerance) {
            return Err(ConfigError::KeepAliveTolerance(self.keep_alive_tolerance));
        }
        let offload = &self.offload;
        for (name, ms) in [
            ("t_retry_ms", self.t_retry_ms),
            ("offload.lease_ms", offload.lease_ms),
            (
                "offload.overdue_ms",
                offload.overdue_ms.unwrap_or(offload.lease_ms),
            ),
            ("offload.generation_memory_ms", offload.generation_memory_ms),
            ("offload.activity_answer_ms", offload.activity_answer_ms),
        ] {
            if ms == 0 {
                return Err(ConfigError::ZeroDuration(name));
            }
            if ms > 86_400_000 {
                return Err(ConfigError::LongDuration(name));
            }
        }
        if offload.lease() > offload::MAX_LEASE {
            return Err(ConfigError::LongLease(offload.lease_ms));
        }
        // Each is a day at most by now.
        let other_ms = offload.lease_ms + offload.overdue_ms.unwrap_or(offload.lease_ms);
        if offload.generation_memory_ms <= other_ms {
            return Err(ConfigError::ShortGenerationMemory {
                memory_ms: offload.generation_memory_ms,
                other_ms,
            });
        }
        if self.max_unconfirmed_sessions == 0 {
            return Err(ConfigError::Zero("max_unconfirmed_sessions"));
        }
        self.auth.check()?;
        self.acl.check()?;
        self.advertise.check()?;
        if self.max_topics < self.predefined().len() {
            return Err(ConfigError::MaxTopics(self.max_topics));
        }
        self.predefined().check()?;
        Ok(())
    }

    /// The predefined topic ids.
    pub fn predefined(&self) -> Predefined {
        Predefined {
            all: self.predefined_topics.clone(),
            of: self.predefined_topics_of.clone(),
        }
    }

    /// T_retry.
    pub(crate) fn t_retry(&self) -> Duration {
        Duration::from_millis(self.t_retry_ms)
    }
}

impl OffloadConfig {
    /// The lease that a grant gives.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long an answer may wait before grants stop.
    pub fn overdue(&self) -> Duration {
        Duration::from_millis(self.overdue_ms.unwrap_or(self.lease_ms))
    }

    pub(crate) fn generation_memory(&self) -> Duration {
        Duration::from_millis(self.generation_memory_ms)
    }

    pub(crate) fn activity_answer(&self) -> Duration {
        Duration::from_millis(self.activity_answer_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default_and_valid() {
        let config: Config = serde_yaml::from_str("{}").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_yaml::from_str::<Config>("offload: { leese_ms: 3 }").unwrap_err();
        assert!(error.to_string().contains("leese_ms"), "{error}");
    }

    #[test]
    fn a_predefined_topic_needs_a_usable_id_and_name() {
        let with = |id, name: &str| Config {
            predefined_topics: [(id, name.to_owned())].into(),
            ..Config::default()
        };
        assert_eq!(with(0, "a").check(), Err(ConfigError::PredefinedId(0)));
        assert!(matches!(
            with(1, "a/#").check(),
            Err(ConfigError::PredefinedName { id: 1, .. })
        ));
        assert_eq!(with(1, "a").check(), Ok(()));
    }

    #[test]
    fn a_lease_is_bounded_and_generations_are_remembered_for_longer() {
        let offload = |lease_ms, overdue_ms, generation_memory_ms| {
            let offload = OffloadConfig {
                lease_ms,
                overdue_ms,
                generation_memory_ms,
                ..OffloadConfig::default()
            };
            Config {
                offload,
                ..Config::default()
            }
            .check()
        };
        assert_eq!(offload(60_000, Some(1), 60_002), Ok(()));
        assert_eq!(
            offload(60_001, None, 86_400_000),
            Err(ConfigError::LongLease(60_001))
        );
        let short = |memory_ms, other_ms| ConfigError::ShortGenerationMemory {
            memory_ms,
            other_ms,
        };
        assert_eq!(offload(300, None, 600), Err(short(600, 600)));
        assert_eq!(offload(300, Some(700), 1000), Err(short(1000, 1000)));
    }

    #[test]
    fn a_tolerance_below_one_is_refused() {
        for bad in [0.5, f64::NAN, f64::INFINITY] {
            let config = Config {
                keep_alive_tolerance: bad,
                ..Config::default()
            };
            assert!(matches!(
                config.check(),
                Err(ConfigError::KeepAliveTolerance(_))
            ));
        }
    }
}
