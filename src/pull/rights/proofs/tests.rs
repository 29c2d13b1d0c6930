use tokio::time::advance;

use super::*;
use crate::config::values::{Credential, Secret};
use crate::oci::{RegistryName, Repository};
use crate::upstream::Right;

const HOUR: Duration = Duration::from_hours(1);

fn name(repository: &str) -> FullName {
    FullName {
        registry: RegistryName::parse("docker.io").expect("a name"),
        repository: Repository::parse(repository).expect("a name"),
    }
}

fn alice(proofs: &Proofs, repository: &str) -> Claim {
    let right = Right::Basic {
        registry: RegistryName::parse("docker.io").expect("a name"),
        credential: Credential {
            username: "alice".into(),
            password: Secret::new(b"secret".to_vec()),
        },
    };
    proofs.claim(&Permit::Try(right), name(repository))
}

#[tokio::test(start_paused = true)]
async fn a_proof_lasts_five_minutes_and_in_an_outage_its_grace() {
    // S4: whose right was taken away reads no more than five minutes; who has it works on for an hour of outage.
    let proofs = Proofs::new(HOUR);
    let claim = alice(&proofs, "acme/app");
    assert_eq!(proofs.standing(&claim), Standing::Unproved);
    proofs.grant(&claim, Instant::now());
    for (until, expected) in [
        (299, Standing::Entitled),
        (301, Standing::Lapsed),
        (3599, Standing::Lapsed),
        (3601, Standing::Unproved),
    ] {
        advance(Duration::from_secs(until)).await;
        assert_eq!(proofs.standing(&claim), expected, "after {until} s");
        proofs.grant(&claim, Instant::now());
    }
    assert_eq!(proofs.standing(&alice(&proofs, "acme/other")), Standing::Unproved);
}

#[tokio::test(start_paused = true)]
async fn a_denial_ends_a_proof_and_what_was_asked_before_it_does_not_bring_it_back() {
    // A download that began while the right was there, and ends after it was taken away, proves nothing.
    let proofs = Proofs::new(HOUR);
    let claim = alice(&proofs, "acme/app");
    let begun = Instant::now();
    proofs.grant(&claim, begun);
    advance(Duration::from_secs(10)).await;
    proofs.deny(&claim);
    assert_eq!(proofs.standing(&claim), Standing::Unproved);
    proofs.grant(&claim, begun);
    assert_eq!(proofs.standing(&claim), Standing::Unproved);
    advance(Duration::from_secs(1)).await;
    proofs.grant(&claim, Instant::now());
    assert_eq!(proofs.standing(&claim), Standing::Entitled);
    // And a long download's grant is as old as its beginning.
    let slow = alice(&proofs, "acme/slow");
    let begun = Instant::now();
    advance(Duration::from_secs(400)).await;
    proofs.grant(&slow, begun);
    assert_eq!(proofs.standing(&slow), Standing::Lapsed);
}

#[tokio::test(start_paused = true)]
async fn without_grace_a_proof_ends_with_its_five_minutes() {
    // An operator who wants nobody served unasked: `access.grace = "0s"`.
    let proofs = Proofs::new(Duration::ZERO);
    let claim = alice(&proofs, "acme/app");
    proofs.grant(&claim, Instant::now());
    advance(Duration::from_secs(299)).await;
    assert_eq!(proofs.standing(&claim), Standing::Entitled);
    advance(Duration::from_secs(2)).await;
    assert_eq!(proofs.standing(&claim), Standing::Unproved);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_seen_is_looked_for_again_soon() {
    // Somebody makes a repository and asks at once whether his tag is there.
    let proofs = Proofs::new(HOUR);
    let claim = alice(&proofs, "acme/app");
    assert_eq!(proofs.seen(&claim), None);
    proofs.see(&claim, false);
    assert_eq!(proofs.seen(&claim), Some(false));
    advance(Duration::from_secs(61)).await;
    assert_eq!(proofs.seen(&claim), None);
    proofs.see(&claim, true);
    advance(Duration::from_secs(299)).await;
    assert_eq!(proofs.seen(&claim), Some(true));
    advance(Duration::from_secs(2)).await;
    assert_eq!(proofs.seen(&claim), None);
}
