//! Who may connect, and who may publish and subscribe to what.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

/// How clients prove who they are, and who need not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The key file: one line a client, `client-id:hexkey`. A ClientId that stands there is usable
    /// only by who proves its key. Default none.
    pub keys: Option<PathBuf>,
    /// Whether clients that prove nothing may connect, under ClientIds without a key. Default true.
    pub anonymous: bool,
    /// Whether a client may prove its key by a ClientId `client-id:key`. It crosses the network as
    /// plain text: for networks that nobody else listens to. Default false.
    pub secret_in_client_id: bool,
    /// Who may connect over plain UDP. Default everybody.
    pub udp: Vec<ClientPattern>,
    /// Who may connect over DTLS. Default everybody.
    pub dtls: Vec<ClientPattern>,
    /// DTLS identities of forwarders that may speak for clients without a key. Default none.
    pub forwarders: Vec<String>,
    /// What happens when a ClientId that is connected connects from another address. Default allow.
    pub takeover: Takeover,
}

/// What a CONNECT from elsewhere means for the client that is connected under that ClientId.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// The newcomer has the session; the former address is told by DISCONNECT.
    #[default]
    Allow,
    /// The newcomer is refused, for congestion, while the former was heard within its keep-alive.
    Refuse,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let everybody = || vec![ClientPattern("*".to_owned())];
        AuthConfig {
            keys: None,
            anonymous: true,
            secret_in_client_id: false,
            udp: everybody(),
            dtls: everybody(),
            forwarders: Vec::new(),
            takeover: Takeover::Allow,
        }
    }
}

/// A ClientId, or the beginning of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ClientPattern(String);

impl ClientPattern {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let stars = self.0.matches('*').count();
        if self.0.is_empty() || stars > 1 || (stars == 1 && !self.0.ends_with('*')) {
            return Err(ConfigError::ClientPattern {
                at: at.to_owned(),
                pattern: self.0.clone(),
            });
        }
        Ok(())
    }
}

/// The access control list: the first rule that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AclConfig {
    /// What no rule decides. Default allow.
    pub default: Permit,
    /// The rules, in their order. Default none.
    pub rules: Vec<AclRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclRule {
    /// What it says.
    pub permit: Permit,
    /// To do what. Default both.
    #[serde(default)]
    pub action: AclAction,
    /// Who: a ClientId or the beginning of one and `*`. Default everybody, publishers of QoS −1
    /// included, who have no ClientId.
    #[serde(default)]
    pub client: Option<ClientPattern>,
    /// A topic filter. `%c` in it is the client's own ClientId.
    pub topic: String,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permit {
    /// Yes.
    #[default]
    Allow,
    /// No.
    Deny,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AclAction {
    /// Publishing and subscribing.
    #[default]
    All,
    /// Publishing, wills included.
    Publish,
    /// Subscribing.
    Subscribe,
}

impl AuthConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for pattern in &self.udp {
            pattern.check("auth.udp")?;
        }
        for pattern in &self.dtls {
            pattern.check("auth.dtls")?;
        }
        if self.keys.is_none() && self.secret_in_client_id {
            return Err(ConfigError::SecretsWithoutKeys);
        }
        Ok(())
    }
}

impl AclConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (number, rule) in (1..).zip(&self.rules) {
            if let Some(pattern) = &rule.client {
                pattern.check(&format!("acl.rules, rule {number}"))?;
            }
            // A ClientId is at least one character, and none that means something to a filter.
            if let Err(why) = mqttsn::topic::validate_filter(&rule.topic.replace("%c", "c")) {
                return Err(ConfigError::AclTopic {
                    number,
                    topic: rule.topic.clone(),
                    why,
                });
            }
        }
        Ok(())
    }
}
