#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is, and says so"
)]

mod upstream;

#[test]
fn a() {}
