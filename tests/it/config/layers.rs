//! Which source wins, and that a value knows where it came from.

use std::time::Duration;

use docxy::config::{
    Loaded, load, load_text,
    schema::{AuthMode, Fresh, ProxyEntry, StaleOn},
    show,
};

use super::{environment, nothing, of_text};

const FILE: &str = "\
# two lines before the first key
listen = [\"127.0.0.1:1\"]
shared_max_age = \"2h\"
[log]
level = \"warn\"
[registries.\"ghcr.io\"]
auth = \"configured\"
username = \"file\"
password_file = \"ghcr.password\"
";

fn origin(loaded: &Loaded, key: &str) -> String {
    loaded.origins.of(key).to_string()
}

#[test]
fn flags_over_environment_over_file_over_default() {
    // An operator overrides for one run without touching the file, and check-config says which layer won.
    let mut sources = environment(&[
        ("DOCXY__LISTEN", "127.0.0.1:2"),
        ("DOCXY__LOG__LEVEL", "debug"),
        ("DOCXY__REGISTRIES__GHCR_IO__USERNAME", "variable"),
        ("DOCXY__REGISTRIES__registry.example.com__ENABLED", "no"),
    ]);
    sources.flags.listen = vec!["127.0.0.1:3".to_owned(), "[::1]:3".to_owned()];
    sources.flags.set = vec![
        "registries.\"ghcr.io\".challenge=always".to_owned(),
        "cache.max_size=\"1GiB\"".to_owned(),
    ];
    let loaded = load_text(std::path::Path::new("conf/docxy.toml"), FILE, &sources).unwrap();
    let schema = &loaded.schema;
    let listen: Vec<String> = schema
        .listen
        .iter()
        .map(|entry| entry.address.to_string())
        .collect();
    assert_eq!(listen, ["127.0.0.1:3", "[::1]:3"]);
    assert_eq!(schema.log.level, "debug");
    assert_eq!(schema.shared_max_age, Duration::from_hours(2));
    assert_eq!(schema.timeouts.connect, Duration::from_secs(5));
    let registry = |name: &str| {
        let found = schema.registries.iter().find(|(known, _)| known.as_str() == name);
        found.unwrap().1.clone()
    };
    let ghcr = registry("ghcr.io");
    assert_eq!(ghcr.auth, AuthMode::Configured);
    assert_eq!(ghcr.username.as_deref(), Some("variable"));
    assert_eq!(ghcr.password_file.unwrap().to_str(), Some("conf/ghcr.password"));
    assert_eq!(ghcr.urls[0].url.as_str(), "https://ghcr.io/");
    assert!(!registry("registry.example.com").enabled);
    assert_eq!(
        registry("registry.example.com").urls[0].url.as_str(),
        "https://registry.example.com/"
    );

    for (key, expected) in [
        ("listen", "flag --listen"),
        ("log.level", "environment DOCXY__LOG__LEVEL"),
        ("shared_max_age", "conf/docxy.toml:3"),
        ("timeouts.connect", "default"),
        ("cache.max_size", "flag --set cache.max_size"),
        ("registries.\"ghcr.io\".urls", "preset"),
        ("registries.\"ghcr.io\".auth", "conf/docxy.toml:7"),
        (
            "registries.\"ghcr.io\".username",
            "environment DOCXY__REGISTRIES__GHCR_IO__USERNAME",
        ),
        (
            "registries.\"ghcr.io\".challenge",
            "flag --set registries.\"ghcr.io\".challenge",
        ),
        ("registries.\"ghcr.io\".enabled", "default"),
    ] {
        assert_eq!(origin(&loaded, key), expected, "{key}");
    }
}

#[test]
fn zero_configuration() {
    // A new user types one word and gets every well-known registry on loopback.
    let loaded = load(&nothing()).unwrap();
    assert_eq!(loaded.file, None);
    assert_eq!(loaded.warnings, []);
    insta::assert_snapshot!(show::as_toml(&loaded));
}

#[test]
fn shown_configuration_loads_again() {
    // check-config's answer is pasted into files: it must mean what it was made from.
    let loaded = load_text(
        std::path::Path::new("docxy.toml"),
        "listen = [{ address = \"127.0.0.1:80\", proxy_protocol = true }]\ntrusted_proxies = [\"10.0.0.1\"]\n\
         [network]\nproxy = { url = \"socks5://p.example.com:1080\", no_proxy = [\"a.example.com\"], remote_dns = true }\n\
         hosts = { \"ghcr.io\" = [\"192.0.2.1\", \"2001:db8::1\"] }\n\
         [registries.\"harbor.example.com:8443\"]\naliases = [\"harbor\"]\nproxy = \"direct\"\n\
         urls = [\"https://harbor.example.com:8443\", { url = \"https://m.example.com/hub\", role = \"mirror\", \
         username = \"u\", password_file = \"/p\", realms = [\"a.example.com\"], tls_verify = false, proxy = \"none\" }]\n\
         mirrors_first = true\n\
         [cache]\ninactive = \"90d\"\n[[cache.tags]]\nregistry = \"ghcr.io\"\ntag = '/^v\\d+$/'\nfresh = \"1h\"\n\
         [[cache.tags]]\nfresh = \"immutable\"\nstale = []\n",
        &nothing(),
    )
    .unwrap();
    let shown = show::as_toml(&loaded);
    let again = of_text(&shown).unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
    assert_eq!(format!("{:?}", again.schema), format!("{:?}", loaded.schema));
}

#[test]
fn a_rule_knows_its_line() {
    // "Rule 2 decides" helps only whoever finds rule 2 in a long file.
    let loaded =
        of_text("[cache]\noffline = false\n\n[[cache.tags]]\ntag = \"a\"\n\n[[cache.tags]]\ntag = \"b\"\n")
            .unwrap();
    let line = |index| loaded.origins.of_item("cache.tags", index).to_string();
    assert_eq!(
        (line(0), line(1)),
        ("docxy.toml:4".to_owned(), "docxy.toml:7".to_owned())
    );
    let loaded = load(&environment(&[("DOCXY__CACHE__TAGS", "{ tag = \"a\" }")])).unwrap();
    let origin = loaded.origins.of_item("cache.tags", 0);
    assert_eq!(origin.to_string(), "environment DOCXY__CACHE__TAGS");
}

#[test]
fn a_preset_keeps_what_an_entry_does_not_name() {
    // Someone who gives Docker Hub a virtual host must not lose library/ or the token service.
    let loaded = of_text("[registries.\"docker.io\"]\nhosts = [\"Hub.example.com\"]").unwrap();
    let (_, hub) = loaded
        .schema
        .registries
        .iter()
        .find(|(name, _)| name.as_str() == "docker.io")
        .unwrap();
    assert_eq!(hub.hosts, ["hub.example.com"]);
    assert_eq!(hub.realms, ["auth.docker.io"]);
    assert!(hub.library_prefix);
    assert_eq!(hub.aliases.len(), 3);
}

#[test]
fn docxys_old_names_mean_the_same() {
    // A server that ran Docxy starts docxy with the same unit file and answers on the same ports.
    let standalone = load(&environment(&[
        ("DOCXY_CERT_PATH", "/c.pem"),
        ("DOCXY_KEY_PATH", "/k.pem"),
        ("DOCXY_HTTPS_PORT", "8443"),
    ]))
    .unwrap();
    assert_eq!(standalone.schema.listen[0].address.to_string(), "0.0.0.0:80");
    assert_eq!(
        standalone.schema.tls.listen[0].address.to_string(),
        "0.0.0.0:8443"
    );
    assert!(standalone.schema.tls.redirect_http);
    assert_eq!(origin(&standalone, "tls.listen"), "environment DOCXY_HTTPS_PORT");

    let behind = load(&environment(&[
        ("DOCXY_BEHIND_PROXY", "true"),
        ("DOCXY_HTTP_PORT", "9000"),
        ("DOCXY_CERT_PATH", "/c.pem"),
    ]))
    .unwrap();
    assert_eq!(behind.schema.listen[0].address.to_string(), "0.0.0.0:9000");
    assert!(behind.schema.tls.listen.is_empty());
    assert!(!behind.schema.tls.redirect_http);
    assert_eq!(behind.schema.trusted_proxies.len(), 6);
    let warnings: Vec<String> = behind.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));

    let cdn_origin = load(&environment(&[
        ("DOCXY_HTTPS_ENABLED", "false"),
        ("DOCXY_HTTP_PORT", "80"),
    ]))
    .unwrap();
    assert_eq!(cdn_origin.schema.listen[0].address.to_string(), "0.0.0.0:80");
    assert!(cdn_origin.schema.tls.listen.is_empty());
}

