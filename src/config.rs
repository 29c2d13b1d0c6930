//! What a person writes, and where each value came from. Values only: nothing here builds a part.

pub mod presets;
pub mod schema;
pub mod values;

pub use schema::Schema;
