//! Virtual environments with clients from PyPI, pinned by hash; made once, below `target/`.

use std::io::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use crate::repository;

/// What is installed together, because it goes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// MQTT-SN clients.
    MqttSn,
    /// P4Runtime clients that need protobuf 3.20: `p4runtime-shell` and `ptf`.
    P4Runtime,
    /// The P4Runtime client that needs protobuf 6: `finsy`.
    Finsy,
}

impl Environment {
    /// The name of the environment's directory, and of its requirements in `tests/clients`.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Environment::MqttSn => ("venv-clients", "requirements.txt"),
            Environment::P4Runtime => ("venv-p4runtime", "p4runtime.txt"),
            Environment::Finsy => ("venv-finsy", "finsy.txt"),
        }
    }

    /// Its Python, the environment being made when it is not there yet; `None`, after saying why,
    /// where it cannot be had.
    pub fn python(self) -> Option<PathBuf> {
        // Tests run at the same time, and one of them makes it.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let (directory, requirements) = self.names();
        let venv = repository().join("target").join(directory);
        let python = venv.join("bin/python");
        let requirements = repository().join("tests/clients").join(requirements);
        let wanted = std::fs::read(&requirements).expect("the requirements are in the repository");
        // Written when all of them were installed.
        let installed = venv.join("installed");
        if std::fs::read(&installed).is_ok_and(|found| found == wanted) {
            return Some(python);
        }
        match make(&venv, &python, &requirements) {
            Ok(output) if output.status.success() => {
                std::fs::write(&installed, wanted).expect("the environment can be written to");
                Some(python)
            }
            failed => {
                eprintln!("pip: {failed:?}");
                None
            }
        }
    }
}

fn make(venv: &Path, python: &Path, requirements: &Path) -> Result<Output> {
    let made = Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(venv)
        .output()?;
    if !made.status.success() {
        return Ok(made);
    }
    Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--only-binary", ":all:", "--require-hashes"])
        .arg("--requirement")
        .arg(requirements)
        .output()
}
