//! Our own P4 programs with STF tests, one concern each: `programs/stf/*.p4`, compiled by
//! `programs/compile.sh`.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use p4runtime::p4info::P4Info;
use sim::Pipeline;
use sim::stf::{Options, Report, Test, run};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/stf")
}

fn pipeline(program: &str) -> Pipeline {
    let file = directory().join(format!("{program}.json"));
    let json = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Pipeline::load(&json).unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// A report, or why the test did not run.
fn outcome(program: &str, text: &str) -> Result<Report, String> {
    let test = Test::parse(program, text).map_err(|error| error.to_string())?;
    run(pipeline(program).into(), &test, Options::default()).map_err(|error| error.to_string())
}

#[test]
fn every_program_does_what_its_stf_test_expects() {
    let mut programs = BTreeSet::new();
    for entry in std::fs::read_dir(directory()).expect("programs/stf") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "p4") {
            let stem = path.file_stem().expect("a name");
            programs.insert(stem.to_string_lossy().into_owned());
        }
    }
    assert!(!programs.is_empty());
    let mut failures = Vec::new();
    for program in programs {
        let file = directory().join(format!("{program}.stf"));
        let text = std::fs::read_to_string(&file).expect("every program has its test");
        match outcome(&program, &text) {
            Ok(report) if report.passed() && report.sent > 0 => {}
            Ok(report) => failures.push(report.to_string()),
            Err(error) => failures.push(error),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_not_as_expected_fails_and_says_where() {
    let add = "add exact_t a:1 counted(port:2)\npacket 0 01 0001 00000000\n";
    let differences = |more: &str| {
        let report = outcome("stf_runner", &format!("{add}{more}\n")).expect("it runs");
        assert!(!report.passed(), "{more}");
        report.to_string()
    };
    let text = differences("expect 2 00 0001 0000 1");
    assert!(
        text.contains("line 3: port 2: packet 1 differs first at digit 10"),
        "{text}"
    );
    assert!(text.contains("expected 1, got 0"), "{text}");
    assert!(differences("expect 2 000002$").contains("differs first"));
    assert!(differences("expect 2 000001000000$").contains("too long"));
    assert!(differences("expect 2 0000010000000000").contains("too short"));
    assert!(differences("expect 3 00").contains("port 3: packet 1 did not leave"));
    assert!(differences("no_packet").contains("line 3: port 2: a packet left"));
    assert!(differences("packet 2 01 0001 00000000").contains("which no line expects"));
    let more = "check_counter I.arrived(1) packets == 2\nexpect 2";
    assert!(differences(more).contains("line 3: counter I.arrived(1): 1 packets, and 2 wanted"));
}

#[test]
fn packets_on_ports_that_nobody_mentions_are_told_and_refused_when_strict() {
    let text = "add exact_t a:1 counted(port:2)\npacket 0 01 0001 00000000\n";
    let test = Test::parse("t", text).expect("a test");
    let report = |strict| {
        let options = Options {
            strict,
            ..Options::default()
        };
        run(pipeline("stf_runner").into(), &test, options).expect("it runs")
    };
    let usual = report(false);
    assert!(usual.passed());
    assert!(usual.notes[0].contains("port 2"), "{usual}");
    assert!(!report(true).passed());
}

#[test]
fn lines_that_cannot_be_done_say_why() {
    let error = |text: &str| outcome("stf_runner", text).expect_err("it cannot be done");
    assert!(error("\nadd horse a:1 drop()").contains("line 2: no table is named `horse`"));
    assert!(error("add exact_t x:1 drop()").contains("no key `x`: it has h.probe.a"));
    assert!(error("add exact_t a:1 swim()").contains("no action of table `I.exact_t`"));
    assert!(error("add exact_t a:0x10000 drop()").contains("does not fit 16 bits"));
    assert!(error("add exact_t a:1 counted(port:512)").contains("`512` does not fit 9 bits"));
    assert!(error("add exact_t a:1 counted()").contains("needs `port`"));
    assert!(error("add exact_t a:1 counted(p:1)").contains("no parameter `p`: it has [port]"));
    assert!(error("add lpm_t b:1/33 drop()").contains("at most 32"));
    assert!(error("mc_node_associate 1 0").contains("there is no node 0"));
    assert!(error("check_counter hits($X) packets == 1").contains("no entry was named `X`"));
    assert!(error("register_read cells 4").contains("does not exist"));
}

#[test]
fn aliases_of_a_p4info_are_names() {
    let p4info = P4Info::load(directory().join("stf_runner.p4info.txtpb")).expect("a P4Info");
    let test = Test::parse(
        "t",
        "add lpm_t b:0/0 mark(port:1, value:2)\nregister_read cells 0",
    )
    .expect("a test");
    let options = Options {
        p4info: Some(&p4info),
        ..Options::default()
    };
    let report = run(pipeline("stf_runner").into(), &test, options).expect("it runs");
    assert_eq!(report.notes, ["register cells[0] = 0"]);
}
