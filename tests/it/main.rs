#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is, and says so"
)]

mod upstream;

#[test]
fn a() {}
