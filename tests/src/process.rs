//! Child processes that end with their test.

use std::process::{Child, Command, Stdio};

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
