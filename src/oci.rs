//! The words of the OCI distribution specification as types. Pure: nothing here does I/O.
//! Whatever travels inward from a socket is one of these, built by its parser and by nothing else.

pub mod accept;
pub mod challenge;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod full_name;
pub mod grant;
pub mod image;
pub mod manifest;
pub mod media;
pub mod name;
pub mod platform;
pub mod range;
pub mod reference;
pub mod registry;
pub mod scope;

mod excerpt;

pub use challenge::Challenge;
pub use digest::Digest;
pub use endpoint::{Endpoint, Session};
pub use error::{Code, ErrorBody};
pub use full_name::FullName;
pub use grant::Grant;
pub use image::ImageReference;
pub use name::Repository;
pub use platform::Platform;
pub use range::{ByteRange, ContentRange};
pub use reference::{Reference, Tag};
pub use registry::RegistryName;
pub use scope::{Action, Scope};
