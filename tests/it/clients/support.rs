//! What the suite is made of: real registries and a token service below, docxy in the middle, real clients above.

pub mod authority;
pub mod containerd;
pub mod dockerd;
pub mod door;
pub mod generation;
pub mod image;
pub mod podman;
pub mod process;
pub mod publish;
pub mod registry;
pub mod sandbox;
pub mod skopeo;
pub mod tap;
pub mod token_server;
