//! `topicswitch sim stf`

use std::path::Path;

use anyhow::{Context, bail};
use p4runtime::p4info::P4Info;
use sim::LoadOptions;
use sim::stf::{self, Options, Test};

use crate::cli::SimStfArgs;

/// Runs one STF test and prints how it went.
///
/// # Errors
/// A file that cannot be read, a line that cannot be done, or a test that failed.
pub(super) fn run(args: &SimStfArgs) -> anyhow::Result<()> {
    let program = std::fs::read(&args.program).with_context(|| named(&args.program))?;
    let options = LoadOptions { trace: args.trace };
    let pipeline =
        sim::Pipeline::load_with(&program, options).with_context(|| named(&args.program))?;
    let text = std::fs::read_to_string(&args.test).with_context(|| named(&args.test))?;
    let test = Test::parse(&args.test.display().to_string(), &text)?;
    let p4info = match &args.p4info {
        Some(file) => Some(P4Info::load(file).with_context(|| named(file))?),
        None => None,
    };
    let print = |line: &str| println!("{line}");
    let options = Options {
        p4info: p4info.as_ref(),
        strict: args.strict,
        trace: args.trace.then_some(&print as &dyn Fn(&str)),
    };
    let report = stf::run(pipeline.into(), &test, options)?;
    println!("{report}");
    if !report.passed() {
        bail!("the test failed");
    }
    Ok(())
}

fn named(file: &Path) -> String {
    format!("`{}`", file.display())
}
