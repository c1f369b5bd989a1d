//! The switch as a process, and P4Runtime controllers that nobody here wrote: each pushes a
//! pipeline, writes, reads, receives digests and packet-ins.
//!
//! All of it with `sim`, and on BMv2 too where it is on PATH; see `system_tests::data_plane::Target`.

use std::process::Command;
use std::time::Instant;

use system_tests::clients::{ForeignClient, Library};
use system_tests::data_plane::Target;
use system_tests::python::Environment;
use system_tests::system::DEADLINE;
use system_tests::veth_switch::{PORTS, VethSwitch, program};
use system_tests::{netns, repository, require};

const HOST_A: &str = "02:00:00:00:00:0a";
const HOST_B: &str = "02:00:00:00:00:0b";
const EVERYONE: &str = "ff:ff:ff:ff:ff:ff";

/// A fresh switch, each target in turn, for a test that needs a library.
fn on_switches(library: Library, test: impl Fn(Target, VethSwitch)) {
    if !require("netns", netns::available()) || !library.is_here() {
        return;
    }
    for target in Target::selected() {
        eprintln!("target: {target:?}, library: {library:?}");
        test(target, VethSwitch::start(target));
    }
}

/// A client that has connected and pushed the program.
fn pushed(library: Library, switch: &VethSwitch) -> ForeignClient {
    let mut client = ForeignClient::start(library, switch.address(), Some(&switch.namespace));
    let [p4info, json] = program();
    client.step(&format!("connect {} {}", p4info.display(), json.display()));
    client
}

/// So long that only an acknowledgement lets the switch tell the same again; but BMv2 misses some of
/// those that follow at once.
fn ack_timeout_s(target: Target) -> u32 {
    match target {
        Target::Bmv2 => 1,
        Target::Sim | Target::SimOnVeth => 3600,
    }
}

fn mac(text: &str) -> Vec<u8> {
    text.split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"))
        .collect()
}

/// An Ethernet frame of a protocol that nobody knows, of 60 octets.
fn frame(to: &str, from: &str) -> Vec<u8> {
    let mut frame = [mac(to), mac(from), vec![0x88, 0xb5]].concat();
    frame.resize(60, 0x5a);
    frame
}

/// A frame with an IPv4 header of this source, protocol and TTL to 10.0.0.1.
fn ipv4_frame(to: &str, from: &str, source: [u8; 4], protocol: u8, ttl: u8) -> Vec<u8> {
    let mut frame = [mac(to), mac(from), vec![0x08, 0x00]].concat();
    // Version and length, total length 46, no fragment; the program looks at no checksum.
    frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, ttl, protocol, 0, 0]);
    frame.extend(source);
    frame.extend([10, 0, 0, 1]);
    frame.resize(60, 0xa5);
    frame
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts what a step prints; the order of lines is free.
fn expect(client: &mut ForeignClient, step: &str, expected: &[&str]) {
    let mut printed = client.step(step);
    printed.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(printed, expected, "{step}");
}

fn writes_are_read_back_and_forward(library: Library) {
    on_switches(library, |target, mut switch| {
        let mut client = pushed(library, &switch);
        let c = &mut client;
        expect(c, "api_version", &["1"]);
        expect(c, "dmac", &[]);
        expect(c, &format!("forward {HOST_A} 2"), &[]);
        expect(c, &format!("forward {HOST_B} 3"), &[]);
        let both = [format!("{HOST_A} forward 2"), format!("{HOST_B} forward 3")];
        expect(c, "dmac", &[&both[0], &both[1]]);
        for (to, port) in [(HOST_A, 2), (HOST_B, 3)] {
            let frame = frame(to, HOST_A);
            switch.send(1, &frame);
            assert_eq!(switch.recv(port), frame);
        }
        expect(c, &format!("redirect {HOST_A} 4"), &[]);
        let frame = frame(HOST_A, HOST_B);
        switch.send(1, &frame);
        assert_eq!(switch.recv(4), frame);

        expect(
            c,
            &format!("forward {HOST_A} 2"),
            &["refused ALREADY_EXISTS"],
        );
        expect(c, &format!("redirect {EVERYONE} 2"), &["refused NOT_FOUND"]);
        expect(c, &format!("remove {HOST_B}"), &[]);
        expect(c, &format!("remove {HOST_B}"), &["refused NOT_FOUND"]);
        expect(c, "dmac", &[&format!("{HOST_A} forward 4")]);

        // The program's table has eight places.
        for n in 1..8 {
            expect(c, &format!("forward 02:00:00:00:01:0{n} 2"), &[]);
        }
        let ninth = format!("forward {HOST_B} 2");
        let refusal = match target {
            Target::Bmv2 => "refused UNKNOWN",
            Target::Sim | Target::SimOnVeth => "refused RESOURCE_EXHAUSTED",
        };
        expect(c, &ninth, &[refusal]);

        client.step("disconnect");
    });
}

