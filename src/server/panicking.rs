//! A request that panics, in debug builds only: no request is known to, and the promise that a panic fails its own request
//! alone (threat R9) must be tested against the real binary all the same. Release builds do not have the route.

use http::StatusCode;

/// `GET /debug/panic`
///
/// # Panics
/// Always.
pub async fn handle() -> StatusCode {
    panic!("GET /debug/panic asked for it")
}
