//! Child processes that end with their test.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::netns::Namespace;

/// A running process, ended (by its own process id) when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a process, in `namespace` if given. What it prints goes nowhere.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command, namespace: Option<&Namespace>) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut start = || {
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        };
        let child = match namespace {
            Some(namespace) => namespace.run(start),
            None => start(),
        };
        Process { child }
    }

    /// As [`Process::start`], and gives what it prints, line by line.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_talking(mut command: Command, namespace: Option<&Namespace>) -> (Self, Lines) {
        command.stdin(Stdio::null());
        Self::start_piped(command, namespace)
    }

    /// As [`Process::start_talking`], and it can be talked to.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_conversing(
        mut command: Command,
        namespace: Option<&Namespace>,
    ) -> (Self, ChildStdin, Lines) {
        command.stdin(Stdio::piped());
        let (mut process, lines) = Self::start_piped(command, namespace);
        let input = process.child.stdin.take().expect("it is piped");
        (process, input, lines)
    }

    fn start_piped(mut command: Command, namespace: Option<&Namespace>) -> (Self, Lines) {
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut start = || {
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        };
        let mut child = match namespace {
            Some(namespace) => namespace.run(start),
            None => start(),
        };
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        (Process { child }, Lines { lines })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process prints.
#[derive(Debug)]
pub struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    /// The next line.
    ///
    /// # Panics
    /// When none comes within the deadline, or the process has ended.
    pub fn next(&self, deadline: Duration) -> String {
        self.lines
            .recv_timeout(deadline)
            .unwrap_or_else(|error| panic!("no line: {error}"))
    }
}
