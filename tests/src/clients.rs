//! MQTT-SN and P4Runtime clients that nobody here wrote, from PyPI, driven step by step.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{ChildStdin, Command};

use crate::netns::Namespace;
use crate::process::{Lines, Process};
use crate::python::Environment;
use crate::system::DEADLINE;
use crate::{repository, require};

/// Whose client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `mqtt-sn-12`; its steps are the methods in `tests/clients/mqtt_sn_12.py`.
    MqttSn12,
    /// `mqttsn`; its steps are the methods in `tests/clients/mqttsn_0.py`.
    Mqttsn,
    /// `p4runtime-shell`; its steps are the methods in `tests/clients/p4runtime_shell.py`.
    P4RuntimeShell,
    /// `finsy`; its steps are the methods in `tests/clients/finsy_steps.py`.
    Finsy,
}

impl Library {
    /// Whether it can be used here; see [`require`].
    #[must_use = "a test that cannot run has to return"]
    pub fn is_here(self) -> bool {
        let about = self.about();
        let here = about.environment.python().is_some_and(|python| {
            let mut import = Command::new(python);
            let output = import
                .args(["-c", &format!("import {}", about.module)])
                .output();
            output.is_ok_and(|output| output.status.success())
        });
        require(about.thing, here)
    }

    fn about(self) -> About {
        let about = |environment, thing, module, script| About {
            environment,
            thing,
            module,
            script,
        };
        let mqtt_sn = Environment::MqttSn;
        match self {
            Library::MqttSn12 => about(mqtt_sn, "pypi-mqtt-sn-12", "mqttsn12", "mqtt_sn_12.py"),
            Library::Mqttsn => about(mqtt_sn, "pypi-mqttsn", "mqttsn.client", "mqttsn_0.py"),
            Library::P4RuntimeShell => about(
                Environment::P4Runtime,
                "pypi-p4runtime-shell",
                "p4runtime_sh.shell",
                "p4runtime_shell.py",
            ),
            Library::Finsy => about(Environment::Finsy, "pypi-finsy", "finsy", "finsy_steps.py"),
        }
    }
}

struct About {
    environment: Environment,
    /// What `TOPICSWITCH_REQUIRE` calls it.
    thing: &'static str,
    /// What Python calls it.
    module: &'static str,
    /// The script that drives it.
    script: &'static str,
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
    /// Starts one that speaks to the broker or switch there, in `namespace` if given.
    ///
    /// # Panics
    /// When it cannot be started, or [`Library::is_here`] was not asked.
    pub fn start(library: Library, server: SocketAddr, namespace: Option<&Namespace>) -> Self {
        let about = library.about();
        let mut command = Command::new(about.environment.python().expect("it is here"));
        command
            .arg("-u")
            .arg(repository().join("tests/clients").join(about.script))
            .args([server.ip().to_string(), server.port().to_string()]);
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
