//! `sim run` as a process, from capture to capture.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(30);
/// Octets of a capture's own header, and of the one before each frame.
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A capture in the classic form (microseconds, Ethernet) of these frames.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1_u32] {
        bytes.extend(word.to_le_bytes());
    }
    for (second, frame) in (0_u32..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [second, 0, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

#[test]
fn every_frame_of_a_capture_meets_the_program_that_was_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    // The program's command to forward is four zeros; what follows is payload.
    let frames: Vec<Vec<u8>> = (0..100_u8)
        .map(|n| [vec![0; 4], vec![n; 60]].concat())
        .collect();
    std::fs::write(at("in.pcap"), capture(&frames)).unwrap();
    std::fs::write(at("traffic.p4info"), "pkg_info { arch: \"v1model\" }\n").unwrap();
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/tests/programs");
    let child = Command::new(env!("CARGO_BIN_EXE_topicswitch"))
        .args(["sim", "run", "--p4runtime", "127.0.0.1:0"])
        .arg("--p4info")
        .arg(at("traffic.p4info"))
        .arg("--json")
        .arg(programs.join("traffic.json"))
        .arg("--port")
        .arg(format!("3=pcap:{}", at("in.pcap").display()))
        .arg("--port")
        .arg(format!("1=pcap:,{}", at("out.pcap").display()))
        .spawn()
        .unwrap();
    let mut process = Process(child);

    // The program writes sixteen octets in front of what it forwards.
    let whole = FILE_HEADER + frames.len() * (FRAME_HEADER + 16 + frames[0].len());
    let end = Instant::now() + DEADLINE;
    let length = || std::fs::metadata(at("out.pcap")).map_or(0, |file| file.len());
    while length() < whole as u64 {
        assert!(Instant::now() < end, "{} of {whole} octets", length());
        assert_eq!(process.0.try_wait().unwrap(), None, "it ended");
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(process.0.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(process.0.wait().unwrap().success());
    let written = std::fs::read(at("out.pcap")).unwrap();
    assert_eq!(written.len(), whole);
    let records = written[FILE_HEADER..].chunks(FRAME_HEADER + 16 + frames[0].len());
    for (record, frame) in records.zip(&frames) {
        assert_eq!(record[FRAME_HEADER + 16..], frame[..]);
    }
}
