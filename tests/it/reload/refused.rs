//! A configuration with a mistake changes nothing, and says where the mistake is.

use super::{REFUSED, TAKEN, file, reload, says, set, text, write};
use crate::admin;
use crate::cache::support::{Cached, image_of};

#[tokio::test]
async fn a_typo_keeps_serving_and_says_the_line() {
    // An operator with a slip of the finger must not take down a cluster's pulls, and wants to know where to look.
    let docxy = Cached::of(image_of(7010, &[1000]), "").await;
    docxy.warm().await;
    let right = text(&docxy.app);
    let line = 1 + right.lines().count();
    write(&docxy.app, &format!("{right}\n[timeouts]\nconect = \"4s\"\n"));
    let told = reload(&docxy.app).await;
    assert!(says(&told, REFUSED), "{told}");
    let place = format!(
        "{}:{}:1: timeouts.conect: unknown key",
        file(&docxy.app).display(),
        line + 2
    );
    assert!(says(&told, &place), "{place}\n{told}");
    assert!(says(&told, "did you mean timeouts.connect?"), "{told}");
    docxy.warm().await;

    let scraped = admin::scraped(&docxy).await;
    assert_eq!(scraped.sum("docxy_config_last_reload_successful", &[]), 0);
    write(&docxy.app, &right);
    let told = reload(&docxy.app).await;
    assert!(says(&told, TAKEN), "{told}");
    let scraped = admin::scraped(&docxy).await;
    assert_eq!(scraped.sum("docxy_config_last_reload_successful", &[]), 1);
    assert_eq!(
        scraped.sum("docxy_config_reloads_total", &[("result", "refused")]),
        1
    );
    assert_eq!(
        scraped.sum("docxy_config_reloads_total", &[("result", "taken")]),
        1
    );
}

#[tokio::test]
async fn all_of_it_is_taken_or_nothing() {
    // Half a configuration is one that nobody wrote: here the rules close all, and the file of users is missing.
    let docxy = Cached::of(image_of(7011, &[1000]), "").await;
    docxy.warm().await;
    let right = text(&docxy.app);
    for broken in [
        "[access]\nuser_files = [\"nobody.htpasswd\"]\n[[access.rules]]\neffect = \"deny\"\n",
        "[access]\nallow_address_files = [\"no-such-file\"]\n[[access.rules]]\neffect = \"deny\"\n",
        "[registries.\"ghcr.io\"]\nca_file = \"no-such-file\"\n[[access.rules]]\neffect = \"deny\"\n",
        "public_url = \"ftp://x\"\n[[access.rules]]\neffect = \"deny\"\n",
    ] {
        write(&docxy.app, &right);
        set(&docxy.app, broken);
        let told = reload(&docxy.app).await;
        assert!(says(&told, REFUSED), "{broken}\n{told}");
        docxy.warm().await;
    }
    write(&docxy.app, &right);
    set(&docxy.app, "[[access.rules]]\neffect = \"deny\"\n");
    assert!(says(&reload(&docxy.app).await, TAKEN));
    assert_eq!(docxy.get("/v2/library/redis/manifests/7").await.status, 403);
}
