//! Our own P4 programs with STF tests, one concern each: `programs/stf/*.p4`, compiled by
//! `programs/compile.sh`.
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use p4runtime::p4info::P4Info;
use sim::stf::{Options, Report, Test, run};
use sim::{LoadOptions, Pipeline};

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

/// The names of all programs.
fn programs() -> BTreeSet<String> {
    let mut programs = BTreeSet::new();
    for entry in std::fs::read_dir(directory()).expect("programs/stf") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "p4") {
            let stem = path.file_stem().expect("a name");
            programs.insert(stem.to_string_lossy().into_owned());
        }
    }
    assert!(!programs.is_empty());
    programs
}

fn test_of(program: &str) -> String {
    let file = directory().join(format!("{program}.stf"));
    std::fs::read_to_string(&file).expect("every program has its test")
}

#[test]
fn every_program_does_what_its_stf_test_expects() {
    let mut failures = Vec::new();
    for program in programs() {
        match outcome(&program, &test_of(&program)) {
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

/// The report and the trace of a test.
fn traced(program: &str, text: &str) -> (Report, Vec<String>) {
    let file = directory().join(format!("{program}.json"));
    let json = std::fs::read(file).expect("a program");
    let pipeline = Pipeline::load_with(&json, LoadOptions { trace: true }).expect("it loads");
    let lines = RefCell::new(Vec::new());
    let keep = |line: &str| lines.borrow_mut().push(line.to_owned());
    let options = Options {
        trace: Some(&keep),
        ..Options::default()
    };
    let test = Test::parse(program, text).expect("a test");
    let report = run(pipeline.into(), &test, options).expect("it runs");
    (report, lines.into_inner())
}

#[test]
fn a_trace_changes_nothing() {
    for program in programs() {
        let text = test_of(&program);
        let (report, lines) = traced(&program, &text);
        assert_eq!(report, outcome(&program, &text).expect("it runs"));
        let left = lines.iter().filter(|line| line.starts_with("  leaves on"));
        assert_eq!(left.count(), report.left, "{program}");
    }
}

#[test]
fn a_trace_tells_what_a_packet_meets() {
    let text = "add exact_t a:1 counted(port:2)\nadd exact_t a:2 copy(session:5)\n\
                add ternary_t 9 h.probe.a:0x12** b:1->7 mark(port:5, value:1)\nmirroring_add 5 8\n";
    let trace = |packet: &str| {
        let (_, lines) = traced("stf_runner", &format!("{text}packet 0 {packet}"));
        lines.join("\n")
    };
    let hit = trace("01 0001 00000000");
    for line in [
        "line 5: packet 0 01000100000000",
        "packet, 7 bytes, on port 0",
        "    state start",
        "      extract probe: op=0x01 a=0x0001 b=0x00000000",
        "    accept",
        "(63): if (h.probe.op == 1): true",
        "table I.exact_t: h.probe.a=0x0001",
        "      hit 0x0001 -> I.counted(port=0x002)",
        "s.egress_spec = port  [0x002]",
        "  egress, port 2 (rid 0)",
        "  deparser: probe",
        "  leaves on port 2: 00000100000000",
    ] {
        assert!(hit.contains(line), "`{line}` in:\n{hit}");
    }
    let miss = trace("01 0009 00000000");
    assert!(miss.contains("      miss -> I.drop()"), "{miss}");
    assert!(miss.contains("  dropped at the end of ingress"), "{miss}");
    let clone = trace("01 0002 00000000");
    assert!(
        clone.contains("  clone to egress, session 5: port 8 (rid 0)"),
        "{clone}"
    );
    assert!(
        clone.contains("  egress of a clone, port 8 (rid 0)"),
        "{clone}"
    );
    let ternary = trace("03 1234 00000003");
    let entry = "hit 0x1200&&&0xff00, 0x00000001..0x00000007 (priority 10) -> I.mark(";
    assert!(ternary.contains(entry), "{ternary}");
    assert!(trace("01 00").contains("    error.PacketTooShort"));
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
