//! MQTT-SN clients that nobody here wrote, from PyPI, driven step by step.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdin, Command};
use std::sync::OnceLock;

use crate::netns::Namespace;
use crate::process::{Lines, Process};
use crate::system::DEADLINE;
use crate::{repository, require};

/// Whose client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `mqtt-sn-12`; its steps are the methods in `tests/clients/mqtt_sn_12.py`.
    MqttSn12,
    /// `mqttsn`; its steps are the methods in `tests/clients/mqttsn_0.py`.
    Mqttsn,
}

impl Library {
    /// Whether it can be used here; see [`require`].
    #[must_use = "a test that cannot run has to return"]
    pub fn is_here(self) -> bool {
        let (thing, module, _) = self.names();
        let here = python().is_some_and(|python| {
            let mut import = Command::new(python);
            let output = import.args(["-c", &format!("import {module}")]).output();
            output.is_ok_and(|output| output.status.success())
        });
        require(thing, here)
    }

    /// What `TOPICSWITCH_REQUIRE` calls it, what Python does, and the script that drives it.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Library::MqttSn12 => ("pypi-mqtt-sn-12", "mqttsn12", "mqtt_sn_12.py"),
            Library::Mqttsn => ("pypi-mqttsn", "mqttsn.client", "mqttsn_0.py"),
        }
    }
}

/// The Python of a virtual environment with all of them, made when it is not there yet.
fn python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let venv = repository().join("target/venv-clients");
        let python = venv.join("bin/python");
        let mut make = Command::new("python3");
        let made = make.args(["-m", "venv"]).arg(&venv).output();
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        install.args(["--require-hashes", "--requirement"]);
        install.arg(repository().join("tests/clients/requirements.txt"));
        let installed = made.and_then(|_| install.output());
        if !matches!(&installed, Ok(output) if output.status.success()) {
            eprintln!("pip: {installed:?}");
        }
        python.is_file().then_some(python)
    };
    PYTHON.get_or_init(make).as_ref()
}

/// One running client.
#[derive(Debug)]
pub struct ForeignClient {
    // Ends before its input does.
    process: Process,
    steps: ChildStdin,
    lines: Lines,
}

impl ForeignClient {
    /// Starts one that speaks to the broker there, in `namespace` if given.
    ///
    /// # Panics
    /// When it cannot be started, or [`Library::is_here`] was not asked.
    pub fn start(library: Library, broker: SocketAddr, namespace: Option<&Namespace>) -> Self {
        let (_, _, script) = library.names();
        let mut command = Command::new(python().expect("it is here"));
        command
            .arg("-u")
            .arg(repository().join("tests/clients").join(script))
            .args([broker.ip().to_string(), broker.port().to_string()]);
        let (process, steps, lines) = Process::start_conversing(command, namespace);
        ForeignClient {
            process,
            steps,
            lines,
        }
    }

    /// Takes a step; what it printed.
    ///
    /// # Panics
    /// When it fails or takes too long.
    pub fn step(&mut self, step: &str) -> Vec<String> {
        writeln!(self.steps, "{step}").unwrap_or_else(|error| panic!("{step}: {error}"));
        let done = format!("done {step}");
        let mut printed = Vec::new();
        loop {
            match self.lines.next(DEADLINE) {
                line if line == done => return printed,
                line => printed.push(line),
            }
        }
    }

    /// Waits for messages until there were so many in all; those not yet told, sorted.
    ///
    /// # Panics
    /// When they do not come.
    pub fn receive(&mut self, in_all: usize) -> Vec<String> {
        let mut messages = self.step(&format!("receive {in_all}"));
        messages.sort();
        messages
    }

    /// Ends it without a word to the broker.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
