//! What a person writes, and where each value came from. Values only: nothing here builds a part.
//!
//! The way of a value: a layer of [`tree`] each for presets, old names, file, environment and flags; laid over each
//! other by [`load`]; typed by [`read`] along the page of [`keys`]; checked by [`validate`].

pub mod environment;
pub mod import;
pub mod keys;
pub mod load;
pub mod origin;
pub mod paths;
pub mod presets;
pub mod schema;
pub mod show;
pub mod validate;
pub mod values;

mod auth_registries;
mod compat;
mod docxy_names;
mod domains;
mod parent;
mod read;
mod setting;
mod tree;

pub use load::{Loaded, Sources, load, load_text};
pub use origin::{Origin, Problems, Warning};
pub use schema::Schema;
