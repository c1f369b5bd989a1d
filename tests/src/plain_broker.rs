//! `topicswitch broker` alone, on loopback: no switch, no privilege.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use crate::network::topicswitch;
use crate::process::{Lines, Process};
use crate::system::DEADLINE;

/// A running broker.
#[derive(Debug)]
pub struct PlainBroker {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Process,
    // Somebody has to take it.
    _log: Lines,
}

impl PlainBroker {
    /// Starts one with this configuration (YAML), on a port that is free.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(configuration: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(configuration.as_bytes()).expect("written");
        // Its log goes to standard error.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .arg(topicswitch())
            .args(["broker", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .arg("--config")
            .arg(file.path());
        let (process, lines) = Process::start_talking(command, None);
        let address = loop {
            let line = lines.next(DEADLINE);
            let entry: serde_json::Value =
                serde_json::from_str(&line).unwrap_or_else(|_| panic!("the broker says {line}"));
            let fields = &entry["fields"];
            if fields["message"] == "broker ready" {
                let listen = fields["listen"].as_str().expect("where it listens");
                break listen.parse().expect("one address");
            }
        };
        PlainBroker {
            address,
            _process: process,
            _log: lines,
        }
    }
}