#[test]
fn newer_keys_win_over_docxys_old_names() {
    // Whoever has begun to write a file is not held back by a forgotten variable.
    let sources = environment(&[("DOCXY_HTTP_PORT", "80")]);
    let loaded = load_text(std::path::Path::new("docxy.toml"), FILE, &sources).unwrap();
    assert_eq!(loaded.schema.listen[0].address.to_string(), "127.0.0.1:1");
}

#[test]
fn kubernetes_service_links_are_not_docxys_old_names() {
    // A Service called docxy-http puts DOCXY_HTTP_PORT=tcp://... into every pod of its namespace.
    let sources = environment(&[
        ("DOCXY_HTTP_PORT", "tcp://10.0.0.1:80"),
        ("DOCXY_PORT", "tcp://10.0.0.1:5000"),
        ("DOCXY_SERVICE_HOST", "10.0.0.1"),
    ]);
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.schema.listen[0].address.to_string(), "127.0.0.1:5000");
    assert_eq!(loaded.warnings, []);
}

#[test]
fn empty_variables_count_as_unset() {
    // Compose files pass ${PUBLIC_URL:-} along.
    let loaded = load(&environment(&[
        ("DOCXY__PUBLIC_URL", ""),
        ("DOCXY_CONFIG", ""),
        ("HTTPS_PROXY", ""),
    ]))
    .unwrap();
    assert_eq!(loaded.schema.public_url, None);
    assert_eq!(loaded.schema.network.environment_proxies.https, None);
}

