//! The one global of the process: the tracing subscriber. Logs go to standard error.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::access_log::AccessLog;
use super::lines::Lines;

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

/// Set by `cargo bench --bench cache -- telemetry`, to see what telling about requests costs.
const UNTOLD: &str = "DOCXY_BENCH_UNTOLD";

/// Logging as it was started.
#[derive(Debug)]
pub struct Logging {
    lines: Option<Lines>,
}

/// Why it could not be.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log.level is not a filter; write for example \"info\"")]
    Filter(#[from] ParseError),
    #[error("the log's thread can't be started")]
    Thread(#[from] io::Error),
}

/// Starts logging. Once a process; later calls change nothing.
pub fn start(config: &Config) -> Result<Logging, LoggingError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let json = match config.format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    // An error means that a subscriber is there already: in tests, where it is welcome.
    if json {
        let lines = Lines::start()?;
        let started = builder
            .with_writer(lines.clone())
            .json()
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(filter_fn(is_fit))
            .try_init();
        return Ok(Logging {
            lines: started.is_ok().then_some(lines),
        });
    }
    let _ = builder
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .finish()
        .with(filter_fn(is_fit))
        .try_init();
    Ok(Logging { lines: None })
}

impl Logging {
    /// How requests are logged; `wanted`: at all.
    pub fn access(&self, wanted: bool) -> AccessLog {
        match &self.lines {
            _ if std::env::var_os(UNTOLD).is_some() => AccessLog::Nobody,
            _ if !wanted => AccessLog::Off,
            Some(lines) => AccessLog::Json(lines.clone()),
            None => AccessLog::Text,
        }
    }
}

impl Drop for Logging {
    /// What waits is written.
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.finish();
        }
    }
}

/// Whatever the filter says, only docxy's own lines are shown below INFO: those of libraries are written for whoever
/// debugs the library, and quote requests, handshakes and proxies (threat S12).
///
/// The DNS library's own lines say what ours say better: it warns of each connection that a server closes.
fn is_fit(line: &Metadata<'_>) -> bool {
    let target = line.target();
    if target.starts_with("hickory_") {
        return false;
    }
    *line.level() <= Level::INFO || target == "docxy" || target.starts_with("docxy::")
}
