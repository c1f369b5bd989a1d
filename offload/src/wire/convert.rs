//! Between the contract's types and their form on the wire.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::proto;
use crate::{
    Activity, Alias, AliasType, Change, Delta, FromBroker, FromController, Generation, Intent,
    MAX_LEASE, Member, Publication, PublicationKey, Refusal, RefusedItem, Revision, Serve,
    SessionId, ShareMember, Topic, TopicIndex,
};

/// A message of the other side that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there is not; a newer peer may use another one.
    #[error("`{0}` is missing (is the other side of another version?)")]
    Missing(&'static str),
    /// An IP address has neither 4 nor 16 octets.
    #[error("an IP address of {0} octets")]
    AddressLength(usize),
    /// A number does not fit its field.
    #[error("{value} is out of range for `{field}`")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

fn need<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing(field))
}

fn u16_field(value: u32, field: &'static str) -> Result<u16, WireError> {
    u16::try_from(value).map_err(|_| WireError::OutOfRange {
        field,
        value: value.into(),
    })
}

fn ip_octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_from(octets: &[u8]) -> Result<IpAddr, WireError> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .map_err(|_| WireError::AddressLength(octets.len()))
}

fn wire_duration(duration: Duration) -> prost_types::Duration {
    // Saturates after 292 billion years.
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}

fn duration_from(wire: prost_types::Duration, field: &'static str) -> Result<Duration, WireError> {
    Duration::try_from(wire).map_err(|_| WireError::OutOfRange {
        field,
        value: wire.seconds.unsigned_abs(),
    })
}

fn lease_from(wire: prost_types::Duration) -> Result<Duration, WireError> {
    let lease = duration_from(wire, "lease")?;
    match lease <= MAX_LEASE {
        true => Ok(lease),
        false => Err(WireError::OutOfRange {
            field: "lease",
            value: lease.as_secs(),
        }),
    }
}

impl From<SocketAddr> for proto::Address {
    fn from(address: SocketAddr) -> Self {
        proto::Address {
            ip: ip_octets(address.ip()),
            port: address.port().into(),
        }
    }
}

impl TryFrom<proto::Address> for SocketAddr {
    type Error = WireError;
    fn try_from(wire: proto::Address) -> Result<Self, WireError> {
        Ok(SocketAddr::new(
            ip_from(&wire.ip)?,
            u16_field(wire.port, "port")?,
        ))
    }
}

impl From<Alias> for proto::Alias {
    fn from(alias: Alias) -> Self {
        proto::Alias {
            id_type: alias.id_type.bits().into(),
            id: alias.id.into(),
        }
    }
}

impl TryFrom<proto::Alias> for Alias {
    type Error = WireError;
    fn try_from(wire: proto::Alias) -> Result<Self, WireError> {
        let id_type = u8::try_from(wire.id_type)
            .ok()
            .and_then(AliasType::from_bits)
            .ok_or(WireError::OutOfRange {
                field: "id_type",
                value: wire.id_type.into(),
            })?;
        Ok(Alias {
            id_type,
            id: u16_field(wire.id, "id")?,
        })
    }
}

impl From<Topic> for proto::Topic {
    fn from(topic: Topic) -> Self {
        proto::Topic {
            name: topic.name,
            generation: topic.generation.0,
            home_alias: Some(topic.home_alias.into()),
            served_q0: topic.served_q0.into_iter().map(|s| s.0).collect(),
            served_q1: topic.served_q1.into_iter().map(|s| s.0).collect(),
            copy_q0: topic.copy_q0,
            copy_q1: topic.copy_q1,
            ack_q1: topic.ack_q1,
            shared: topic
                .shared
                .into_iter()
                .map(|(session, member)| proto::ShareMemberChange {
                    session: session.0,
                    member: Some(member.into()),
                })
                .collect(),
            aliases: topic
                .aliases
                .into_iter()
                .map(|(session, alias)| proto::SessionAlias {
                    session: session.0,
                    alias: Some(alias.into()),
                })
                .collect(),
        }
    }
}

impl TryFrom<proto::Topic> for Topic {
    type Error = WireError;
    fn try_from(wire: proto::Topic) -> Result<Self, WireError> {
        Ok(Topic {
            name: wire.name,
            generation: Generation(wire.generation),
            home_alias: need(wire.home_alias, "home_alias")?.try_into()?,
            served_q0: wire.served_q0.into_iter().map(SessionId).collect(),
            served_q1: wire.served_q1.into_iter().map(SessionId).collect(),
            copy_q0: wire.copy_q0,
            copy_q1: wire.copy_q1,
            ack_q1: wire.ack_q1,
            shared: wire
                .shared
                .into_iter()
                .map(|change| {
                    let member = need(change.member, "member")?.try_into()?;
                    Ok((SessionId(change.session), member))
                })
                .collect::<Result<_, WireError>>()?,
            aliases: wire
                .aliases
                .into_iter()
                .map(|a| Ok((SessionId(a.session), need(a.alias, "alias")?.try_into()?)))
                .collect::<Result<_, WireError>>()?,
        })
    }
}

