mod oci;

#[test]
fn a() {}
