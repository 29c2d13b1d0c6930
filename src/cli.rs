//! The command line.
use std::{ffi::OsString, process::ExitCode};
/// Runs docxy with these arguments.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let config = args
        .iter()
        .position(|a| a == "--config")
        .map(|i| args[i + 1].clone().into());
    let sources = crate::config::load::Sources::of_process(config, Default::default());
    match crate::config::load::load(&sources) {
        Ok(loaded) => match crate::app::run(loaded) {
            Ok(c) => c,
            Err(e) => {
                eprintln!("docxy: {e:#}");
                ExitCode::FAILURE
            }
        },
        Err(p) => {
            eprintln!("{p}");
            ExitCode::FAILURE
        }
    }
}
