//! What the process tells about itself: logs, and one line a request.

pub mod access_log;
mod json_line;
mod lines;
pub mod logging;
pub mod metrics;
mod request_id;
mod timestamp;

pub use access_log::{AccessLog, Record};
pub use metrics::Metrics;
pub use request_id::RequestId;