#[test]
fn variables_hold_lists_and_tables() {
    // Everything must be reachable from a container's environment.
    let loaded = load(&environment(&[
        ("DOCXY__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7"),
        (
            "DOCXY__LISTEN",
            "[\"127.0.0.1:1\", { address = \"127.0.0.1:2\", proxy_protocol = true }]",
        ),
        (
            "DOCXY__TLS__CERTIFICATES",
            "{ cert = \"/c.pem\", key = \"/k.pem\" }",
        ),
        ("DOCXY__TLS__LISTEN", "0.0.0.0:443"),
        ("DOCXY__NETWORK__HOSTS__ghcr.io", "192.0.2.1"),
        (
            "DOCXY__CACHE__TAGS",
            "[{ tag = \"v*\", fresh = \"immutable\" }, { stale = [\"429\"] }]",
        ),
        (
            "DOCXY__NETWORK__PROXY",
            "{ url = \"http://p.example.com\", remote_dns = true }",
        ),
        ("DOCXY__LIMITS__MAX_CONNECTIONS", "100"),
        ("DOCXY__LOG", "{ access = false }"),
        (
            "DOCXY__REGISTRIES__DOCKER_IO",
            "{ hosts = [\"hub.example.com\"] }",
        ),
    ]))
    .unwrap();
    assert!(!loaded.schema.log.access);
    let rules = &loaded.schema.cache.tags;
    assert_eq!((rules[0].fresh, rules.len()), (Fresh::Immutable, 2));
    assert_eq!(rules[1].stale, [StaleOn::RateLimited]);
    let hub = loaded
        .schema
        .registries
        .values()
        .find(|registry| !registry.hosts.is_empty());
    assert!(hub.unwrap().library_prefix);
    assert_eq!(loaded.schema.trusted_proxies.len(), 2);
    assert!(loaded.schema.listen[1].proxy_protocol);
    assert_eq!(loaded.schema.tls.certificates.len(), 1);
    assert_eq!(loaded.schema.network.hosts["ghcr.io"].len(), 1);
    assert_eq!(loaded.schema.limits.max_connections, 100);
    assert!(matches!(&loaded.schema.network.proxy, Some(ProxyEntry::Through(proxy)) if proxy.remote_dns));
}

#[test]
fn an_ipv6_listener_is_not_a_list() {
    // Brackets belong to the address; a flag must take what a URL takes.
    let mut sources = environment(&[("DOCXY__LISTEN", "[::]:5000")]);
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.schema.listen[0].address.to_string(), "[::]:5000");
    sources.flags.listen = vec!["[::1]:80".to_owned(), "127.0.0.1:80".to_owned()];
    assert_eq!(load(&sources).unwrap().schema.listen.len(), 2);
}

#[test]
fn the_usual_proxy_variables() {
    // In a company network docxy works as curl does, without a line of configuration.
    let loaded = load(&environment(&[
        ("HTTPS_PROXY", "http://upper.example.com:1"),
        ("https_proxy", "lower.example.com:2"),
        ("ALL_PROXY", "socks5h://me:p%40ss@all.example.com"),
        ("NO_PROXY", "localhost, .Example.com,10.0.0.0/8"),
    ]))
    .unwrap();
    let found = &loaded.schema.network.environment_proxies;
    let https = found.https.as_ref().unwrap();
    assert_eq!(
        (https.variable.as_str(), https.proxy.url.as_str()),
        ("https_proxy", "http://lower.example.com:2/")
    );
    let all = &found.all.as_ref().unwrap().proxy;
    assert_eq!(all.url.as_str(), "socks5h://all.example.com");
    assert_eq!(all.username.as_deref(), Some("me"));
    assert_eq!(all.password.as_ref().unwrap().expose(), "p@ss");
    // Who resolves is another question than who checks: only remote_dns = true switches the check off.
    assert!(!all.remote_dns);
    assert_eq!(found.no_proxy, ["localhost", ".example.com", "10.0.0.0/8"]);
    assert_eq!(found.http, None);
}

#[test]
fn the_well_known_registries_are_known() {
    // R3: what people can pull with no configuration at all; a typo in a URL here would be found by them.
    let schema = load(&nothing()).unwrap().schema;
    let known: Vec<(&str, &str)> = schema
        .registries
        .iter()
        .map(|(name, registry)| (name.as_str(), registry.urls[0].url.as_str()))
        .collect();
    assert_eq!(
        known,
        [
            ("docker.elastic.co", "https://docker.elastic.co/"),
            ("docker.io", "https://registry-1.docker.io/"),
            ("gcr.io", "https://gcr.io/"),
            ("ghcr.io", "https://ghcr.io/"),
            ("k8s.gcr.io", "https://k8s.gcr.io/"),
            ("mcr.microsoft.com", "https://mcr.microsoft.com/"),
            ("nvcr.io", "https://nvcr.io/"),
            ("public.ecr.aws", "https://public.ecr.aws/"),
            ("quay.io", "https://quay.io/"),
            ("registry.gitlab.com", "https://registry.gitlab.com/"),
            ("registry.k8s.io", "https://registry.k8s.io/"),
        ]
    );
}
