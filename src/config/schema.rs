//! The shape of docxy.toml.
#[derive(Clone, Debug, Default)]
pub struct Schema {}
