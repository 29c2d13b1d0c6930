//! Every integration test, in one binary: a folder a subject.

mod listen;
mod tls;
