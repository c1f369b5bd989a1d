//! What the broker tells a controller that asks how much it hears.

use mqttsn::{Alias, Qos};
use offload::{AliasType, FromBroker, FromController, PublicationKey, Refusal, RefusedItem};

use crate::world::*;

/// Asks, and gives the publications of the answer.
fn asked(world: &mut World) -> Vec<(PublicationKey, u64)> {
    world.said.clear();
    world.tell(FromController::AskRates { query: 1 });
    match world.said.pop_front() {
        Some(FromBroker::Rates { publications, .. }) => publications,
        other => panic!("rates, not {other:?}"),
    }
}

#[test]
fn publications_that_were_refused_are_told_when_they_are_heard_of() {
    let mut world = World::offloading(offloading());
    let mut keys = Vec::new();
    for n in [1, 2] {
        world.connect(at(n), &format!("p{n}"));
        let id = world.register(at(n), "t");
        let id_type = AliasType::Normal;
        keys.push(PublicationKey {
            address: at(n),
            alias: offload::Alias { id_type, id },
        });
    }
    let alias = Alias::normal(keys[0].alias.id);
    let refuse = |world: &mut World, why| {
        world.tell(FromController::Refused {
            item: RefusedItem::Publication(keys[0]),
            why,
        });
    };
    assert_eq!(asked(&mut world), []);
    refuse(&mut world, Some(Refusal::Idle));
    assert_eq!(asked(&mut world), [], "it is silent");
    for n in [1, 1, 2] {
        world.send(at(n), &publish(alias, Qos::Zero, 0, b"x"));
    }
    assert_eq!(asked(&mut world), [(keys[0], 2)]);
    assert_eq!(asked(&mut world), [], "each is told once");
    refuse(&mut world, None);
    world.send(at(1), &publish(alias, Qos::Zero, 0, b"x"));
    assert_eq!(asked(&mut world), [], "the data plane has it");
}
