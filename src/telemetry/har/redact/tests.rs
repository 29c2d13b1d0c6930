use super::*;

fn shown_header(name: &'static str, value: &str) -> String {
    let mut map = HeaderMap::new();
    map.insert(name, HeaderValue::from_str(value).unwrap());
    headers(&map, &mut Seen::default()).remove(0).value
}

#[test]
fn headers_show_what_is_harmless_and_nothing_else() {
    // Whoever sends a recording to strangers: a header that nobody thought of must not carry a secret out.
    for (name, value, shown) in [
        ("authorization", "Bearer CANARY", "Bearer ***"),
        ("authorization", "CANARY", "***"),
        ("authorization", "CANARY CANARY", "***"),
        ("proxy-authorization", "Basic CANARY", "Basic ***"),
        ("cookie", "a=CANARY", "***"),
        ("set-cookie", "a=CANARY; Secure", "***"),
        ("x-registry-auth", "CANARY", "***"),
        ("x-amz-security-token", "CANARY", "***"),
        ("docker-upload-uuid", "CANARY", "***"),
        ("x-forwarded-access-token", "CANARY", "***"),
        ("x-forwarded-for", "192.0.2.1", "192.0.2.1"),
        (
            "location",
            "https://u:CANARY@cdn.test:8443/CANARY/x?sig=CANARY",
            "https://cdn.test:8443/***?***",
        ),
        ("location", "/v2/a/blobs/uploads/CANARY", "/***"),
        (
            "link",
            "</v2/a/tags/list?n=2&last=b&cursor=CANARY>; rel=\"next\"",
            "</v2/a/tags/list?n=2&last=b&cursor=***>; rel=\"next\"",
        ),
        (
            "www-authenticate",
            "Bearer realm=\"https://auth.test/token\",service=\"r\"",
            "Bearer realm=\"https://auth.test/token\",service=\"r\"",
        ),
        (
            "www-authenticate",
            "Bearer realm=\"https://auth.test/token?key=CANARY\"",
            "Bearer realm=\"https://auth.test/token?key=***\"",
        ),
        ("ratelimit-remaining", "20;w=21600", "20;w=21600"),
        ("accept", "text/html, */*;q=0.1", "text/html, */*;q=0.1"),
        ("user-agent", "docker/29 (a; b?)", "docker/29 (a; b?)"),
    ] {
        assert_eq!(shown_header(name, value), shown, "{name}: {value}");
    }
}

#[test]
fn urls_show_no_signature() {
    // A signed URL opens somebody's blob for as long as it lives (S12).
    let mut seen = Seen::default();
    let url = Url::parse(
        "https://u:CANARY@auth.test/token?service=r&scope=repository:a/b:pull&account=ann&x=CANARY",
    )
    .unwrap();
    let (text, fields) = own(&url, &mut seen);
    assert_eq!(
        text,
        "https://auth.test/token?service=r&scope=repository%3Aa%2Fb%3Apull&account=ann&x=***"
    );
    assert_eq!(fields.len(), 4);
    assert_eq!(elsewhere(&url), "https://auth.test/***?***");
    let (text, _) = with_query(
        "http://hub/v2/a/blobs/uploads/CANARY",
        Some("digest=sha256:1&CANARY"),
        &mut seen,
    );
    assert_eq!(
        text,
        "http://hub/v2/a/blobs/uploads/***?digest=sha256%3A1&***=***"
    );
    assert_eq!(seen.hide("once more: CANARY"), "once more: ***");
}

#[test]
fn json_keeps_its_bytes_where_there_is_nothing_to_hide() {
    // Whoever compares a digest with a recorded manifest.
    let manifest = br#"{ "schemaVersion":2,  "config":{"size":1} , "annotations":{"url":"https://a/b"}}"#;
    assert_eq!(json(manifest, &mut Seen::default()).unwrap().as_bytes(), manifest);
}

#[test]
fn json_hides_tokens_and_what_repeats_them() {
    // A token answer is most of what a fault with signing in is about.
    let mut seen = Seen::default();
    let text = json(
        br#"{"token":"CANARY-1","access_token":"CANARY-2","expires_in":300,"RefreshToken":["CANARY-3"],
            "other":"eyJCANARY.CANARYCANARYCANARYCANARYCANARYCANARY.x","urls":["https://cdn/b?sig=CANARY-4"]}"#,
        &mut seen,
    )
    .unwrap();
    assert!(!text.contains("CANARY") && text.contains("300"), "{text}");
    assert_eq!(seen.hide("a CANARY-1 b CANARY-3"), "a *** b ***");
    assert_eq!(json(b"{", &mut seen), None);
}

#[test]
fn json_hides_what_a_second_field_of_the_name_covers() {
    // Whoever sends a recording to strangers: a parser sees the last of two fields, a reader both.
    for text in [
        r#"{"token":"CANARY","token":null}"#,
        r#"[1,{"a":{"tok\u0065n":["CANARY"],"b":-1.5,"token":7}}]"#,
        r#"{"DB_PWD":"CANARY"}"#,
    ] {
        let shown = json(text.as_bytes(), &mut Seen::default()).unwrap();
        assert!(!shown.contains("CANARY"), "{text}: {shown}");
    }
}

#[test]
fn what_was_shown_as_basic_is_hidden_in_all_its_forms() {
    // Some registries repeat the password, decoded, in their error.
    let mut seen = Seen::default();
    let mut map = HeaderMap::new();
    map.insert(
        header::AUTHORIZATION,
        HeaderValue::from_static("Basic YW5uOkNBTkFSWTpY"),
    );
    headers(&map, &mut seen);
    assert_eq!(
        seen.hide("ann:CANARY:X, CANARY:X, YW5uOkNBTkFSWTpY"),
        "***, ***, ***"
    );
}
