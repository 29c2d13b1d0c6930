//! What docxy says to a person who made a mistake. The whole text is asserted: it is the product here.

use std::fmt::Write as _;

use docxy::config::{Sources, load, load_text};
use proptest::prelude::*;

use super::{environment, nothing, of_text};

/// Each text with what is said about it.
fn said(texts: &[&str]) -> String {
    let mut said = String::new();
    for text in texts {
        let answer = match of_text(text) {
            Ok(_) => "NOTHING IS SAID".to_owned(),
            Err(problems) => problems.to_string(),
        };
        let _ = writeln!(said, "<<<\n{}\n>>>\n{answer}\n", text.trim());
    }
    said
}

fn said_of(sources: &Sources) -> String {
    match load(sources) {
        Ok(_) => "NOTHING IS SAID".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

fn with_set(assignments: &[&str]) -> Sources {
    let mut sources = nothing();
    sources.flags.set = assignments.iter().map(|&text| text.to_owned()).collect();
    sources
}

#[test]
fn misspelt_and_misplaced_keys() {
    // A key that is silently ignored costs an operator an evening; the message must lead to the right one.
    insta::assert_snapshot!(said(&[
        "lisen = [\"127.0.0.1:5000\"]",
        "[cache]\nmax-size = \"1GiB\"",
        "[tls]\npublic_url = \"https://hub.example.com\"",
        "redirect_http = false",
        "[registry.\"ghcr.io\"]\nenabled = false",
        "[registries.ghcr.io]\nenabled = false",
        "[registries.docker.elastic.co]\nenabled = false",
        "[registries.\"ghcr.io\"]\nurl = \"https://ghcr.io\"",
        "colour = \"blue\"",
        "[cache]\ncolour = \"blue\"",
        "listen = [{ adress = \"127.0.0.1:5000\" }]",
    ]));
}

#[test]
fn values_of_the_wrong_kind() {
    // An operator writes TOML by hand and from memory; each slip has one obvious repair.
    insta::assert_snapshot!(said(&[
        "listen = \"127.0.0.1:5000\"",
        "listen = [\":5000\", \"*:80\", \"localhost:5000\", \"10.0.0.1\", 5000, \"hub.example.com:80\"]",
        "allow_plain_login = \"true\"",
        "shared_max_age = 3600",
        "shared_max_age = 1.5",
        "[timeouts]\nconnect = \"5 sec\"",
        "[cache]\nmax_size = \"32g\"",
        "[cache]\nmode = \"disc\"",
        "[cache]\nmode = \"of\"",
        "cache = \"off\"",
        "[limits]\nmax_header_fields = -1",
        "[tls]\nmin_version = \"1.1\"",
        "[tls]\nlisten = [\"0.0.0.0:443\"]\ncertificates = [{ cert = \"a.pem\" }]",
        "trusted_proxies = [\"10.0.0.0/33\", \"gateway\"]",
        "state_path = \"~/docxy\"",
        "[network.hosts]\n\"ghcr.io\" = [\"ten\"]",
        "[registries.\"ghcr.io\"]\nauth = \"configure\"",
        "[registries.\"ghcr.io\"]\nrate_limited = \"404\"",
        "[registries.\"ghcr.io\"]\nrate_limited = 418",
        "[registries.\"https://ghcr.io/\"]\nenabled = true",
        "login_registries = [\"ghcr.io/owner\"]",
    ]));
}

#[test]
fn addresses() {
    // Addresses end up in clients' configuration and in realms; a sloppy one breaks pulls far from here.
    insta::assert_snapshot!(said(&[
        "public_url = \"hub.example.com\"",
        "public_url = \"https://hub.example.com/docker/\"",
        "public_url = \"https://user:hunter2@hub.example.com\"",
        "public_url = \"ftp://hub.example.com\"",
        "public_url = \"https://hub.example.com?x=1\"",
        "[registries.\"home.example.com\"]\nurls = [\"http://192.168.1.5:5000\"]",
        "[registries.\"home.example.com\"]\nurls = [\"https://me:hunter2@home.example.com\"]",
        "[registries.\"ghcr.io\"]\nproxy = \"ftp://user:hunter2@proxy.example.com\"",
        "[registries.\"ghcr.io\"]\nproxy = \"proxy.example.com:3128\"",
        "[registries.\"ghcr.io\"]\nproxy = { url = \"http://a:hunter2@p.example.com\", username = \"b\" }",
        "[network]\nproxy = \"http://127.0.0.1:5000\"",
        "[network]\nhosts = { \"ghcr.io\" = [\"10.0.0.5\"], \"https://quay.io\" = [], \"b.example.com\" = [\"10.0.0.5\"] }",
    ]));
}

#[test]
fn places_of_a_registry() {
    // The first url decides about tags and rights: what is there by mistake, or is taken for one, breaks or leaks.
    insta::assert_snapshot!(said(&[
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", \"https://mirror.example.com\"]",
        "[registries.\"docker.io\"]\nurls = [{ url = \"https://mirror.example.com\", role = \"mirror\" }]",
        "[registries.\"harbor.example.com\"]\nurls = [\n  { url = \"https://m.example.com\", role = \"mirror\" },\n  \"https://harbor.example.com\",\n]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { url = \"https://m.example.com\", role = \"miror\" }]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { url = \"https://m.example.com\", username = \"u\" }]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { adress = \"https://m.example.com\", role = \"mirror\" }]",
        "[registries.\"ghcr.io\"]\nurls = [\n  \"https://ghcr.io\",\n  { url = \"http://10.0.0.5\", role = \"mirror\" },\n]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { url = \"https://m.example.com\", role = \"mirror\", username = \"u\" }]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { url = \"https://m.example.com\", role = \"mirror\", username = \"u\", password_file = \"a\", password_env = \"B\" }]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { url = \"https://m.example.com\", role = \"mirror\" }, { url = \"https://m.example.com\", role = \"mirror\" }]",
        "[registries.\"ghcr.io\"]\nurls = [\"https://ghcr.io\", { url = \"https://m.example.com\", role = \"mirror\", realms = [\"https://x/\"], tls_verify = false, ca_file = \"c.pem\" }]",
    ]));
}

#[test]
fn registries_that_get_in_each_others_way() {
    // One name means one registry: otherwise a private image's name could be asked of a public registry.
    insta::assert_snapshot!(said(&[
        "[registries.\"index.docker.io\"]\nauth = \"configured\"\nusername = \"u\"\npassword_file = \"p\"",
        "[registries.\"hub.example.com\"]\naliases = [\"ghcr.io\"]",
        "[registries.\"hub.example.com\"]\naliases = [\"index.docker.io\"]",
        "[registries.\"a.example.com\"]\naliases = [\"index.docker.io\"]",
        "[registries.\"a.example.com\"]\naliases = [\"harbor\"]\n[registries.\"b.example.com\"]\naliases = [\"harbor\"]",
        "[registries.\"ghcr.io\"]\nhosts = [\"hub.example.com\"]\n[registries.\"quay.io\"]\nhosts = [\"HUB.example.com\"]",
        "[registries.\"ghcr.io\"]\nhosts = [\"https://hub.example.com/\", \"hub.example.com:443\", \"*.example.com\"]",
        "default_registry = \"registry.example.com\"",
        "default_registry = \"index.docker.io\"",
        "login_registries = [\"quay.io\"]\n[registries.\"quay.io\"]\nenabled = false",
        "[registries.\"GHCR.io\"]\nenabled = true\n[registries.\"ghcr.io\"]\nenabled = false",
    ]));
}

#[test]
fn credentials_that_can_not_work() {
    // A pull that fails with 401 next week is worse than a start that fails now.
    insta::assert_snapshot!(said(&[
        "[registries.\"ghcr.io\"]\nauth = \"configured\"",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\npassword_file = \"p\"",
        "[registries.\"ghcr.io\"]\nusername = \"u\"\npassword_file = \"p\"",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"u\"\npassword = \"hunter2\"\npassword_file = \"p\"",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"u\"\nexec = [\"/helper\"]",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"u\"\npassword_env = \"GHCR_TOKEN\"",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"u\"\npassword = [\"hunter2\"]",
        "[registries.\"ghcr.io\"]\ntls_verify = false\nca_file = \"ca.pem\"",
    ]));
}

#[test]
fn accounts_that_can_not_work() {
    // A pool has several tables that look alike; the message must lead to the one that is meant.
    let one = |entry: &str| {
        format!(
            "[registries.\"ghcr.io\"]\nauth = \"configured\"\ncredentials = [\n  {{ username = \"a\", password_file = \"a\" }},\n  {entry},\n]"
        )
    };
    let texts = [
        one("{ username = \"b\" }"),
        one("{ password_file = \"b\" }"),
        one("{ username = \"b\", password_file = \"b\", exec = [\"/helper\"] }"),
        one("{ username = \"b\", helper = \"ecr-login\" }"),
        one("{ helper = \"/usr/bin/docker-credential-ecr-login\" }"),
        one("{ username = \"b\", password_file = \"b\", server = \"x\", lifetime = \"1h\" }"),
        one("{ exec = [\"\"], lifetime = \"0s\" }"),
        one("{ username = \"b\", pasword_file = \"b\" }"),
        one("{ name = \"x\", docker_config = \"c\" }, { name = \"x\", docker_config = \"d\" }"),
        one("{ username = \"b\", password_env = \"MISSING\" }"),
        "[registries.\"ghcr.io\"]\nhelper = \"ecr-login\"".to_owned(),
        "[[registries.\"ghcr.io\".credentials]]\nusername = \"a\"\npassword_file = \"a\"".to_owned(),
        "[registries.\"ghcr.io\".credentials]\nusername = \"a\"".to_owned(),
    ];
    insta::assert_snapshot!(said(&texts.each_ref().map(String::as_str)));
}

#[test]
fn variables_of_docker_registry_proxy() {
    // A variable that is half understood would leave a registry without its password.
    let mut text = String::new();
    for (variables, file) in [
        (&[("AUTH_REGISTRIES", "auth.docker.io:u:p")][..], ""),
        (
            &[("AUTH_REGISTRIES", "reg.example.com:u:p docker.io:u ghcr.io:u:p")],
            "",
        ),
        (
            &[("AUTH_REGISTRIES", "git.example.com:u:p")],
            "[registries.\"reg.example.com\"]\n[registries.\"old.example.com\"]",
        ),
        (
            &[("AUTH_REGISTRIES", "ghcr.io:u:p quay.io:u:p")],
            "[registries.\"ghcr.io\"]\nauth = \"passthrough\"\n\
             [registries.\"quay.io\"]\nauth = \"configured\"\nusername = \"u\"\npassword_file = \"p\"",
        ),
    ] {
        let _ = writeln!(text, "<<<\n{variables:?}\n{file}\n>>>");
        match load_text(std::path::Path::new("docxy.toml"), file, &environment(variables)) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    let _ = writeln!(text, "{warning}");
                }
            }
            Err(problems) => {
                let _ = writeln!(text, "{problems}");
            }
        }
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn values_that_do_not_go_together() {
    // Each value is fine alone; only together they make a proxy that does not do what was meant.
    insta::assert_snapshot!(said(&[
        "listen = []",
        "listen = [\"127.0.0.1:443\"]\n[tls]\nlisten = [\"127.0.0.1:443\"]\ncertificates = [{ cert = \"c\", key = \"k\" }]",
        "listen = [{ address = \"0.0.0.0:80\", proxy_protocol = true }]",
        "[tls]\nlisten = [\"0.0.0.0:443\"]",
        "[tls]\ncertificates = [{ cert = \"c\", key = \"k\" }]",
        "state_path = \"/var/lib/docxy/cache/../cache/state\"\n[cache]\npath = \"/var/lib/docxy/cache\"",
        "state_path = \"/srv/docxy\"\n[cache]\npath = \"/srv/docxy/cache\"",
        "metrics_listen = [\"127.0.0.1:5000\"]",
        "[timeouts]\nidle = \"0s\"",
        "[limits]\nmax_header_bytes = \"1KiB\"\nmax_header_fields = 3",
        "[log]\nlevel = \"verbose\"",
        "[log]\nlevel = \"inof\"",
        "[log]\nlevel = \"docxy=loud\"",
    ]));
}

#[test]
fn roads_that_lead_nowhere() {
    // A resolver or proxy that is silently not used is a pull past the wall, or into a liar's arms.
    insta::assert_snapshot!(said(&[
        "[network]\ndns = \"1.1.1.1\"",
        "[network]\ndns = [\"dns.google\", \"udp://1.1.1.1\", \"tls://1.1.1.1#8.8.8.8\", 53]",
        "[network]\ndns = [\"1.1.1.1\", \"1.0.0.1\", \"8.8.8.8\", \"8.8.4.4\", \"9.9.9.9\"]",
        "[registries.\"ghcr.io\"]\ndns = [\"https://\"]",
        "[network]\nproxy = []",
        "[network]\nproxy = [\"socks5h://10.0.0.1:1080\", \"ftp://proxy\", { ulr = \"http://proxy\" }]",
        "[network]\nproxy = [\"http://proxy.example.com:3128\", \"http://127.0.0.1:5000\"]",
        "[network]\nproxy = [\"http://a\", \"http://b\", \"http://c\", \"http://d\", \"http://e\", \"http://f\", \"http://g\", \"http://h\", \"direct\"]",
        "[registries.\"ghcr.io\"]\nclient_cert = \"client.crt\"",
        "[registries.\"ghcr.io\"]\nclient_key = \"client.key\"",
        "[registries.\"ghcr.io\"]\nserver_name = \"https://ghcr.io/\"",
        "[registries.\"ghcr.io\"]\nserver_name = \"10.0.0.1\"",
        "[registries.\"lan.example.com\"]\nurls = [\"http://lan.example.com\"]\nserver_name = \"other.example.com\"",
        "[network]\nproxy = [\"http://10.0.0.1\", \"socks5h://10.0.0.1\"]\n[registries.\"ghcr.io\"]\nserver_name = \"ghcr.example.com\"",
        "[parent]\nurl = \"https://far.example.com\"\nclient_cert = \"near.crt\"",
        "[parent]\nurl = \"http://far.example.com\"\nclient_cert = \"near.crt\"\nclient_key = \"near.key\"",
        "[parent]\nclient_key = \"near.key\"",
        "[tls]\nclient_ca_file = \"clients.pem\"",
        "listen = [\"0.0.0.0:80\"]\n[tls]\nlisten = [\"0.0.0.0:443\"]\ncertificates = [{ cert = \"c\", key = \"k\" }]\nclient_ca_file = \"clients.pem\"\nredirect_http = false",
        "listen = [\"0.0.0.0:80\"]\npublic_url = \"http://hub.example.com\"\n[tls]\nlisten = [\"0.0.0.0:443\"]\ncertificates = [{ cert = \"c\", key = \"k\" }]\nclient_ca_file = \"clients.pem\"",
    ]));
}

#[test]
fn roads_that_are_risky() {
    // What works but may not be meant is said at start: whom a list trusts, and who comes in without a certificate.
    let of = |text: &str| {
        let loaded = of_text(text).unwrap();
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        format!("<<<\n{text}\n>>>\n{}\n\n", warnings.join("\n"))
    };
    let said: String = [
        "[network]\ndns = [\"https://dns.google\", \"1.1.1.1\", \"1.1.1.1\"]",
        "[network]\nproxy = [\"http://a\", \"direct\", \"http://a\", \"direct\"]",
        "[network]\nproxy = [\"socks5://me:hunter2@a\", \"direct\"]",
        "[network]\nproxy = [\"http://10.0.0.1\", \"direct\"]\n[registries.\"ghcr.io\"]\nserver_name = \"ghcr.example.com\"",
        "listen = [\"0.0.0.0:80\"]\ntrusted_proxies = [\"10.0.0.5\"]\n[tls]\nlisten = [\"0.0.0.0:443\"]\ncertificates = [{ cert = \"c\", key = \"k\" }]\nclient_ca_file = \"clients.pem\"",
        "listen = [\"127.0.0.1:5000\"]\n[tls]\nlisten = [\"0.0.0.0:443\"]\ncertificates = [{ cert = \"c\", key = \"k\" }]\nclient_ca_file = \"clients.pem\"",
    ]
    .map(of)
    .concat();
    insta::assert_snapshot!(said);
}

#[test]
fn a_cache_that_can_not_work() {
    // A cache that quietly keeps nothing, or keeps what it must not, is found out weeks later.
    insta::assert_snapshot!(said(&[
        "[cache]\nmode = \"disk\"\nmax_size = \"1MiB\"",
        "[cache]\nmin_free = \"99999TiB\"\nmin_free = 3",
        "[cache]\nmin_free = \"9999999TiB\"",
        "[cache]\nmode = \"memory\"\npath = \"/dev/shm/docxy\"",
        "[cache]\ninactive = \"no\"",
        "[cache]\ninactive = \"90\"",
        "[cache]\ninactive = \"0s\"",
        "[cache]\nverify = \"scrub\"\nscrub_rate = 0",
        "[cache]\nverify = \"never\"",
        "[cache]\nrevalidate_timeout = \"0s\"",
        "[cache]\nmode = \"off\"\noffline = true",
        "[cache]\nmin_free_inodes = \"many\"",
        "[cache]\nmode = \"disk\"\nmax_size = \"10GiB\"\n[registries.\"ghcr.io\"]\ncache_quota = \"11GiB\"",
        "state_path = \"/var/cache/docxy/state\"\n[cache]\nmode = \"disk\"",
        "[cache]\nmode = \"disk\"\npath = \"/var/lib/docxy/./cache\"",
        "[cache]\nmode = \"disk\"\npath = \"/var\"",
        "[network]\nsegments = 0\nsegment_threshold = \"64KiB\"",
        "[registries.\"ghcr.io\"]\nmax_connections = 0",
        "[registries.\"ghcr.io\"]\nmax_connections = 2000",
    ]));
}

#[test]
fn tag_rules_that_can_not_be_meant() {
    // A rule that silently decides nothing leaves an operator with stale images, or with none while the registry is down.
    insta::assert_snapshot!(said(&[
        "[cache]\nfresh = \"1h\"",
        "[cache.tags]\ntag = \"v*\"",
        "[[cache.tags]]\ntags = \"v*\"",
        "[[cache.tags]]\ntag = \"(\"\nrepository = \"[a\"\nregistry = \"/(/\"",
        "[[cache.tags]]\ntag = [\"a\", \"b\"]",
        "[[cache.tags]]\ntag = \"\"",
        "[[cache.tags]]\nfresh = \"forever\"",
        "[[cache.tags]]\nfresh = \"10\"",
        "[[cache.tags]]\nfresh = true",
        "[[cache.tags]]\nstale = \"connect\"",
        "[[cache.tags]]\nstale = [\"connect\", \"500\", 429]",
        "[[cache.tags]]\n\n[[cache.tags]]\nfresh = \"never\"\nstale = [\"connect\"]",
        "[[cache.tags]]\nfresh = \"immutable\"\nstale_while_revalidate = \"1h\"",
        "[[cache.tags]]\nregistry = \"index.docker.io\"",
        "[[cache.tags]]\nregistry = \"GHCR.io\"",
        "[[cache.tags]]\nregistry = \"https://ghcr.io\"",
        "[[cache.tags]]\nregistry = \"r.example.com\"",
    ]));
}

#[test]
fn tag_rules_in_the_shade_of_others() {
    // The first match wins: a broad rule at the top makes those below it dead, which nobody sees by reading one of them.
    let text = "\
[[cache.tags]]
registry = \"ghcr.io\"
stale = [\"denied\"]

[[cache.tags]]
registry = \"quay.io\"
tag = \"v*\"

[[cache.tags]]
registry = \"ghcr.io\"
tag = \"v*\"
";
    let loaded = of_text(text).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn not_toml() {
    // A syntax error is reported where it is, and does not drag a tail of other messages behind it.
    insta::assert_snapshot!(said(&[
        "listen = [\"127.0.0.1:5000\"",
        "public_url = https://hub.example.com\n[cache\nmode = \"off\"",
        "[cache]\nmode = \"off\"\nmode = \"off\"",
    ]));
}

#[test]
fn everything_is_said_at_once() {
    // Whoever fixes a file wants one round, in the order of the file, and no message that only follows from another.
    let text = "\
lisen = [\"127.0.0.1:5000\"]
shared_max_age = 10

[tls]
listen = [\"0.0.0.0:443\"]
certificates = \"fullchain.pem\"

[cache]
mode = \"ram\"

[registries.\"ghcr.io\"]
auth = \"configured\"
";
    let mut sources = environment(&[("DOCXY__LOG__FORMAT", "xml")]);
    sources.flags.set.push("cache.max_size=big".to_owned());
    let problems = load_text(std::path::Path::new("/etc/docxy/docxy.toml"), text, &sources).unwrap_err();
    assert_eq!(problems.len(), 7);
    insta::assert_snapshot!(problems);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "(\\[(tls|cache|network|registries(\\.(\"ghcr\\.io\"|x))?)\\]\n|\
                 (listen|mode|hosts|proxy|urls|max_size|certificates|é) ?= ?\
                 (\"[a-zé:/@.0-9]{0,9}\"|[0-9.:-]{1,4}|\\[\"\\{\"\\]|\\{ url = \"a\" \\}|true|\\[)\n?|.){0,9}",
    ) {
        // Whatever stands in a file, an operator gets a message and exit code 1.
        let _ = of_text(&text);
    }

    #[test]
    fn no_variable_makes_it_panic(name in "(LISTEN|CACHE|REGISTRIES|GHCR_IO|URLS|__|_|é|\"){0,5}", value in ".{0,9}") {
        // The environment is written by templates that go wrong in every way.
        let _ = load(&environment(&[(&format!("DOCXY__{name}"), &value)]));
    }
}

#[test]
fn variables_and_flags() {
    // Containers are configured by environment alone: a variable that does nothing must not stay unnoticed.
    let variables = |variables: &[(&str, &str)]| said_of(&environment(variables));
    let said = [
        variables(&[("DOCXY__LISEN", "127.0.0.1:5000")]),
        variables(&[("DOCXY__MODE", "off")]),
        variables(&[("DOCXY__CACHE", "off")]),
        variables(&[("DOCXY__CACHE__MODE", "on")]),
        variables(&[("DOCXY__LISTEN", "127.0.0.1:5000,:80")]),
        variables(&[("DOCXY__LISTEN", "[127.0.0.1:5000]")]),
        variables(&[("DOCXY__TLS__REDIRECT_HTTP", "maybe")]),
        variables(&[("DOCXY____LISTEN", "127.0.0.1:5000")]),
        variables(&[("DOCXY__REGISTRIES__MY_REGISTRY__AUTH", "configured")]),
        variables(&[("DOCXY__REGISTRIES__GHCR_IO__AUHT", "configured")]),
        variables(&[("HTTPS_PROXY", "gopher://user:hunter2@p.example.com")]),
        variables(&[("all_proxy", "http://localhost:5000")]),
        variables(&[("DOCXY_CONFIG", "/nonexistent/docxy.toml")]),
        variables(&[("DOCXY_CERT_PATH", "/c.pem"), ("DOCXY_HTTP_PORT", "http")]),
        variables(&[("DOCXY_HTTPS_PORT", "8443")]),
        said_of(&with_set(&["cache.mode"])),
        said_of(&with_set(&["cache.mod=off"])),
        said_of(&with_set(&["tls=1", "tls.redirect_http=true"])),
    ];
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn warnings() {
    // What works but is risky is said once at start, loudly enough to be noticed.
    let text = "\
listen = [\"0.0.0.0:5000\"]
public_url = \"http://hub.example.com\"
trusted_proxies = [\"0.0.0.0/0\"]

[network]
proxy = \"http://user:hunter2@proxy.example.com:3128\"

[registries.\"ghcr.io\"]
auth = \"configured\"
username = \"u\"
password = \"hunter2\"

[registries.\"harbor.example.com\"]
urls = [\"http://harbor.example.com\"]
tls_verify = false
auth = \"configured\"
exec = [\"helper\"]
";
    let loaded = of_text(text).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}