fn counters_count_what_went_through(library: Library) {
    on_switches(library, |_, mut switch| {
        let mut client = pushed(library, &switch);
        let c = &mut client;
        expect(c, &format!("forward {HOST_A} 2"), &[]);
        for _ in 0..3 {
            let frame = frame(HOST_A, HOST_B);
            switch.send(3, &frame);
            assert_eq!(switch.recv(2), frame);
        }
        expect(c, "count 3", &["3 180"]);
        expect(c, "count 4", &["0 0"]);
        expect(c, &format!("hits {HOST_A}"), &["3 180"]);
        client.step("disconnect");
    });
}

fn every_kind_of_match_is_written_and_read_and_matches(library: Library) {
    on_switches(library, |_, mut switch| {
        let mut client = pushed(library, &switch);
        let c = &mut client;
        expect(c, "session 5 4", &[]);
        expect(c, "sessions", &["5 4#1"]);
        expect(c, "route 10.0.0.0/8 2", &[]);
        expect(c, "route 10.0.0.1/32 3", &[]);
        expect(c, "routes", &["0a000000/8 2", "0a000001/32 3"]);
        expect(c, "acl 192.168.0.0 0xffff0000 17 10 20 7", &[]);
        expect(c, "acls", &["c0a80000&ffff0000 17 10..20 at 7"]);
        expect(c, &format!("forward {HOST_A} 2"), &[]);

        // The route overrides the address, and the access list mirrors.
        for (source, protocol, ttl, mirrored) in [
            ([192, 168, 9, 9], 17, 10, true),
            ([192, 168, 9, 9], 17, 20, true),
            ([192, 168, 9, 9], 17, 21, false),
            ([192, 168, 9, 9], 6, 10, false),
            ([192, 169, 9, 9], 17, 10, false),
        ] {
            let frame = ipv4_frame(HOST_A, HOST_B, source, protocol, ttl);
            switch.send(1, &frame);
            assert_eq!(switch.recv(3), frame);
            if mirrored {
                assert_eq!(switch.recv(4), frame);
            }
        }
        // Nothing else came out of the mirror's port before this.
        let last = frame(EVERYONE, HOST_B);
        expect(c, &format!("packet_out 4 {}", hex(&last)), &[]);
        assert_eq!(switch.recv(4), last);

        expect(c, "spread 10.0.0.1 4 4", &[]);
        expect(c, "spreads", &["4*1 4*1"]);
        let frame = ipv4_frame(HOST_A, HOST_B, [1, 2, 3, 4], 17, 64);
        switch.send(1, &frame);
        assert_eq!(switch.recv(4), frame);
        client.step("disconnect");
    });
}

fn a_multicast_group_replicates(library: Library) {
    on_switches(library, |_, mut switch| {
        let mut client = pushed(library, &switch);
        let c = &mut client;
        expect(c, "group 9 2 3 4", &[]);
        expect(c, "group 9 2", &["refused ALREADY_EXISTS"]);
        expect(c, "groups", &["9 2#1 3#2 4#3"]);
        expect(c, &format!("broadcast {EVERYONE} 9"), &[]);
        let frame = frame(EVERYONE, HOST_A);
        switch.send(1, &frame);
        for port in [2, 3, 4] {
            assert_eq!(switch.recv(port), frame);
        }
        client.step("disconnect");
    });
}

fn digests_and_packets_come_to_the_controller_and_packets_go_out(library: Library) {
    on_switches(library, |target, mut switch| {
        let mut client = pushed(library, &switch);
        let c = &mut client;
        expect(c, &format!("learn {}", ack_timeout_s(target)), &[]);
        // Nothing knows where it goes: to the controller, and its source is told.
        let unknown = frame(HOST_A, HOST_B);
        switch.send(3, &unknown);
        expect(c, "packet_in", &[&format!("3 1 {}", hex(&unknown))]);
        expect(c, "digest", &[&format!("{HOST_B} 3")]);
        for port in PORTS {
            expect(c, &format!("packet_out {port} {}", hex(&unknown)), &[]);
            assert_eq!(switch.recv(port), unknown);
        }
        // Until the client's acknowledgement has arrived nothing is told twice; then it is.
        let deadline = Instant::now() + DEADLINE;
        let again = loop {
            switch.send(3, &unknown);
            expect(c, "packet_in", &[&format!("3 1 {}", hex(&unknown))]);
            let told = c.step("digest_if_any");
            if !told.is_empty() {
                break told;
            }
            assert!(Instant::now() < deadline, "it is not told again");
        };
        assert_eq!(again, [format!("{HOST_B} 3")]);
        client.step("disconnect");
    });
}

