//! What the process tells about itself: logs, one line a request, figures, traces, and recordings of whole requests where somebody asks for one.

pub mod access_log;
pub mod har;
mod json_line;
mod lines;
pub mod logging;
pub mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
mod request_id;
mod timestamp;
pub mod traces;

pub use access_log::{AccessLog, Record};
pub use har::Tracer;
pub use metrics::Metrics;
pub use request_id::RequestId;
pub use traces::Traces;
