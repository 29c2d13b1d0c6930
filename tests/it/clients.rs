//! Real programs pull through docxy from a real registry.
//!
//! dockerd and containerd ask the original registry when a mirror fails, and say nothing: a pull that succeeded
//! proves nothing by itself. So every test asserts three things: the digests, the bytes that arrived, and which
//! requests the upstream registry saw. Names of public registries lead to a closed port while the programs run.
//!
//! Tests of dockerd and ctr run with two generations of them, see [`support::generation`].

pub mod support;

mod acme;
mod cache;
mod cdn;
mod containerd;
mod docker_login;
mod docker_mirror;
mod docker_prefix;
mod intercept;
mod limits;
mod podman;
mod poisoned;
mod prefetch;
mod pushes;
mod referrers;
mod skopeo;
mod tls;
mod users;
mod versions;

/// Makes a module of two tests, `debian12` and `sid`, out of `async fn NAME(generation: Generation)`.
macro_rules! both_generations {
    ($name:ident) => {
        mod $name {
            use crate::clients::support::generation::Generation;

            #[tokio::test]
            async fn debian12() {
                super::$name(Generation::Debian12).await;
            }

            #[tokio::test]
            async fn sid() {
                super::$name(Generation::Sid).await;
            }
        }
    };
}
use both_generations;