fn all_that_was_written_is_deleted(library: Library) {
    on_switches(library, |_, switch| {
        let mut client = pushed(library, &switch);
        let c = &mut client;
        for written in [
            "group 9 2 3",
            "session 5 4",
            "route 10.0.0.0/8 2",
            "acl 192.168.0.0 0xffff0000 17 10 20 7",
            "spread 10.0.0.1 2 3",
            "learn 1",
        ] {
            expect(c, written, &[]);
        }
        expect(c, &format!("forward {HOST_A} 2"), &[]);
        expect(c, "clear", &[]);
        for read in ["dmac", "routes", "acls", "spreads", "groups", "sessions"] {
            expect(c, read, &[]);
        }
        client.step("disconnect");
    });
}

macro_rules! of_both {
    ($($story:ident),*) => {
        mod p4runtime_shell {
            $(#[test] fn $story() { super::$story(super::Library::P4RuntimeShell); })*
        }
        mod finsy {
            $(#[test] fn $story() { super::$story(super::Library::Finsy); })*
        }
    };
}

of_both!(
    writes_are_read_back_and_forward,
    counters_count_what_went_through,
    every_kind_of_match_is_written_and_read_and_matches,
    a_multicast_group_replicates,
    digests_and_packets_come_to_the_controller_and_packets_go_out,
    all_that_was_written_is_deleted
);

#[test]
fn finsy_sets_registers_and_value_sets() {
    on_switches(Library::Finsy, |target, switch| {
        if target == Target::Bmv2 {
            // Its P4Runtime server knows neither.
            return;
        }
        let mut client = pushed(Library::Finsy, &switch);
        let c = &mut client;
        expect(c, "register 3 77", &[]);
        expect(c, "registers", &["0 0 0 77 0 0 0 0"]);
        expect(c, "trust 88b5 1234", &[]);
        expect(c, "trusted", &["88b5 1234"]);
        client.step("disconnect");
    });
}

#[test]
fn finsy_gives_way_to_p4runtime_shell_and_takes_over_when_it_leaves() {
    if !Library::P4RuntimeShell.is_here() {
        return;
    }
    on_switches(Library::Finsy, |target, switch| {
        let mut finsy = pushed(Library::Finsy, &switch);
        expect(&mut finsy, "standing", &["primary 10"]);
        expect(&mut finsy, &format!("forward {HOST_A} 2"), &[]);
        // The shell's election id is 2^64.
        let mut shell = ForeignClient::start(
            Library::P4RuntimeShell,
            switch.address(),
            Some(&switch.namespace),
        );
        shell.step("connect");
        expect(&mut finsy, "change", &["become_backup"]);
        let primary = format!("backup {}", 1_u128 << 64);
        expect(&mut finsy, "standing", &[&primary]);
        let entry = format!("{HOST_A} forward 2");
        expect(&mut finsy, "dmac", &[&entry]);
        let write = format!("forward {HOST_B} 3");
        expect(&mut finsy, &write, &["error PERMISSION_DENIED"]);
        expect(&mut shell, &write, &[]);
        shell.step("disconnect");
        expect(&mut finsy, "change", &["become_primary"]);
        if target != Target::Bmv2 {
            // The highest id ever seen stands, and finsy bids as much; BMv2 promotes it as it is.
            let primary = format!("primary {}", 1_u128 << 64);
            expect(&mut finsy, "standing", &[&primary]);
        }
        expect(&mut finsy, &format!("remove {HOST_B}"), &[]);
        finsy.step("disconnect");
    });
}

#[test]
fn ptf_passes() {
    let python = Environment::P4Runtime.python();
    let module = python.as_ref().is_some_and(|python| {
        let output = Command::new(python)
            .args(["-c", "import ptf.testutils, p4.v1"])
            .output();
        output.is_ok_and(|output| output.status.success())
    });
    if !require("pypi-ptf", module) || !require("netns", netns::available()) {
        return;
    }
    let python = python.expect("it is here");
    for target in Target::selected() {
        eprintln!("target: {target:?}");
        let switch = VethSwitch::start(target);
        let [p4info, json] = program();
        let directory = tempfile::tempdir().expect("a directory");
        let mut ptf = Command::new(&python);
        // It writes its log where it runs.
        ptf.current_dir(directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        ptf.arg(python.with_file_name("ptf")).arg("--test-dir");
        ptf.arg(
            repository()
                .join("tests/clients/ptf")
                .canonicalize()
                .expect("it is there"),
        );
        for port in PORTS {
            ptf.args(["-i", &format!("{port}@host{port}")]);
        }
        ptf.arg(format!(
            "--test-params=server='{}';p4info='{}';json='{}';digests={}",
            switch.address(),
            p4info.display(),
            json.display(),
            // See `ack_timeout_s`.
            if target == Target::Bmv2 { 1 } else { 2 },
        ));
        let output = switch.namespace.run(|| ptf.output()).expect("Python runs");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        // Exit code 0 alone could be a run of no test.
        assert_eq!(log.matches(" ... ok").count(), 4, "{log}");
    }
}
