//! One YAML file for every command. Unknown keys are refused with their place and the nearest known
//! key; command-line flags override what the file says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod contract;
mod dtls;
mod sim;

pub use self::contract::{ContractTlsConfig, ContractTlsError, ContractTlsFiles};
pub use self::dtls::{DtlsConfig, DtlsConfigError};
pub use self::sim::{SimConfig, SimTlsConfig};

/// Where `up` answers `topicswitch status`, and where `status` looks.
pub const DEFAULT_STATUS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9561);

/// Everything that can be configured. Every part has defaults, so an empty file is a valid one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file that this was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where MQTT-SN clients reach the broker (`up`, `broker`): an address, or for `broker` a list of
    /// one IPv4 and one IPv6 address. Default 127.0.0.1:1884.
    #[serde(deserialize_with = "one_or_several")]
    pub listen: Vec<SocketAddr>,
    /// Where broker and controller meet: the broker serves gRPC there, the controller connects.
    /// Default 127.0.0.1:9560.
    pub contract: SocketAddr,
    /// How broker and controller prove who they are where they meet. Default: not at all, which is
    /// for one host.
    pub contract_tls: ContractTlsConfig,
    /// Where the process answers `topicswitch status`. Default: `up` at 127.0.0.1:9561, the others
    /// nowhere.
    pub status: Option<SocketAddr>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How `broker` uses the machine's network and cores.
    pub io: broker::driver::IoConfig,
    /// Where the broker keeps what must survive its process.
    pub store: StoreConfig,
    /// DTLS in front of the broker, on a port of its own.
    pub dtls: DtlsConfig,
    /// The broker.
    pub broker: broker::Config,
    /// The controller.
    pub controller: controller::Config,
    /// The software switch.
    pub sim: SimConfig,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Config {
            file: None,
            listen: vec![local(1884)],
            contract: local(9560),
            contract_tls: ContractTlsConfig::default(),
            status: None,
            log: LogConfig::default(),
            io: broker::driver::IoConfig::default(),
            store: StoreConfig::default(),
            dtls: DtlsConfig::default(),
            broker: broker::Config::default(),
            controller: controller::Config::default(),
            sim: SimConfig::default(),
        }
    }
}

/// Where the broker keeps what must survive its process (`up`, `broker`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The directory. Default: nowhere, and nothing survives.
    pub directory: Option<PathBuf>,
    /// What an acknowledged message survives: `process`, the end of the process in any way, or
    /// `disk`, a power failure too, at the price of waiting for the disk. Default `process`.
    pub sync: broker::store::Sync,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or a filter such as
    /// `info,controller=debug`. Default `info`.
    pub filter: String,
    /// `text` for people, `json` for machines. Default `text`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            filter: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is no YAML, a key is unknown, or a value has the wrong form.
    #[error("{place}: {message}")]
    Parse {
        /// File, line and column.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A value that the broker's sockets cannot have.
    #[error("{}: io: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: broker::driver::IoConfigError,
    },
    /// A value that TLS between broker and controller cannot have.
    #[error("{}: {source}", path.display())]
    ContractTls {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: ContractTlsError,
    },
    /// A value that DTLS refuses.
    #[error("{}: {source}", path.display())]
    Dtls {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: DtlsConfigError,
    },
    /// A value that the broker refuses.
    #[error("{}: broker: {source}", path.display())]
    Broker {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: broker::ConfigError,
    },
    /// A value that the controller refuses.
    #[error("{}: controller: {source}", path.display())]
    Controller {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: controller::ConfigError,
    },
    /// A port of the software switch that cannot be read.
    #[error("{}: sim.ports: `{port}`: {source}", path.display())]
    Port {
        /// The file.
        path: PathBuf,
        /// The port as written.
        port: String,
        /// The reason.
        source: ::sim::ports::PortSpecError,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// What is wrong, where, and the nearest known key.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Config::parse(&text, path)?;
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// Reads and checks the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        // An empty document is null to YAML; here it means: all defaults.
        let empty = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
        let config: Config = if empty {
            Config::default()
        } else {
            serde_yaml::from_str(text).map_err(|error| parse_error(&error, path))?
        };
        config.io.check().map_err(|source| ConfigError::Io {
            path: path.to_owned(),
            source,
        })?;
        config
            .contract_tls
            .check()
            .map_err(|source| ConfigError::ContractTls {
                path: path.to_owned(),
                source,
            })?;
        config.dtls.check().map_err(|source| ConfigError::Dtls {
            path: path.to_owned(),
            source,
        })?;
        config
            .broker
            .check()
            .map_err(|source| ConfigError::Broker {
                path: path.to_owned(),
                source,
            })?;
        config
            .controller
            .check()
            .map_err(|source| ConfigError::Controller {
                path: path.to_owned(),
                source,
            })?;
        for port in &config.sim.ports {
            port.parse::<::sim::ports::PortConfig>()
                .map_err(|source| ConfigError::Port {
                    path: path.to_owned(),
                    port: port.clone(),
                    source,
                })?;
        }
        Ok(config)
    }
}

