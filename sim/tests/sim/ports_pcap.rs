//! The `pcap` port: captures in, captures out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use p4runtime::v1::Update;
use sim::ports::{DropReason, OpenPortError, PcapError, PortConfig, open, open_all};
use sim::runtime::{Runtime, RuntimeConfig};

use crate::p4runtime_fixture::{Fixture, config, frame, p4info};

/// How a capture is written.
#[derive(Clone, Copy)]
struct Form {
    big_endian: bool,
    nanoseconds: bool,
}

const FORMS: [Form; 4] = [
    Form::new(false, false),
    Form::new(false, true),
    Form::new(true, false),
    Form::new(true, true),
];

impl Form {
    const fn new(big_endian: bool, nanoseconds: bool) -> Self {
        Form {
            big_endian,
            nanoseconds,
        }
    }

    fn number(self, number: u32) -> [u8; 4] {
        if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    /// A capture of these frames, each with its time in nanoseconds (whole microseconds).
    fn capture(self, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let magic = if self.nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        let mut bytes = self.number(magic).to_vec();
        let version: [u8; 4] = if self.big_endian {
            [0, 2, 0, 4]
        } else {
            [2, 0, 4, 0]
        };
        bytes.extend(version);
        for number in [0, 0, 65_535, 1] {
            bytes.extend(self.number(number));
        }
        for (time, frame) in frames {
            let fraction = time % 1_000_000_000 / if self.nanoseconds { 1 } else { 1000 };
            let len = frame.len() as u32;
            for number in [(time / 1_000_000_000) as u32, fraction as u32, len, len] {
                bytes.extend(self.number(number));
            }
            bytes.extend(frame);
        }
        bytes
    }
}

/// The frames of a capture in this machine's byte order with times in nanoseconds.
fn frames_of(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let bytes = std::fs::read(path).expect("the file is there");
    assert_eq!(bytes[..4], 0xa1b2_3c4d_u32.to_ne_bytes());
    assert_eq!(bytes[20..24], 1_u32.to_ne_bytes());
    let mut rest = &bytes[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let number = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four"));
        let time = u64::from(number(0)) * 1_000_000_000 + u64::from(number(4));
        assert_eq!(number(8), number(12), "frames are whole");
        let end = 16 + number(8) as usize;
        frames.push((time, rest[16..end].to_vec()));
        rest = &rest[end..];
    }
    frames
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("room on the disk");
    path
}

/// A switch with these ports that forwards frames to MAC address 9 to port 9.
fn switch(ports: &[String]) -> Fixture {
    let ports: Vec<PortConfig> = ports
        .iter()
        .map(|port| port.parse().expect("valid"))
        .collect();
    let ports = open_all(&ports).expect("they open");
    let fixture = Fixture {
        runtime: Runtime::new(RuntimeConfig::default(), ports).expect("distinct ports"),
        p4info: p4info(),
        links: vec![],
        now: Duration::ZERO,
    };
    let _stream = fixture.primary(1);
    fixture.set_pipeline(config()).expect("good");
    fixture.must([Update::insert(fixture.dmac(9, 9))]);
    fixture
}

/// A frame to MAC address 9 with a number at its end.
fn numbered(number: u8) -> Vec<u8> {
    let mut frame = frame(9, 1);
    frame.push(number);
    frame
}

#[test]
fn captures_of_every_form_pass_through_the_switch_in_the_order_of_their_times() {
    let directory = tempfile::tempdir().expect("room on the disk");
    let at = |name: &str| directory.path().join(name).display().to_string();
    // Two captures whose frames take turns, a millisecond between any two.
    let time = |number: u8| 1_700_000_000_000_000_000 + u64::from(number) * 1_000_000;
    for form in FORMS {
        for (name, first) in [("a", 0_u8), ("b", 1)] {
            let numbers = (first..200).step_by(2);
            let frames: Vec<_> = numbers.map(|n| (time(n), numbered(n))).collect();
            write(directory.path(), name, &form.capture(&frames));
        }
        let mut fixture = switch(&[
            format!("1=pcap:{}", at("a")),
            format!("2=pcap:{}", at("b")),
            format!("9=pcap:,{}", at("out")),
        ]);
        let before = wall_clock();
        assert_eq!(fixture.runtime.step(Duration::ZERO).frames, 200);
        // The file is complete while the switch still runs.
        let frames = frames_of(&directory.path().join("out"));
        let got: Vec<u8> = frames
            .iter()
            .map(|(_, frame)| *frame.last().expect("long"))
            .collect();
        assert_eq!(got, (0..200).collect::<Vec<u8>>());
        assert!(
            frames
                .iter()
                .all(|(_, frame)| frame.len() == numbered(0).len())
        );
        let times: Vec<u64> = frames.iter().map(|(time, _)| *time).collect();
        assert!(
            times.is_sorted() && times[0] >= before,
            "they left after the test began"
        );
        assert_eq!(
            fixture.runtime.step(Duration::ZERO).frames,
            0,
            "at the end it goes on"
        );
    }
}

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "captures have wall-clock times")]
fn wall_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_nanos() as u64
}

