use super::*;

fn parse(lines: &[&str]) -> Result<Vec<Challenge>, ChallengeError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
    }
    Challenge::parse_all(&headers)
}

fn challenge(scheme: &str, params: &[(&str, &str)]) -> Challenge {
    Challenge {
        scheme: scheme.into(),
        params: params.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
    }
}

#[test]
fn reads_what_registries_send() {
    // The first thing every pull from every registry hangs on.
    let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/redis:pull,push""#;
    assert_eq!(
        parse(&[hub]),
        Ok(vec![challenge(
            "bearer",
            &[
                ("realm", "https://auth.docker.io/token"),
                ("service", "registry.docker.io"),
                ("scope", "repository:library/redis:pull,push"),
            ]
        )])
    );
    assert_eq!(
        parse(&[r#"BASIC Realm="a \"b\\c, d", charset=UTF-8"#]),
        Ok(vec![challenge(
            "basic",
            &[("realm", r#"a "b\c, d"#), ("charset", "UTF-8")]
        )])
    );
}

#[test]
fn reads_several_on_one_line_and_on_several() {
    // Harbor, Artifactory and proxies in front of them offer Basic beside Bearer, in either form.
    let both = Ok(vec![
        challenge("bearer", &[("realm", "x"), ("service", "y")]),
        challenge("negotiate", &[]),
        challenge("ntlm", &[("", "YWJj/+==")]),
        challenge("basic", &[("realm", "z")]),
    ]);
    assert_eq!(
        parse(&[r#"Bearer realm="x" , service = "y", Negotiate,, NTLM YWJj/+==, Basic realm=z"#]),
        both
    );
    assert_eq!(
        parse(&[
            r#"Bearer realm="x",service=y"#,
            "",
            "Negotiate, NTLM YWJj/+== ,",
            "basic   realm=\"z\""
        ]),
        both
    );
    assert_eq!(parse(&[]), Ok(vec![]));
}

#[test]
fn says_where_it_is_malformed() {
    // An operator who reads "malformed" must be told the place, and no half-read realm may be used.
    let syntax = |line, at, expected| Err(ChallengeError::Syntax { line, at, expected });
    for (lines, error) in [
        (&["realm=\"x\""][..], syntax(1, 1, "a scheme")),
        (&["Basic realm=\"x"], syntax(1, 15, "a closing quote")),
        (&["Basic realm=\"x\\"], syntax(1, 16, "a closing quote")),
        (&["Basic realm=Registry Realm"], syntax(1, 22, "a comma")),
        (&["Basic realm=\"x\" y=\"z\""], syntax(1, 17, "a comma")),
        (&["Basic", "Bearer realm=@"], syntax(2, 14, "a value")),
        (&["Bearer realm \"x\""], syntax(1, 13, "\"=\"")),
        (&["Bearer \"x\""], syntax(1, 8, "a parameter")),
        (
            &["Bearer realm=\"x\", @"],
            syntax(1, 19, "a scheme or a parameter"),
        ),
        (&["NTLM abc==, realm=x"], syntax(1, 13, "a scheme")),
        (&["Bearer@"], syntax(1, 7, "a comma")),
    ] {
        assert_eq!(parse(lines), error, "{lines:?}");
    }
    let mut headers = HeaderMap::new();
    let latin = HeaderValue::from_bytes(b"Basic realm=\"caf\xe9\"").unwrap();
    headers.append(header::WWW_AUTHENTICATE, latin);
    assert_eq!(Challenge::parse_all(&headers), syntax(1, 13, "a value in UTF-8"));
}

#[test]
fn refuses_a_parameter_that_comes_twice() {
    // Two realms: one reader takes the first, another the last, and a password goes to the wrong host (threat S1).
    assert_eq!(
        parse(&["Bearer realm=a, REALM=b"]),
        Err(ChallengeError::Repeated {
            scheme: "bearer".into(),
            name: "realm".into()
        })
    );
}

#[test]
fn is_bounded() {
    // A hostile upstream can't make the proxy hold thousands of parameters.
    let params = |n: usize| {
        format!(
            "X {}",
            (0..n).map(|i| format!("p{i}=v")).collect::<Vec<_>>().join(",")
        )
    };
    assert!(parse(&[&params(32)]).is_ok());
    assert_eq!(
        parse(&[&params(33)]),
        Err(ChallengeError::TooManyParams { scheme: "x".into() })
    );
    assert_eq!(parse(&["A"; 16]).map(|c| c.len()), Ok(16));
    assert_eq!(parse(&["A"; 17]), Err(ChallengeError::TooManyChallenges));
    assert_eq!(
        parse(&[&["A"; 17].join(",")]),
        Err(ChallengeError::TooManyChallenges)
    );
    let half = format!("A p=\"{}\"", "v".repeat(4090));
    assert_eq!(half.len(), 4096);
    assert!(parse(&[&half, &half]).is_ok());
    assert_eq!(parse(&[&half, &half, "A"]), Err(ChallengeError::TooLong));
}

#[test]
fn writes_challenges() {
    // Clients look for exactly `Bearer` and `Basic`, and need every value in quotes.
    let bearer = challenge(
        "bearer",
        &[("realm", "https://p/auth/token"), ("service", "a\"b\\c")],
    );
    assert_eq!(
        bearer.header().unwrap(),
        r#"Bearer realm="https://p/auth/token",service="a\"b\\c""#
    );
    assert_eq!(
        challenge("basic", &[("realm", "")]).header().unwrap(),
        r#"Basic realm="""#
    );
    assert_eq!(challenge("negotiate", &[]).header().unwrap(), "negotiate");
    assert_eq!(challenge("ntlm", &[("", "YQ==")]).header().unwrap(), "ntlm YQ==");
}

#[test]
fn never_writes_a_second_header() {
    // Response splitting: a line break in a realm or scope must be an error, not a header (threat S10).
    for bad in [
        challenge("bearer", &[("realm", "x\r\nSet-Cookie: y")]),
        challenge("bearer", &[("re alm", "x")]),
        challenge("bea rer", &[]),
        challenge("", &[]),
        challenge("ntlm", &[("", "a b")]),
        challenge("bearer", &[("", "a"), ("b", "c")]),
    ] {
        assert!(
            matches!(bad.header(), Err(ChallengeError::Unwritable(_))),
            "{bad:?}"
        );
    }
    assert!(matches!(
        challenge("bearer", &[("a", "1"), ("a", "2")]).header(),
        Err(ChallengeError::Repeated { .. })
    ));
}