impl From<ShareMember> for proto::ShareMember {
    fn from(member: ShareMember) -> Self {
        proto::ShareMember {
            generation: member.generation.0,
            serve_q1: member.serve_q1,
            alias: member.alias.map(Into::into),
        }
    }
}

impl TryFrom<proto::ShareMember> for ShareMember {
    type Error = WireError;
    fn try_from(wire: proto::ShareMember) -> Result<Self, WireError> {
        Ok(ShareMember {
            generation: Generation(wire.generation),
            serve_q1: wire.serve_q1,
            alias: wire.alias.map(TryInto::try_into).transpose()?,
        })
    }
}

fn serve_to_wire(index: TopicIndex, step: Serve) -> proto::ServeChange {
    let member = |member: Member| proto::Member {
        q0: member.q0,
        q1: member.q1,
        alias: member.alias.map(Into::into),
    };
    let members = step.members.into_iter();
    proto::ServeChange {
        index: index.0,
        generation: step.generation.0,
        copy_q0: step.copy_q0,
        copy_q1: step.copy_q1,
        ack_q1: step.ack_q1,
        members: members
            .map(|(session, to)| proto::MemberChange {
                session: session.0,
                member: to.map(member),
            })
            .collect(),
        shared: step
            .shared
            .into_iter()
            .map(|(session, to)| proto::ShareMemberChange {
                session: session.0,
                member: to.map(Into::into),
            })
            .collect(),
    }
}

fn serve_from_wire(wire: proto::ServeChange) -> Result<Serve, WireError> {
    let member = |wire: proto::Member| {
        Ok(Member {
            q0: wire.q0,
            q1: wire.q1,
            alias: wire.alias.map(TryInto::try_into).transpose()?,
        })
    };
    Ok(Serve {
        generation: Generation(wire.generation),
        copy_q0: wire.copy_q0,
        copy_q1: wire.copy_q1,
        ack_q1: wire.ack_q1,
        members: wire
            .members
            .into_iter()
            .map(|change| {
                let to = change.member.map(member).transpose()?;
                Ok((SessionId(change.session), to))
            })
            .collect::<Result<_, WireError>>()?,
        shared: wire
            .shared
            .into_iter()
            .map(|change| {
                let to = change.member.map(TryInto::try_into).transpose()?;
                Ok((SessionId(change.session), to))
            })
            .collect::<Result<_, WireError>>()?,
    })
}

impl From<PublicationKey> for proto::PublicationKey {
    fn from(key: PublicationKey) -> Self {
        proto::PublicationKey {
            address: Some(key.address.into()),
            alias: Some(key.alias.into()),
        }
    }
}

impl TryFrom<proto::PublicationKey> for PublicationKey {
    type Error = WireError;
    fn try_from(wire: proto::PublicationKey) -> Result<Self, WireError> {
        Ok(PublicationKey {
            address: need(wire.address, "address")?.try_into()?,
            alias: need(wire.alias, "alias")?.try_into()?,
        })
    }
}

impl From<Change> for proto::Change {
    fn from(change: Change) -> Self {
        use proto::change::Change as Wire;
        let change = match change {
            Change::Services(addresses) => Wire::Services(proto::Services {
                addresses: addresses.into_iter().map(Into::into).collect(),
            }),
            Change::Session(session, address) => Wire::Session(proto::SessionChange {
                session: session.0,
                address: address.map(Into::into),
            }),
            Change::Topic(index, topic) => Wire::Topic(proto::TopicChange {
                index: index.0,
                topic: topic.map(Into::into),
            }),
            Change::Serve(index, step) => Wire::Serve(serve_to_wire(index, step)),
            Change::Publication(key, publication) => Wire::Publication(proto::PublicationChange {
                key: Some(key.into()),
                publication: publication.map(|p| proto::Publication {
                    session: p.session.0,
                    topic: p.topic.0,
                }),
            }),
            Change::OpenPublication(alias, topic) => {
                Wire::OpenPublication(proto::OpenPublicationChange {
                    alias: Some(alias.into()),
                    topic: topic.map(|t| t.0),
                })
            }
        };
        proto::Change {
            change: Some(change),
        }
    }
}

