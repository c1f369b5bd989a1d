//! The test programs, loaded: `arithmetic`, `checksums`, `parser`, `tables`, `traffic` (`*.p4` here,
//! compiled by `compile.sh`).
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sim::control::{ActionCall, ActionHandle, Control, TableHandle};
use sim::{Pipeline, Switch, SwitchConfig, Worker};

/// A switch that runs one program, with one worker.
pub struct Bench {
    pub switch: Arc<Switch>,
    pub control: Control,
    pub worker: Worker,
    pub now: Duration,
}

/// The compiled program.
pub fn json(program: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    std::fs::read(directory.join(format!("{program}.json"))).expect("compiled test program")
}

pub fn run(program: &str) -> Bench {
    run_with(program, SwitchConfig::default())
}

pub fn run_with(program: &str, config: SwitchConfig) -> Bench {
    let switch = Switch::new(config);
    let pipeline = Pipeline::load(&json(program)).expect("the program loads");
    let control = switch.load(Arc::new(pipeline));
    let worker = switch.worker();
    Bench {
        switch,
        control,
        worker,
        now: Duration::ZERO,
    }
}

impl Bench {
    /// What leaves when this frame arrives on this port.
    pub fn send_on(&mut self, port: u32, frame: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut out = Vec::new();
        self.worker.process(self.now, port, frame, &mut out);
        out
    }

    /// The one frame that leaves, on port 1, when this one arrives on port 3.
    pub fn send(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut out = self.send_on(3, frame);
        assert_eq!(out.len(), 1, "exactly one frame leaves");
        let (port, frame) = out.remove(0);
        assert_eq!(port, 1, "frames leave on port 1");
        frame
    }

    pub fn table(&self, name: &str) -> TableHandle {
        self.control
            .pipeline()
            .table(&format!("TestIngress.{name}"))
            .expect("the table exists")
    }

    pub fn action(&self, table: TableHandle, name: &str) -> ActionHandle {
        let info = self.control.pipeline().table_info(table);
        info.action(&format!("TestIngress.{name}"))
            .expect("the action exists")
    }

    pub fn call(&self, table: TableHandle, name: &str, params: &[&[u8]]) -> ActionCall {
        ActionCall::new(self.action(table, name), params.iter().copied())
    }
}
