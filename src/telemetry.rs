//! What the process tells about itself: logs, one line a request, and recordings of whole requests where somebody asks for one.

pub mod access_log;
pub mod har;
mod json_line;
mod lines;
pub mod logging;
pub mod metrics;
mod request_id;
mod timestamp;

pub use access_log::{AccessLog, Record};
pub use har::Tracer;
pub use metrics::Metrics;
pub use request_id::RequestId;