impl TryFrom<proto::Change> for Change {
    type Error = WireError;
    fn try_from(wire: proto::Change) -> Result<Self, WireError> {
        use proto::change::Change as Wire;
        Ok(match need(wire.change, "change")? {
            Wire::Services(services) => Change::Services(
                services
                    .addresses
                    .into_iter()
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>()?,
            ),
            Wire::Session(change) => Change::Session(
                SessionId(change.session),
                change.address.map(TryInto::try_into).transpose()?,
            ),
            Wire::Topic(change) => Change::Topic(
                TopicIndex(change.index),
                change.topic.map(TryInto::try_into).transpose()?,
            ),
            Wire::Serve(step) => Change::Serve(TopicIndex(step.index), serve_from_wire(step)?),
            Wire::Publication(change) => Change::Publication(
                need(change.key, "key")?.try_into()?,
                change.publication.map(|p| Publication {
                    session: SessionId(p.session),
                    topic: TopicIndex(p.topic),
                }),
            ),
            Wire::OpenPublication(change) => Change::OpenPublication(
                need(change.alias, "alias")?.try_into()?,
                change.topic.map(TopicIndex),
            ),
        })
    }
}

fn changes_from(wire: Vec<proto::Change>) -> Result<Vec<Change>, WireError> {
    wire.into_iter().map(TryInto::try_into).collect()
}

impl From<FromBroker> for proto::FromBroker {
    fn from(message: FromBroker) -> Self {
        use proto::from_broker::Message as Wire;
        let message = match message {
            FromBroker::Snapshot(intent) => Wire::Snapshot(proto::Intent {
                revision: intent.revision.0,
                changes: intent.into_changes().map(Into::into).collect(),
            }),
            FromBroker::Delta(delta) => Wire::Delta(proto::Delta {
                base: delta.base.0,
                revision: delta.revision.0,
                changes: delta.changes.into_iter().map(Into::into).collect(),
            }),
            FromBroker::Grant { request, lease } => Wire::Grant(proto::Grant {
                request,
                lease: Some(wire_duration(lease)),
            }),
            FromBroker::Led(led) => Wire::Led(proto::Led { led }),
            FromBroker::Rates {
                query,
                topics,
                publications,
            } => Wire::Rates(proto::Rates {
                query,
                publications: publications
                    .into_iter()
                    .map(|(key, packets)| proto::PublicationRate {
                        key: Some(key.into()),
                        packets,
                    })
                    .collect(),
                topics: topics
                    .into_iter()
                    .map(|(topic, packets)| proto::TopicRate {
                        topic: topic.0,
                        packets,
                    })
                    .collect(),
            }),
            FromBroker::AskActivity { query, sessions } => Wire::AskActivity(proto::AskActivity {
                query,
                sessions: sessions.into_iter().map(|s| s.0).collect(),
            }),
        };
        proto::FromBroker {
            message: Some(message),
        }
    }
}

impl TryFrom<proto::FromBroker> for FromBroker {
    type Error = WireError;
    fn try_from(wire: proto::FromBroker) -> Result<Self, WireError> {
        use proto::from_broker::Message as Wire;
        Ok(match need(wire.message, "message")? {
            Wire::Snapshot(intent) => FromBroker::Snapshot(Intent::from_changes(
                Revision(intent.revision),
                changes_from(intent.changes)?,
            )),
            Wire::Delta(delta) => FromBroker::Delta(Delta {
                base: Revision(delta.base),
                revision: Revision(delta.revision),
                changes: changes_from(delta.changes)?,
            }),
            Wire::Grant(grant) => FromBroker::Grant {
                request: grant.request,
                lease: lease_from(need(grant.lease, "lease")?)?,
            },
            Wire::Led(led) => FromBroker::Led(led.led),
            Wire::Rates(rates) => FromBroker::Rates {
                query: rates.query,
                topics: rates
                    .topics
                    .into_iter()
                    .map(|rate| (TopicIndex(rate.topic), rate.packets))
                    .collect(),
                publications: rates
                    .publications
                    .into_iter()
                    .map(|rate| Ok((need(rate.key, "key")?.try_into()?, rate.packets)))
                    .collect::<Result<_, WireError>>()?,
            },
            Wire::AskActivity(ask) => FromBroker::AskActivity {
                query: ask.query,
                sessions: ask.sessions.into_iter().map(SessionId).collect(),
            },
        })
    }
}

