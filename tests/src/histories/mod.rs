//! The one law as a fuzzer: random histories of clients and faults, each run on the broker alone and
//! on the whole system, in virtual time.
//!
//! The whole system is the broker's core, the controller as it is (its own task, on a clock that
//! stands still until nothing is left to do), in some histories a second one that stands by, and sim with our compiled program behind `mem` ports,
//! written to through its P4Runtime device. There is no thread, no socket and no clock: what of
//! several things comes first is drawn from the history's seed, so that a history is the same each
//! time it runs.
//!
//! A history that breaks the law shrinks to one from which nothing can be left out; those that did
//! so once are in `tests/corpus`.

use controller::target::PipelineConfig;
use topicswitch::node::Program;

mod client;
mod control;
pub mod events;
mod generate;
mod law;
mod links;
mod rpc;
mod sabotage;
mod seat;
mod shrink;
mod text;
mod world;

pub use events::History;
pub use generate::history;
pub use sabotage::Sabotage;
pub use shrink::shrink;
pub use text::NoHistory;

use world::{Run, World};

/// What came of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the law was broken, in words; empty if it was not.
    pub broken: Vec<String>,
    /// PUBLISH messages that the broker alone saw.
    pub alone: u64,
    /// Those that the broker of the whole system saw untagged.
    pub untagged: u64,
    /// Those that it saw as tagged copies.
    pub tagged: u64,
    /// How often another controller led than before.
    pub takeovers: u64,
    /// Writes that reached the switch when another controller had taken over.
    pub late: u64,
    /// Messages that clients received of the whole system.
    pub received: u64,
    /// A sum over all frames, writes and messages of the contract: the same history gives the same.
    pub trace: u64,
}

/// Runs histories.
pub struct Checker {
    pipeline: PipelineConfig,
}

impl Default for Checker {
    fn default() -> Self {
        let program = Program::built_in().expect("the built-in program");
        Checker {
            pipeline: PipelineConfig {
                p4info: std::sync::Arc::new(program.p4info),
                device_config: program.json,
            },
        }
    }
}

impl Checker {
    /// Runs a history on both, and compares.
    pub fn check(&self, history: &History) -> Outcome {
        self.check_sabotaged(history, None)
    }

    /// As [`check`](Self::check), with the whole system broken on purpose.
    pub fn check_sabotaged(&self, history: &History, sabotage: Option<Sabotage>) -> Outcome {
        let mut history = history.clone();
        history.rounds.extend(generate::ending(history.clients));
        let history = &history;
        let whole =
            in_virtual_time(|| World::whole(history, self.pipeline.clone()).sabotaged(sabotage));
        let alone = in_virtual_time(|| World::alone(history, &whole.starts));
        Outcome {
            broken: law::compare(&alone, &whole),
            alone: alone.untagged,
            untagged: whole.untagged,
            tagged: whole.tagged,
            takeovers: whole.takeovers,
            late: whole.late,
            received: whole.clients.iter().map(|c| c.received.len() as u64).sum(),
            trace: whole.trace,
        }
    }
}

/// Runs a world on a clock that stands still while there is something to do.
fn in_virtual_time<'a>(world: impl FnOnce() -> World<'a>) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads or sockets");
    // Tokio's own rationing would make a future wait though there is something for it to do.
    runtime.block_on(tokio::task::unconstrained(async { world().run().await }))
}
