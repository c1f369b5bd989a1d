//! What the configuration says of permissions.

use super::rules::Rules;
use super::{Access, Admitted, Client, Denied};
use crate::auth::Keys;
use crate::config::{AuthConfig, Config};
use crate::transmit::Via;

/// Permissions by the key file and the access control list of a [`Config`].
///
/// ```text
/// CONNECT ─┬─ DTLS has proved an identity ─┬─ it is the ClientId ────────────────────► named
///          │                               ├─ a listed forwarder speaks for another ─┐
///          │                               └─ else ──────────────────────────────────┼► denied
///          ├─ ClientId `name:secret`, `name` has a key ─┬─ it is the secret ─────────┼► named
///          │                                            └─ else ─────────────────────┼► denied
///          └─ nothing proved ◄───────────────────────────────────────────────────────┘
///               ├─ the ClientId has a key, or nobody may be anonymous ───────────────► denied
///               └─ else ─────────────────────────────────────────────────────────────► named
/// named ── may this name use this transport? ── then it is the client
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    auth: AuthConfig,
    keys: Keys,
    rules: Rules,
}

impl Policy {
    /// By what a checked configuration says, with the keys of its key file.
    pub fn new(config: &Config, keys: Keys) -> Self {
        Policy {
            auth: config.auth.clone(),
            keys,
            rules: Rules::new(config.acl.clone()),
        }
    }

    fn admit<'a>(&self, client: &Client<'a>) -> Result<Admitted<'a>, Denied> {
        let named = |name, proved| Ok(Admitted { name, proved });
        if let Some(identity) = client.source.identity {
            if client.id == identity {
                return named(client.id, true);
            }
            let carries = client.forwarded && self.auth.forwarders.iter().any(|f| f == identity);
            if !carries {
                return Err(Denied::OtherIdentity);
            }
        }
        if self.auth.secret_in_client_id
            && let Some((name, secret)) = client.id.split_once(':')
            && self.keys.contains(name)
        {
            return match self.keys.verify(name, secret) {
                true => named(name, true),
                false => Err(Denied::WrongSecret),
            };
        }
        if self.keys.contains(client.id) {
            return Err(Denied::Protected);
        }
        if !self.auth.anonymous {
            return Err(Denied::Anonymous);
        }
        named(client.id, false)
    }
}

impl Access for Policy {
    fn may_connect<'a>(&self, client: &Client<'a>) -> Result<Admitted<'a>, Denied> {
        let admitted = self.admit(client)?;
        let via = client.source.via;
        let permitted = match via {
            Via::Udp => &self.auth.udp,
            Via::Dtls => &self.auth.dtls,
        };
        match permitted
            .iter()
            .any(|pattern| pattern.matches(admitted.name))
        {
            true => Ok(admitted),
            false => Err(Denied::Transport(via)),
        }
    }

    fn may_publish(&self, client: Option<&Client<'_>>, topic: &str) -> bool {
        self.rules
            .may_publish(client.map(|client| client.id), topic)
    }

    fn may_subscribe(&self, client: &Client<'_>, filter: &str) -> bool {
        self.rules.may_subscribe(client.id, filter)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;
    use crate::transmit::Source;

    fn policy(yaml: &str) -> Policy {
        let config: Config = serde_yaml::from_str(yaml).unwrap();
        config.check().unwrap();
        let key = "00".repeat(16);
        let keys = Keys::parse(&format!("pump:{key}\nvalve:{key}"), Path::new("keys")).unwrap();
        Policy::new(&config, keys)
    }

    fn from<'a>(via: Via, identity: Option<&'a str>, id: &'a str) -> Client<'a> {
        let address = SocketAddr::from(([10, 0, 0, 1], 4000));
        Client {
            id,
            source: Source {
                via,
                address,
                identity,
            },
            forwarded: false,
        }
    }

    fn name<'a>(answer: Result<Admitted<'a>, Denied>) -> Result<&'a str, Denied> {
        answer.map(|admitted| admitted.name)
    }

    #[test]
    fn a_client_id_with_a_key_is_for_who_proves_it() {
        let policy = policy("{}");
        let udp = |id| name(policy.may_connect(&from(Via::Udp, None, id)));
        let dtls = |identity, id| name(policy.may_connect(&from(Via::Dtls, Some(identity), id)));
        assert_eq!(udp("anybody"), Ok("anybody"));
        assert_eq!(udp("pump"), Err(Denied::Protected));
        assert_eq!(dtls("pump", "pump"), Ok("pump"));
        assert_eq!(dtls("valve", "pump"), Err(Denied::OtherIdentity));
        assert_eq!(dtls("valve", "anybody"), Err(Denied::OtherIdentity));
    }

    #[test]
    fn a_secret_in_the_client_id_proves_it_where_that_is_permitted() {
        let id = format!("pump:{}", "00".repeat(16));
        let wrong = format!("pump:{}", "01".repeat(16));
        let closed = policy("{}");
        // Without the option the colon means nothing.
        assert_eq!(
            name(closed.may_connect(&from(Via::Udp, None, &id))),
            Ok(&*id)
        );
        let open = policy("auth: {keys: k, secret_in_client_id: true, anonymous: false}");
        let udp = |id| name(open.may_connect(&from(Via::Udp, None, id)));
        assert_eq!(udp(&id), Ok("pump"));
        assert_eq!(udp(&wrong), Err(Denied::WrongSecret));
        assert_eq!(udp("pump"), Err(Denied::Protected));
        assert_eq!(udp("other:x"), Err(Denied::Anonymous));
    }

    #[test]
    fn each_transport_is_for_the_clients_listed() {
        let policy = policy("auth: {udp: ['lab-*'], dtls: [pump]}");
        let udp = |id| name(policy.may_connect(&from(Via::Udp, None, id)));
        assert_eq!(udp("lab-1"), Ok("lab-1"));
        assert_eq!(udp("x"), Err(Denied::Transport(Via::Udp)));
        let dtls = |id| name(policy.may_connect(&from(Via::Dtls, Some(id), id)));
        assert_eq!(dtls("pump"), Ok("pump"));
        assert_eq!(dtls("valve"), Err(Denied::Transport(Via::Dtls)));
    }

    #[test]
    fn a_listed_forwarder_speaks_for_clients_without_a_key() {
        let policy = policy("auth: {forwarders: [gate]}");
        let behind = |identity, id, forwarded| {
            let client = Client {
                forwarded,
                ..from(Via::Dtls, Some(identity), id)
            };
            name(policy.may_connect(&client))
        };
        assert_eq!(behind("gate", "node", true), Ok("node"));
        assert_eq!(behind("gate", "pump", true), Err(Denied::Protected));
        assert_eq!(behind("gate", "node", false), Err(Denied::OtherIdentity));
        assert_eq!(behind("other", "node", true), Err(Denied::OtherIdentity));
    }
}