/// An address, or a list of them.
fn one_or_several<'de, D>(from: D) -> Result<Vec<SocketAddr>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    struct OneOrSeveral;
    impl<'de> serde::de::Visitor<'de> for OneOrSeveral {
        type Value = Vec<SocketAddr>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("ADDRESS:PORT or a list of them")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let one = text
                .parse()
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
            Ok(vec![one])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> Result<Self::Value, A::Error> {
            let mut several = Vec::new();
            while let Some(one) = list.next_element()? {
                several.push(one);
            }
            Ok(several)
        }
    }
    from.deserialize_any(OneOrSeveral)
}

fn parse_error(error: &serde_yaml::Error, path: &Path) -> ConfigError {
    let place = match error.location() {
        Some(at) => format!("{}:{}:{}", path.display(), at.line(), at.column()),
        None => path.display().to_string(),
    };
    let text = error.to_string();
    // The place stands in front already.
    let text = text
        .rfind(" at line ")
        .map_or(text.as_str(), |at| &text[..at]);
    ConfigError::Parse {
        place,
        message: explain_unknown_key(text).unwrap_or_else(|| text.into()),
    }
}

/// From serde's "unknown field `x`, expected one of `a`, `b`" to the nearest of them.
fn explain_unknown_key(message: &str) -> Option<String> {
    let at = message.find("unknown field `")?;
    let context = message[..at].trim_end_matches(": ");
    let mut quoted = message[at..].split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(unknown, known), *known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(unknown.len()) / 2)
        .map(|(_, known)| known);
    let under = if context.is_empty() {
        String::new()
    } else {
        format!(" under `{context}`")
    };
    Some(match nearest {
        Some(nearest) => format!("unknown key `{unknown}`{under}; did you mean `{nearest}`?"),
        None => format!(
            "unknown key `{unknown}`{under}; known are: {}",
            known.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        Config::parse(text, Path::new("lab.yaml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config = Config::parse("# nothing\n\n", Path::new("x")).unwrap();
        assert_eq!(config.listen[0].port(), 1884);
    }

    #[test]
    fn the_documented_file_holds_every_key_with_its_default() {
        let text = include_str!("../../docs/topicswitch.yaml");
        assert_eq!(
            Config::parse(text, Path::new("x")).unwrap(),
            Config::default()
        );

        // Every key is there: the known keys that serde names for an unknown one, part by part.
        let file: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
        for path in [
            "",
            "contract_tls",
            "log",
            "io",
            "dtls",
            "broker",
            "broker/rates",
            "broker/auth",
            "broker/acl",
            "broker/advertise",
            "broker/offload",
            "controller",
            "controller/hot",
            "controller/publications",
            "controller/tls",
            "sim",
            "sim/tls",
        ] {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let part = parts.iter().fold(&file, |value, part| &value[*part]);
            let inner = "no_such_key_at_all: 1".to_owned();
            let wrong = parts
                .iter()
                .rev()
                .fold(inner, |inner, part| format!("{part}: {{{inner}}}"));
            let error = serde_yaml::from_str::<Config>(&wrong)
                .unwrap_err()
                .to_string();
            let known = error.split_once("expected").unwrap().1;
            for key in known.split('`').skip(1).step_by(2) {
                assert!(part.get(key).is_some(), "`{path}` lacks `{key}`");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
        let error = error_of("listen: 127.0.0.1:1884\nbroker:\n  t_rety_ms: 5\n");
        assert!(error.starts_with("lab.yaml:3:"), "{error}");
        assert!(error.contains("did you mean `t_retry_ms`?"), "{error}");
    }

    #[test]
    fn an_unknown_key_that_resembles_none_is_refused_with_those_that_are_known() {
        let error = error_of("zzzzzzzzzzzz: 1\n");
        assert!(error.contains("known are: listen, contract"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused_with_its_line() {
        let error = error_of("log:\n  filter: info\nlisten: nowhere\n");
        assert!(error.starts_with("lab.yaml:3:"), "{error}");
        assert!(error.contains("listen"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_what_is_allowed() {
        let error = error_of("broker:\n  keep_alive_tolerance: 0.5\n");
        assert!(error.contains("keep_alive_tolerance is 0.5"), "{error}");
    }

    #[test]
    fn the_policies_are_written_as_they_are_documented() {
        use controller::Policy;
        let pinned = Policy::Pinned(vec!["a/#".into(), "b".into()]);
        for (text, expected) in [
            ("all", Policy::All),
            ("hot", Policy::Hot),
            ("{pinned: [a/#, b]}", pinned.clone()),
            ("\n    pinned:\n      - a/#\n      - b", pinned.clone()),
            ("!pinned [a/#, b]", pinned),
        ] {
            let text = format!("controller:\n  policy: {text}\n");
            let config = Config::parse(&text, Path::new("x")).unwrap();
            assert_eq!(config.controller.policy, expected, "{text}");
        }
        for (text, wanted) in [
            ("some", "`all`"),
            ("pinned", "needs its filters"),
            ("{hot: {margin_percent: 200}}", "stands alone"),
            ("{pinned: a}", "sequence"),
            ("{pinned: [a], hot: 1}", "one policy"),
            ("{pined: [a]}", "`pinned`"),
        ] {
            let error = error_of(&format!("controller:\n  policy: {text}\n"));
            assert!(error.starts_with("lab.yaml:2:"), "{error}");
            assert!(error.contains(wanted), "{text}: {error}");
        }
        for filter in ["a/#/b", "#/", "a#", "a/b+", "+a/#", ""] {
            let error = error_of(&format!(
                "controller: {{policy: {{pinned: [b, '{filter}']}}}}\n"
            ));
            assert!(error.contains("is no topic filter"), "{filter}: {error}");
        }
        let text = "controller: {policy: {pinned: [+, \"#\", /, a/+/b/#, $SYS/a, +/+]}}\n";
        let config = Config::parse(text, Path::new("x")).unwrap();
        assert_eq!(
            config.controller.policy.to_string(),
            "pinned: [+, #, /, a/+/b/#, $SYS/a, +/+]"
        );
        let text = "controller: {policy: hot, hot: {interval_ms: 7, margin_percent: 120, hold_ms: 9, \
                    swaps_per_s: 3}}";
        let hot = Config::parse(text, Path::new("x")).unwrap().controller.hot;
        assert_eq!((hot.interval_ms, hot.margin_percent), (7, 120));
        assert_eq!((hot.hold_ms, hot.swaps_per_s), (9, 3));
    }

    #[test]
    fn a_profile_that_does_not_exist_is_refused_with_those_that_do() {
        let error = error_of("sim:\n  profile: trident\n");
        assert!(error.contains("`trident`"), "{error}");
        assert!(error.contains("`tofino`"), "{error}");
    }

    #[test]
    fn a_port_that_cannot_be_read_is_refused() {
        let error = error_of("sim:\n  ports: [\"1=tap:x\"]\n");
        assert!(error.contains("`1=tap:x`"), "{error}");
    }
}
