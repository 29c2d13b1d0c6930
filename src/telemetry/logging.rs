//! The one global of the process: the tracing subscriber. Logs go to standard error.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// Values only.
#[derive(Clone, Debug)]
pub struct Config {
    /// A tracing filter: `info`, `docxy=debug,info`. Below INFO it speaks for docxy's own lines only.
    pub filter: String,
    pub format: Format,
}

/// Starts logging. Once a process; later calls change nothing.
///
/// # Errors
/// The filter can't be read.
pub fn start(config: &Config) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let json = match config.format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    // An error means that a subscriber is there already: in tests, where it is welcome.
    let _ = if json {
        builder
            .json()
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(filter_fn(is_fit))
            .try_init()
    } else {
        builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .with(filter_fn(is_fit))
            .try_init()
    };
    Ok(())
}

/// Whatever the filter says, only docxy's own lines are shown below INFO: those of libraries are written for whoever
/// debugs the library, and quote requests, handshakes and proxies (threat S12).
fn is_fit(line: &Metadata<'_>) -> bool {
    let target = line.target();
    *line.level() <= Level::INFO || target == "docxy" || target.starts_with("docxy::")
}
