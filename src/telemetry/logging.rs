//! The one global of the process: the tracing subscriber. Logs go to standard error.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
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

/// Logging as it was started; what waits is written when this is dropped.
#[derive(Debug)]
pub struct Logging(LogHandle);

/// What can still be changed of it. Clones are the same.
#[derive(Clone)]
pub struct LogHandle {
    lines: Option<Lines>,
    refilter: Arc<dyn Fn(EnvFilter) + Send + Sync>,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").finish_non_exhaustive()
    }
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
        let builder = builder
            .with_writer(lines.clone())
            .json()
            .with_current_span(false)
            .with_span_list(false)
            .with_filter_reloading();
        let refilter = through(builder.reload_handle());
        let started = builder.finish().with(filter_fn(is_fit)).try_init();
        return Ok(Logging(LogHandle {
            lines: started.is_ok().then_some(lines),
            refilter,
        }));
    }
    let builder = builder
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_filter_reloading();
    let refilter = through(builder.reload_handle());
    let _ = builder.finish().with(filter_fn(is_fit)).try_init();
    Ok(Logging(LogHandle {
        lines: None,
        refilter,
    }))
}

/// The handle names the whole type of what it belongs to.
fn through<S: 'static>(handle: Handle<EnvFilter, S>) -> Arc<dyn Fn(EnvFilter) + Send + Sync> {
    Arc::new(move |filter| {
        // Fails where there is no subscriber any more: then nobody is told anything either.
        let _ = handle.reload(filter);
    })
}

impl Logging {
    pub fn handle(&self) -> &LogHandle {
        &self.0
    }
}

impl LogHandle {
    /// How requests are logged; `wanted`: at all.
    pub fn access(&self, wanted: bool) -> AccessLog {
        match &self.lines {
            _ if !wanted => AccessLog::Off,
            Some(lines) => AccessLog::Json(lines.clone()),
            None => AccessLog::Text,
        }
    }

    /// From now on these lines.
    ///
    /// # Errors
    /// It is no filter; nothing has changed.
    pub fn filter(&self, filter: &str) -> Result<(), LoggingError> {
        (self.refilter)(EnvFilter::try_new(filter)?);
        Ok(())
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(lines) = &self.0.lines {
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
