//! S4, S5: everything of a private image, asked for in every way by everybody who must not have it, in every state of cache
//! and registry. The regular tests try every eleventh way; `make soak` all of them.

use super::ab_life::{ALICE, ALL, BOB, Kind, SOME, life};
use crate::support::stub::Auth;

const fn at(auth: Auth) -> Kind {
    Kind {
        auth,
        allowed: ALICE,
        other: BOB,
        reader: "bob",
        own_users: false,
        how: |app| app,
    }
}

#[tokio::test]
async fn a_private_image_of_a_registry_with_tokens_is_alices_alone() {
    // rpardini/docker-registry-proxy's warning, zot's CVE-2024-39897: what docxy must never do to anybody.
    life(at(Auth::Token), SOME, "a registry with a token service").await;
}

#[tokio::test]
async fn a_private_image_of_a_registry_with_passwords_is_alices_alone() {
    // docker-registry behind htpasswd is what most companies run.
    life(at(Auth::Basic), SOME, "a registry with passwords").await;
}

#[tokio::test]
#[ignore = "every way for everybody in every phase; `make soak`"]
async fn soak_a_private_image_of_a_registry_with_tokens_is_alices_alone() {
    life(at(Auth::Token), ALL, "a registry with a token service, all ways").await;
}

#[tokio::test]
#[ignore = "every way for everybody in every phase; `make soak`"]
async fn soak_a_private_image_of_a_registry_with_passwords_is_alices_alone() {
    life(at(Auth::Basic), ALL, "a registry with passwords, all ways").await;
}
