//! `[tls.acme]`: what the names bring along, and what is refused before an authority is asked.

use std::fmt::Write as _;

use docxy::config::{Loaded, load, load_text};

use super::{environment, nothing, of_text};

fn listens(loaded: &Loaded) -> (Vec<String>, Vec<String>) {
    let of = |list: &[docxy::config::schema::ListenEntry]| {
        list.iter().map(|entry| entry.address.to_string()).collect()
    };
    (of(&loaded.schema.listen), of(&loaded.schema.tls.listen))
}

#[test]
fn a_name_is_all_that_has_to_be_said() {
    // Whoever types `docxy serve --domain m.example.com --acme-email a@b.example` must need no file.
    let mut sources = nothing();
    sources.flags.domains = vec!["M.example.com".to_owned(), "hub.example.com".to_owned()];
    sources.flags.acme_email = Some("a@b.example".to_owned());
    let loaded = load(&sources).unwrap();
    let everywhere = (vec!["[::]:80".to_owned()], vec!["[::]:443".to_owned()]);
    assert_eq!(listens(&loaded), everywhere);
    let schema = &loaded.schema;
    assert_eq!(schema.tls.acme.domains, ["m.example.com", "hub.example.com"]);
    assert_eq!(schema.tls.acme.email.as_deref(), Some("a@b.example"));
    let url = schema.public_url.as_ref().map(ToString::to_string);
    assert_eq!(url.as_deref(), Some("https://m.example.com/"));
    assert_eq!(
        schema.allowed_hosts,
        ["hub.example.com"],
        "clients come under every name"
    );
    for key in ["listen", "tls.listen", "public_url", "tls.acme.domains"] {
        assert_eq!(loaded.origins.of(key).to_string(), "flag --domain", "{key}");
    }
    let loaded = load(&environment(&[("DOCXY__TLS__ACME__DOMAINS", "m.example.com")])).unwrap();
    assert_eq!(listens(&loaded), everywhere, "wherever it is written");
}

#[test]
fn what_is_written_stays() {
    // Someone behind a router that forwards other ports, with a URL of another name, and a name that is a registry's own.
    let text = "\
        listen = [\"127.0.0.1:8080\"]\n\
        public_url = \"https://pull.example.com:8443\"\n\
        [tls]\nlisten = [\"0.0.0.0:8443\"]\n\
        [tls.acme]\ndomains = [\"pull.example.com\", \"ghcr.example.com\"]\n\
        [registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n";
    let loaded = of_text(text).unwrap();
    assert_eq!(
        listens(&loaded),
        (vec!["127.0.0.1:8080".to_owned()], vec!["0.0.0.0:8443".to_owned()])
    );
    let url = loaded.schema.public_url.as_ref().map(ToString::to_string);
    assert_eq!(url.as_deref(), Some("https://pull.example.com:8443/"));
    assert!(loaded.schema.allowed_hosts.is_empty());
}

#[test]
fn a_flag_wins_over_the_file() {
    // Someone tries another name for one run.
    let mut sources = nothing();
    sources.flags.domains = vec!["b.example.com".to_owned()];
    let text = "[tls.acme]\ndomains = [\"a.example.com\"]\n";
    let loaded = load_text(std::path::Path::new("docxy.toml"), text, &sources).unwrap();
    assert_eq!(loaded.schema.tls.acme.domains, ["b.example.com"]);
}

#[test]
fn what_no_authority_can_give_is_refused() {
    // An authority counts what it refuses: each of these would cost an order, and its message comes later and is stranger.
    let mut said = String::new();
    for text in [
        "domains = [\"192.0.2.7\", \"m.example.com\", \"[2001:db8::1]\"]",
        "domains = [\"*.example.com\"]",
        "domains = [\"https://m.example.com\"]",
        "domains = [\"m.example.com:443\"]",
        "domains = [\"m_x.example.com\", \"-a.example.com\", \"m.example.com.\", \"münchen.example\"]",
        "email = \"ops@example.com\"",
        "domains = [\"m.example.com\"]\nemail = \"ops\"",
        "domains = [\"m.example.com\"]\ndirectory = \"http://ca.example.com/dir\"",
        "domains = [\"m.example.com\"]\ndirectory = \"https://ca.example.com/dir\"\nstaging = true",
        "domains = [\"m.example.com\"]\neab_key_id = \"kid\"",
        "domains = [\"m.example.com\"]\neab_hmac_key = \"c2VjcmV0\"",
        "domains = [\"m.example.com\"]\neab_key_id = \"kid\"\neab_hmac_key = \"not base64\"",
        "domains = [\"m.example.com\"]\n[tls]\nlisten = []",
    ] {
        let text = format!("[tls.acme]\n{text}\n");
        let answer = match of_text(&text) {
            Ok(_) => "NOTHING IS SAID".to_owned(),
            Err(problems) => problems.to_string(),
        };
        let _ = writeln!(said, "<<<\n{}\n>>>\n{answer}\n", text.trim());
    }
    let text = "listen = []\n[tls.acme]\ndomains = [\"m.example.com\"]\nchallenge = \"http-01\"\n";
    let problems = of_text(text).unwrap_err();
    let _ = writeln!(said, "<<<\n{text}>>>\n{problems}");
    insta::assert_snapshot!(said);
}
