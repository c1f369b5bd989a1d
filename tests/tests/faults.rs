//! Faults of controllers, links, switch and broker, with real processes and messages under way: within
//! the lease the switch is a wire and the broker serves; a controller that comes, comes back or takes over
//! finds its way by itself. Nothing is lost and nothing doubled by what happens to a controller.

use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::data_plane::Target;
use system_tests::network::targets;
use system_tests::outage::Lab;
use system_tests::room::with_room;

/// Runs a test in a lab around each target.
fn on_each_target(test: impl Fn(Lab)) {
    for target in targets() {
        eprintln!("target: {target:?}");
        test(Lab::start(target));
    }
}

/// How many updates the switch took so far; BMv2 does not count them.
fn updates(lab: &Lab) -> Option<u64> {
    let updates = lab.switch_status()["packets"]["updates"].as_u64();
    assert_eq!(updates.is_none(), lab.target() == Target::Bmv2);
    updates
}

#[test]
fn a_controller_that_is_killed_costs_nothing_and_one_that_comes_back_touches_nothing() {
    on_each_target(|lab| {
        let mut controller = lab.controller(1, "");
        let load = lab.load();
        lab.until_offloaded(&controller);

        controller.kill();
        lab.until_in_software();
        let explained = lab.broker_status();
        assert_eq!(explained["state"]["controller"], Value::Null);
        let before = updates(&lab);
        lab.restart(&mut controller);
        lab.until_offloaded(&controller);
        assert_eq!(updates(&lab), before, "what was right was written again");
        lab.end(load);
    });
}

#[test]
fn a_subscriber_without_room_costs_no_write_when_a_controller_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let [p4info, program] = with_room(directory.path(), "MqttsnEgress.subscriber", 1);
    let (p4info, program) = (p4info.display(), program.display());
    let arguments = format!("p4info: {p4info}, device_config: {program}");
    on_each_target(|lab| {
        let mut controller = lab.controller(1, &arguments);
        let load = lab.load();
        lab.until_offloaded(&controller);
        let _other = lab.subscribed("other");
        lab.until_partly_offloaded(&controller);

        controller.kill();
        lab.until_in_software();
        let before = updates(&lab);
        lab.restart(&mut controller);
        lab.until_partly_offloaded(&controller);
        assert_eq!(updates(&lab), before, "what was right was written again");
        lab.end(load);
    });
}

#[test]
fn a_standby_takes_over_from_a_controller_that_is_killed() {
    on_each_target(|lab| {
        let mut first = lab.controller(2, "");
        let load = lab.load();
        lab.until_offloaded(&first);
        let second = lab.controller(1, "");
        lab.until_mastership(&second, "backup");
        let before = updates(&lab);

        first.kill();
        lab.until_in_software();
        lab.until_offloaded(&second);
        assert_eq!(updates(&lab), before, "what was right was written again");
        let status = lab.broker_status();
        assert_eq!(status["state"]["controller"], "controller 1");
        let promoted = lab.target() == Target::Bmv2;
        assert_eq!(
            status["state"]["election_id"],
            if promoted { 10 } else { 21 }
        );

        lab.restart(&mut first);
        if promoted {
            // BMv2 makes the backup with the highest election id primary by itself, under its own id;
            // so whoever comes with a higher one leads.
            lab.until_offloaded(&first);
            lab.until_mastership(&second, "backup");
        } else {
            // The first one has the lower election id now.
            lab.until_mastership(&first, "backup");
        }
        lab.end(load);
    });
}

#[test]
fn a_frozen_controller_is_replaced_and_extends_nothing_when_it_thaws() {
    on_each_target(|lab| {
        let first = lab.controller(2, "");
        let load = lab.load();
        lab.until_offloaded(&first);
        let second = lab.controller(1, "");
        lab.until_mastership(&second, "backup");

        // The switch holds its connection open; the broker hears nothing of it any more.
        first.signal(Signal::SIGSTOP);
        lab.until_in_software();
        lab.until_offloaded(&second);
        first.signal(Signal::SIGCONT);
        lab.until_mastership(&first, "backup");
        assert_eq!(lab.broker_status()["state"]["controller"], "controller 1");
        lab.until_offloaded(&second);
        lab.end(load);
    });
}

#[test]
fn a_controller_frozen_alone_is_a_lease_without_renewal_and_no_more() {
    on_each_target(|lab| {
        let controller = lab.controller(1, "");
        let load = lab.load();
        lab.until_offloaded(&controller);
        for _ in 0..3 {
            controller.signal(Signal::SIGSTOP);
            lab.until_in_software();
            controller.signal(Signal::SIGCONT);
            lab.until_offloaded(&controller);
        }
        lab.end(load);
    });
}

#[test]
fn a_controller_cut_off_from_the_broker_is_replaced_and_one_that_prefers_to_lead_comes_back() {
    on_each_target(|lab| {
        let first = lab.controller(2, "takeover: always");
        let load = lab.load();
        lab.until_offloaded(&first);
        let second = lab.controller(1, "");
        lab.until_mastership(&second, "backup");

        lab.cut(&first, "broker");
        lab.until_in_software();
        lab.cut(&first, "switch");
        lab.until_offloaded(&second);
        lab.mend(&first, "switch");
        lab.mend(&first, "broker");
        lab.until_offloaded(&first);
        lab.until_mastership(&second, "backup");
        lab.end(load);
    });
}

#[test]
fn a_switch_that_restarts_empty_is_filled_again() {
    on_each_target(|mut lab| {
        let controller = lab.controller(1, "");
        let load = lab.load();
        lab.until_offloaded(&controller);
        lab.end(load);
        lab.start_switch();
        // Clients say something now and then; from that the switch learns again where they are.
        let load = lab.load();
        lab.until_offloaded(&controller);
        lab.end(load);
    });
}

/// Rows of the table `topic` once the broker is gone, and after it is back.
fn broker_loss(on_broker_loss: &str, rows_meanwhile: u64) {
    on_each_target(|mut lab| {
        let controller = lab.controller(1, &format!("on_broker_loss: {on_broker_loss}"));
        let load = lab.load();
        lab.until_offloaded(&controller);
        lab.end(load);
        let rows = |status: &Value| {
            let rows = status["tables"]["MqttsnIngress.topic"].as_u64();
            rows.unwrap_or(0)
        };
        lab.kill_broker();
        let status = lab.until(
            "without the broker",
            || lab.status(&controller),
            |status| status["broker_linked"] == false && rows(status) == rows_meanwhile,
        );
        assert_eq!(status["mastership"]["state"], "primary");
        // A lease that nobody grants runs out.
        let lapsed = |status: &Value| status["lease_remaining_ms"] == 0;
        lab.until("lapsed", || lab.status(&controller), lapsed);
        lab.start_broker();
        let load = lab.load();
        lab.until_offloaded(&controller);
        lab.end(load);
    });
}

#[test]
fn when_the_broker_is_lost_entries_stay_if_they_are_to_be_kept() {
    broker_loss("keep", 1);
}

#[test]
fn when_the_broker_is_lost_entries_go_if_they_are_to_be_released() {
    broker_loss("release", 0);
}
