//! Errors: each with the right code and status, a message that names the upstream and what to do, nothing secret, and an end in
//! good time.

mod bad_certificates;
mod limits;
mod slow;
mod table;
mod tls;
mod token_service;
mod trouble;
