//! What the process tells about itself: logs, and one line a request.

pub mod access_log;
mod lines;
pub mod logging;
pub mod metrics;

pub use access_log::{AccessLog, Record};
pub use metrics::Metrics;