impl From<Refusal> for proto::Refusal {
    fn from(refusal: Refusal) -> Self {
        use proto::refusal::Kind;
        let (kind, text) = match refusal {
            Refusal::Capacity(text) => (Kind::Capacity, text),
            Refusal::Unreachable => (Kind::Unreachable, String::new()),
            Refusal::Unsupported(text) => (Kind::Unsupported, text),
            Refusal::Policy => (Kind::Policy, String::new()),
            Refusal::Failing(text) => (Kind::Failing, text),
            Refusal::Idle => (Kind::Idle, String::new()),
        };
        proto::Refusal {
            kind: kind.into(),
            text,
        }
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = WireError;
    fn try_from(wire: proto::Refusal) -> Result<Self, WireError> {
        use proto::refusal::Kind;
        Ok(match wire.kind() {
            Kind::Capacity => Refusal::Capacity(wire.text),
            Kind::Unreachable => Refusal::Unreachable,
            Kind::Unsupported => Refusal::Unsupported(wire.text),
            Kind::Policy => Refusal::Policy,
            Kind::Failing => Refusal::Failing(wire.text),
            Kind::Idle => Refusal::Idle,
            Kind::Unspecified => return Err(WireError::Missing("kind")),
        })
    }
}

impl From<FromController> for proto::FromController {
    fn from(message: FromController) -> Self {
        use proto::from_controller::Message as Wire;
        use proto::refused::Item;
        let message = match message {
            FromController::Hello {
                controller,
                election_id,
                reachable,
            } => Wire::Hello(proto::Hello {
                controller,
                election_id_high: (election_id >> 64) as u64,
                election_id_low: election_id as u64,
                reachable: reachable.into_iter().map(ip_octets).collect(),
            }),
            FromController::Standby { controller } => Wire::Standby(proto::Standby { controller }),
            FromController::RequestLease { request } => {
                Wire::RequestLease(proto::RequestLease { request })
            }
            FromController::Installed { revision } => Wire::Installed(proto::Installed {
                revision: revision.0,
            }),
            FromController::Refused { item, why } => Wire::Refused(proto::Refused {
                item: Some(match item {
                    RefusedItem::Topic(topic) => Item::Topic(topic.0),
                    RefusedItem::Session(session) => Item::Session(session.0),
                    RefusedItem::Publication(key) => Item::Publication(key.into()),
                }),
                why: why.map(Into::into),
            }),
            FromController::Reachable { address, reachable } => Wire::Reachable(proto::Reachable {
                address: ip_octets(address),
                reachable,
            }),
            FromController::AskRates { query } => Wire::AskRates(proto::AskRates { query }),
            FromController::Activity { query, sessions } => Wire::Activity(proto::ActivityAnswer {
                query,
                sessions: sessions
                    .into_iter()
                    .map(|a| proto::Activity {
                        session: a.session.0,
                        idle: a.idle.map(wire_duration),
                    })
                    .collect(),
            }),
        };
        proto::FromController {
            message: Some(message),
        }
    }
}

impl TryFrom<proto::FromController> for FromController {
    type Error = WireError;
    fn try_from(wire: proto::FromController) -> Result<Self, WireError> {
        use proto::from_controller::Message as Wire;
        use proto::refused::Item;
        Ok(match need(wire.message, "message")? {
            Wire::Hello(hello) => FromController::Hello {
                controller: hello.controller,
                election_id: u128::from(hello.election_id_high) << 64
                    | u128::from(hello.election_id_low),
                reachable: hello
                    .reachable
                    .iter()
                    .map(|octets| ip_from(octets))
                    .collect::<Result<_, WireError>>()?,
            },
            Wire::Standby(standby) => FromController::Standby {
                controller: standby.controller,
            },
            Wire::RequestLease(lease) => FromController::RequestLease {
                request: lease.request,
            },
            Wire::Installed(installed) => FromController::Installed {
                revision: Revision(installed.revision),
            },
            Wire::Refused(refused) => FromController::Refused {
                item: match need(refused.item, "item")? {
                    Item::Topic(topic) => RefusedItem::Topic(TopicIndex(topic)),
                    Item::Session(session) => RefusedItem::Session(SessionId(session)),
                    Item::Publication(key) => RefusedItem::Publication(key.try_into()?),
                },
                why: refused.why.map(TryInto::try_into).transpose()?,
            },
            Wire::Reachable(reachable) => FromController::Reachable {
                address: ip_from(&reachable.address)?,
                reachable: reachable.reachable,
            },
            Wire::AskRates(ask) => FromController::AskRates { query: ask.query },
            Wire::Activity(answer) => FromController::Activity {
                query: answer.query,
                sessions: answer
                    .sessions
                    .into_iter()
                    .map(|a| {
                        Ok(Activity {
                            session: SessionId(a.session),
                            idle: a.idle.map(|idle| duration_from(idle, "idle")).transpose()?,
                        })
                    })
                    .collect::<Result<_, WireError>>()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_of_an_absurd_lease_is_refused() {
        for (seconds, nanos, accepted) in [(60, 0, true), (60, 1, false), (i64::MAX, 0, false)] {
            let lease = prost_types::Duration { seconds, nanos };
            assert_eq!(lease_from(lease).is_ok(), accepted, "{seconds} s");
        }
    }
}