#[test]
fn a_written_capture_can_be_read_again() {
    let directory = tempfile::tempdir().expect("room on the disk");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let frames: Vec<_> = (0..3).map(|n| (0, numbered(n))).collect();
    write(directory.path(), "first", &FORMS[2].capture(&frames));
    for (from, to) in [("first", "second"), ("second", "third")] {
        let mut fixture = switch(&[
            format!("1=pcap:{}", at(from)),
            format!("9=pcap:,{}", at(to)),
        ]);
        assert_eq!(fixture.runtime.step(Duration::ZERO).frames, 3);
    }
    let bytes = |name| {
        let frames = frames_of(&directory.path().join(name)).into_iter();
        frames.map(|(_, frame)| frame).collect::<Vec<_>>()
    };
    assert_eq!(bytes("third"), bytes("second"));
    assert_eq!(bytes("third"), [numbered(0), numbered(1), numbered(2)]);
}

#[test]
fn a_paced_capture_takes_the_time_it_took() {
    let directory = tempfile::tempdir().expect("room on the disk");
    let frames: Vec<_> = (0..3)
        .map(|n| (u64::from(n) * 40_000_000, numbered(n)))
        .collect();
    let path = write(directory.path(), "in", &FORMS[1].capture(&frames));
    let out = directory.path().join("out");
    let fixture = switch(&[
        format!("1=pcap:{},,pace", path.display()),
        format!("9=pcap:,{}", out.display()),
    ]);
    let start = Instant::now();
    let running = fixture.runtime.start().expect("threads");
    let counters = running.ports()[1].counters.clone();
    let deadline = start + Duration::from_secs(20);
    while counters.read().tx_frames < 3 {
        assert!(Instant::now() < deadline, "the frames did not come");
        std::thread::yield_now();
    }
    // Never early; how late any of them is, the first one too, is the machine's affair.
    assert!(start.elapsed() >= Duration::from_millis(80));
    running.shutdown();
    let sent: Vec<_> = frames_of(&out)
        .into_iter()
        .map(|(_, frame)| frame)
        .collect();
    assert_eq!(sent, [numbered(0), numbered(1), numbered(2)]);
}

#[test]
fn frames_captured_in_part_are_counted_and_left_out_and_a_broken_end_ends_the_capture() {
    let directory = tempfile::tempdir().expect("room on the disk");
    let out = directory.path().join("out");
    let frames: Vec<_> = (0..4).map(|n| (0, numbered(n))).collect();
    let record = 16 + numbered(0).len();
    let mut bytes = FORMS[0].capture(&frames);
    // The second frame was longer than what was captured; the fourth is cut off.
    bytes[24 + record + 12] += 1;
    bytes.pop();
    let path = write(directory.path(), "in", &bytes);
    let mut fixture = switch(&[
        format!("1=pcap:{}", path.display()),
        format!("9=pcap:,{}", out.display()),
    ]);
    assert_eq!(fixture.runtime.step(Duration::ZERO).frames, 2);
    let counters = &fixture.runtime.ports()[0].counters;
    assert_eq!(counters.rx_drops(DropReason::Incomplete), 1);
    assert_eq!(counters.read().rx_errors, 1);
    let got: Vec<_> = frames_of(&out)
        .into_iter()
        .map(|(_, frame)| frame)
        .collect();
    assert_eq!(got, [numbered(0), numbered(2)]);
}

#[test]
fn files_that_are_no_captures_are_refused_with_advice() {
    let directory = tempfile::tempdir().expect("room on the disk");
    let refused = |spec: &str| {
        let config: PortConfig = format!("1=pcap:{spec}").parse().expect("valid");
        match open(&config) {
            Err(OpenPortError::Pcap(error)) => error,
            Err(other) => panic!("{spec}: {other}"),
            Ok(_) => panic!("{spec} was opened"),
        }
    };
    let file =
        |name: &str, bytes: &[u8]| write(directory.path(), name, bytes).display().to_string();
    let ng = file("ng", &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0]);
    let error = refused(&ng);
    assert!(matches!(error, PcapError::PcapNg(_)));
    assert!(error.to_string().contains("editcap -F pcap"), "{error}");
    assert!(matches!(
        refused(&file("text", b"hello, this is a text file")),
        PcapError::NotPcap { .. }
    ));
    assert!(matches!(
        refused(&file("empty", b"")),
        PcapError::NotPcap { .. }
    ));
    let whole = FORMS[0].capture(&[]);
    assert!(matches!(
        refused(&file("short", &whole[..23])),
        PcapError::NotPcap { .. }
    ));
    let mut wifi = whole.clone();
    wifi[20] = 105;
    let error = refused(&file("wifi", &wifi));
    assert!(
        matches!(error, PcapError::NotEthernet { link_type: 105, .. }),
        "{error}"
    );
    assert!(matches!(
        refused(&directory.path().join("none").display().to_string()),
        PcapError::Read { .. }
    ));
    let path = file("both", &whole);
    assert!(matches!(
        refused(&format!("{path},{path}")),
        PcapError::SameFile(_)
    ));
    assert_eq!(
        std::fs::read(&path).expect("still there"),
        whole,
        "and nothing was lost"
    );
    let mut huge = FORMS[0].capture(&[(0, numbered(0))]);
    huge[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        refused(&file("huge", &huge)),
        PcapError::Broken { at: 24, .. }
    ));
}
