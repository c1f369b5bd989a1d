//! The change protocol holds in every small world, and whatever is broken in it is noticed.
//!
//! `cargo test -p model -- --ignored --test-threads 1` looks at larger worlds (minutes; `make soak` does).

use std::time::Instant;

use model::{ChangeProtocol, Mutant, Rules};
use stateright::{Checker, HasDiscoveries, Model};

/// Explores all states of the world.
fn holds(rules: Rules) {
    let name = rules.name;
    let start = Instant::now();
    let checker = ChangeProtocol::new(rules).checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!(
        "{name}: {states} states, depth {depth}, {:.1?}",
        start.elapsed()
    );
    checker.assert_properties();
}

/// Explores the world until something is wrong, which there must be.
fn is_noticed(mutant: Mutant, rules: Rules) {
    let name = rules.name;
    let checker = ChangeProtocol::new(rules.with(mutant))
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let mut found = checker.discoveries();
    found.remove("all is over");
    assert!(
        !found.is_empty(),
        "{mutant:?} goes unnoticed in {name}: {states} states"
    );
    for (property, path) in found {
        let steps = path.into_actions();
        let count = steps.len();
        println!(
            "{mutant:?} in {name}: not {property:?} after {count} of {states} states\u{2019} steps: {steps:?}"
        );
    }
}

macro_rules! holds {
    ($($world:ident,)*) => {
        /// What is owed arrives, once, with nobody else, and QoS 1 is acknowledged once.
        mod nothing_is_lost_doubled_or_misdirected_when {
            $(#[test] fn $world() { super::holds(model::scenario::$world()); })*
        }
    };
}

holds! {
    first_subscriber, joining_and_leaving, numbers_change_hands, sleeping, split_qos_1,
    sleeping_at_qos_1, shared_groups, crash, lost_link, leases, becoming_reachable, forgetting,
    many_generations, no_room,
}

macro_rules! holds_with_another_message {
    ($($world:ident,)*) => {
        mod nor_with_another_message_when {
            $(#[test] #[ignore = "takes minutes; make soak runs it"] fn $world() {
                let world = model::scenario::$world();
                super::holds(model::scenario::with_another_message(world));
            })*
        }
        mod nor_in_a_larger_world_when {
            #[test] #[ignore = "takes minutes; make soak runs it"] fn crash_among_two() {
                super::holds(model::scenario::crash_among_two());
            }
            #[test] #[ignore = "takes minutes; make soak runs it"] fn lost_link_among_two() {
                super::holds(model::scenario::lost_link_among_two());
            }
            #[test] #[ignore = "takes minutes; make soak runs it"] fn forgetting_without_a_link() {
                super::holds(model::scenario::forgetting_without_a_link());
            }
        }
    };
}

holds_with_another_message! {
    first_subscriber, joining_and_leaving, numbers_change_hands, sleeping, split_qos_1,
    sleeping_at_qos_1, shared_groups, crash, lost_link, becoming_reachable, forgetting,
    many_generations, no_room,
}

macro_rules! is_noticed {
    ($($test:ident: $mutant:ident in $world:ident,)*) => {
        mod it_is_noticed_when {
            $(#[test] fn $test() {
                super::is_noticed(model::Mutant::$mutant, model::scenario::$world());
            })*
        }
    };
}

is_noticed! {
    answers_do_not_wait: AckBeforeInstall in first_subscriber,
    a_sleeping_client_is_answered_at_once: AckBeforeInstall in sleeping,
    nothing_drains: NoDrain in numbers_change_hands,
    the_drain_time_counts_from_the_plan: DrainFromPlan in numbers_change_hands,
    a_replication_id_changes_hands_at_once: RidReusedEarly in joining_and_leaving,
    a_group_changes_hands_at_once: GroupReusedEarly in joining_and_leaving,
    all_is_written_in_one_batch: OneBatch in joining_and_leaving,
    generations_repeat: TwoGenerations in many_generations,
    a_generation_changes_its_set: GenerationKept in becoming_reachable,
    the_history_is_ignored: HistoryIgnored in becoming_reachable,
    a_generation_is_forgotten_at_once: ForgottenEarly in forgetting,
    a_stale_switch_gets_a_lease: GrantWhileStale in forgetting,
    a_switch_that_is_behind_gets_a_lease: GrantWhileBehind in leases,
    a_lease_does_not_wait_for_the_snapshot: GrantBeforeSnapshot in forgetting_without_a_link,
    a_late_renewal_extends_the_lease: LateRenewalExtends in leases,
    the_brokers_clock_runs_ahead: BrokerClockAhead in first_subscriber,
    the_switch_is_not_read_back: NoReadBack in crash_among_two,
    a_dead_controllers_write_lands_late: OrphanLandsLate in crash_among_two,
    the_switch_reorders: SwitchReorders in sleeping,
}
