//! Entities and updates from the messages that they hold.

use crate::v1;
use crate::v1::entity::Entity as Kind;
use crate::v1::packet_replication_engine_entry::Type as PreKind;

macro_rules! into_entity {
    ($($message:ident => $kind:ident),* $(,)?) => {$(
        impl From<v1::$message> for v1::Entity {
            fn from(message: v1::$message) -> Self {
                Self { entity: Some(Kind::$kind(message)) }
            }
        }
    )*};
}
into_entity! {
    ExternEntry => ExternEntry,
    TableEntry => TableEntry,
    ActionProfileMember => ActionProfileMember,
    ActionProfileGroup => ActionProfileGroup,
    MeterEntry => MeterEntry,
    DirectMeterEntry => DirectMeterEntry,
    CounterEntry => CounterEntry,
    DirectCounterEntry => DirectCounterEntry,
    PacketReplicationEngineEntry => PacketReplicationEngineEntry,
    ValueSetEntry => ValueSetEntry,
    RegisterEntry => RegisterEntry,
    DigestEntry => DigestEntry,
}

impl From<v1::MulticastGroupEntry> for v1::Entity {
    fn from(entry: v1::MulticastGroupEntry) -> Self {
        v1::PacketReplicationEngineEntry {
            r#type: Some(PreKind::MulticastGroupEntry(entry)),
        }
        .into()
    }
}

impl From<v1::CloneSessionEntry> for v1::Entity {
    fn from(entry: v1::CloneSessionEntry) -> Self {
        v1::PacketReplicationEngineEntry {
            r#type: Some(PreKind::CloneSessionEntry(entry)),
        }
        .into()
    }
}

impl v1::Update {
    /// Inserts an entity.
    pub fn insert(entity: impl Into<v1::Entity>) -> Self {
        Self::new(v1::update::Type::Insert, entity)
    }

    /// Modifies an entity.
    pub fn modify(entity: impl Into<v1::Entity>) -> Self {
        Self::new(v1::update::Type::Modify, entity)
    }

    /// Deletes an entity; only its key counts.
    pub fn delete(entity: impl Into<v1::Entity>) -> Self {
        Self::new(v1::update::Type::Delete, entity)
    }

    fn new(r#type: v1::update::Type, entity: impl Into<v1::Entity>) -> Self {
        Self {
            r#type: r#type.into(),
            entity: Some(entity.into()),
        }
    }
}

impl From<u128> for v1::Uint128 {
    fn from(value: u128) -> Self {
        // Each half keeps 64 of the 128 bits.
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }
}

impl From<v1::Uint128> for u128 {
    fn from(value: v1::Uint128) -> Self {
        u128::from(value.high) << 64 | u128::from(value.low)
    }
}
