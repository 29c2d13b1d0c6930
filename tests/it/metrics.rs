//! What an operator's graphs, alerts and traces are made of: every name is kept, every figure is right, and Prometheus and a
//! collector take them.

mod catalogue;
mod certificates;
mod denied;
mod outcomes;
mod packaging;
mod prometheus;
#[cfg(feature = "otlp")]
mod traces;
