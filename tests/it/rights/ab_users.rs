//! S4 with docxy's own users: one credential at the registry, two people here whom the rules give different things. Ann may
//! pull team/**; bob may not, whatever he asks and however.

use super::ab_life::{ALICE, ALL, Kind, SOME, life};
use crate::signin::users::{ANN, BOB, with_users};
use crate::support::stub::Auth;

const RULES: &str = "\
[[access.rules]]
effect = \"allow\"
users = [\"ann\"]
repository = \"team/**\"
[[access.rules]]
effect = \"allow\"
users = [\"bob\"]
repository = \"bob/**\"
[[access.rules]]
effect = \"allow\"
repository = \"library/**\"
[registries.\"docker.io\"]
clients = \"users\"
";

const fn at(auth: Auth) -> Kind {
    Kind {
        auth,
        allowed: ANN,
        other: BOB,
        reader: "alice",
        own_users: true,
        how: |app| with_users(app.configured("docker.io", ALICE.0, ALICE.1)).config(RULES),
    }
}

#[tokio::test]
async fn an_image_fetched_with_docxys_own_credential_is_for_whom_the_rules_let() {
    // One account upstream, two people here: only docxy stands between bob and the team's image.
    life(
        at(Auth::Token),
        SOME,
        "docxy's own users at a registry with a token service",
    )
    .await;
}

#[tokio::test]
async fn what_a_robot_with_a_password_fetched_is_for_whom_the_rules_let() {
    // The same where the robot's credential is a password, which goes up with every request.
    life(
        at(Auth::Basic),
        SOME,
        "docxy's own users at a registry with passwords",
    )
    .await;
}

#[tokio::test]
#[ignore = "every way for everybody in every phase; `make soak`"]
async fn soak_an_image_fetched_with_docxys_own_credential_is_for_whom_the_rules_let() {
    life(at(Auth::Token), ALL, "docxy's own users, all ways").await;
}
