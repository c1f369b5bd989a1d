//! The P4 program that the controller pushes: the one that is built in, or one from files.

use std::path::Path;

use anyhow::Context;
use p4runtime::p4info::P4Info;

/// p4c's P4Info of `p4src/mqttsn.p4`.
const P4INFO: &str = include_str!("../../../p4src/compiled/mqttsn.p4info.txtpb");
/// p4c's BMv2 JSON of it.
const JSON: &[u8] = include_bytes!("../../../p4src/compiled/mqttsn.json");

/// A compiled program.
#[derive(Clone)]
pub struct Program {
    /// Its P4Info.
    pub p4info: P4Info,
    /// What the target loads: BMv2 JSON.
    pub json: Vec<u8>,
}

impl Program {
    /// The one that is built in.
    ///
    /// # Errors
    /// Never, in a binary that was built from a checked tree.
    pub fn built_in() -> anyhow::Result<Self> {
        let p4info = P4Info::from_text(P4INFO).context("the built-in P4Info")?;
        Ok(Program {
            p4info,
            json: JSON.to_vec(),
        })
    }

    /// One from p4c's two files.
    ///
    /// # Errors
    /// A file that cannot be read, or is no P4Info.
    pub fn load(p4info: &Path, json: &Path) -> anyhow::Result<Self> {
        Ok(Program {
            p4info: P4Info::load(p4info).with_context(|| format!("P4Info {}", p4info.display()))?,
            json: std::fs::read(json).with_context(|| format!("cannot read {}", json.display()))?,
        })
    }

    /// The one in the files where both are given, else the built-in one.
    ///
    /// # Errors
    /// As [`Program::load`], or only one of the two files is named.
    pub fn choose(p4info: Option<&Path>, json: Option<&Path>) -> anyhow::Result<Self> {
        match (p4info, json) {
            (Some(p4info), Some(json)) => Program::load(p4info, json),
            (None, None) => Program::built_in(),
            _ => anyhow::bail!("P4Info and JSON belong together: give both or neither"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_program_is_whole() {
        let program = Program::built_in().unwrap();
        assert!(program.p4info.table("MqttsnIngress.topic").is_ok());
        assert!(serde_json::from_slice::<serde_json::Value>(&program.json).is_ok());
    }
}
