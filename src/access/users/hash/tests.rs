use super::*;

fn stored(text: &str) -> Stored {
    Stored::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn hashes_made_elsewhere_are_right_for_their_password_alone() {
    // Whoever brings a password file must not have to make it again. The vectors are those of the functions' own
    // authors: crypt_blowfish's, jBCrypt's, the reference implementation's of argon2, and what Debian's `argon2` prints.
    let vectors: [(&str, &[u8]); 10] = [
        (
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            b"U*U",
        ),
        (
            "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            b"U*U",
        ),
        (
            "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            b"U*U",
        ),
        (
            "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
            b"a",
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            b"password",
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            b"password",
        ),
        (
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
            b"password",
        ),
        (
            "$argon2id$v=19$m=4096,t=3,p=1$ZDQxZWY2ODJiZGRlY2M5OA$x44EhewCufDG0lgUH9QCOCxuRtQ6nsUHZoQPkPFOS1U",
            b"secret",
        ),
        (
            "$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHQ$81oYhH8xFRfXB1pqT2mEm0GdXrL4DFQrB2zbvR+6NBE",
            b"secret",
        ),
        (
            "$argon2i$v=16$m=64,t=1,p=2$c2FsdHNhbHQ$O7qGGD9JVtRbFsHX9B4hb8ddSuOIUWByRuNn6U57CXo",
            b"secret",
        ),
    ];
    for (text, password) in vectors {
        let stored = stored(text);
        assert_eq!(stored.check(password), Checked::Right, "{text}");
        for wrong in [b"".as_slice(), b"x", b"Password", &[password, b"x"].concat()] {
            assert_eq!(stored.check(wrong), Checked::Wrong, "{text}");
        }
    }
}

#[test]
fn bcrypt_never_takes_a_part_of_a_password_for_the_whole() {
    // bcrypt reads 72 bytes and repeats what is shorter after a zero byte: `a` and `a\0a` have the same hash, as have
    // all passwords that begin with the same 72 bytes.
    let stored = |password: &[u8]| stored(&bcrypt::hash(password, 4).expect("a hash"));
    let long = [b'a'; 73];
    assert_eq!(stored(&long[..72]).check(&long[..72]), Checked::Right);
    assert_eq!(stored(&long[..72]).check(&long), Checked::TooLong);
    assert_eq!(stored(&long).check(&long), Checked::TooLong);
    assert_eq!(stored(&long[..71]).check(&long), Checked::Wrong);
    assert!(bcrypt::verify(b"a\0a", &bcrypt::hash(b"a", 4).expect("a hash")).expect("checked"));
    assert_eq!(stored(b"a").check(b"a\0a"), Checked::Wrong);
    assert_eq!(stored(b"a\0a").check(b"a\0a"), Checked::Wrong);
    let bytes: Vec<u8> = (1..=72).map(|byte| byte * 3).collect();
    assert_eq!(stored(&bytes).check(&bytes), Checked::Right);
}

#[test]
fn a_file_cannot_make_one_sign_in_keep_the_machine_busy() {
    // Whoever may change the file, or copies a line from a page about strong hashing, must not stop all pulls.
    let argon2 = |parameters: &str| format!("$argon2id$v=19${parameters}$c29tZXNhbHQ${}", "A".repeat(43));
    let allowed = [
        "m=8,t=1,p=1",
        "m=65536,t=3,p=4",
        "m=262144,t=4,p=1",
        "m=4096,t=16,p=16",
    ];
    for parameters in allowed {
        stored(&argon2(parameters));
    }
    stored(
        &Cost::Bcrypt { cost: 16 }
            .decoy()
            .map(|decoy| decoy.text().expose().clone())
            .expect("a hash"),
    );
    let refused = [
        argon2("m=262145,t=1,p=1"),
        argon2("m=4294967295,t=1,p=1"),
        argon2("m=8,t=17,p=1"),
        argon2("m=8,t=4294967295,p=1"),
        argon2("m=1024,t=1,p=17"),
        argon2("m=262144,t=5,p=1"),
        format!("$2b$17${}", ".".repeat(53)),
        format!("$2b$31${}", ".".repeat(53)),
        format!("$2b$99${}", ".".repeat(53)),
    ];
    for text in refused {
        let error = Stored::parse(&text).expect_err(&text);
        assert!(matches!(error, Unusable::TooCostly { .. }), "{text}: {error}");
    }
}

#[test]
fn what_is_no_strong_hash_is_refused_without_showing_it() {
    // An operator with an old file must learn what to do, and a password in plain text must not get into the log.
    for (text, says) in [
        ("", "no hash"),
        ("$apr1$gO/N0Hs4$9yTQICURmEvPBSzBRmjeD1", "MD5"),
        ("{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "SHA-1"),
        ("$6$Jb748TXrp$g.5h7wIv", "SHA-512"),
        (
            "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2x$",
        ),
        ("VnDJ05MwXxclY", "does not know"),
        ("hunter2", "does not know"),
        (
            "$argon2x$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "does not know",
        ),
        (
            "$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "v=19",
        ),
        (
            "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "version 18",
        ),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "ends early"),
        (
            "$argon2id$v=19$m=256,t=2,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "argon2",
        ),
        (
            "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvy",
            "bcrypt",
        ),
        (
            "$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "below 4",
        ),
        (
            "$2y$0x$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "bcrypt",
        ),
    ] {
        let error = Stored::parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert!(text.is_empty() || !error.contains(text), "{error}");
    }
}

#[test]
fn a_decoy_costs_what_it_stands_for_and_is_nobodys() {
    // Threat S7: a name that does not exist must run what one that exists runs.
    let costs = [
        Cost::Bcrypt { cost: 4 },
        Cost::Argon2 {
            variant: Variant::I,
            version: 16,
            memory: 64,
            passes: 2,
            lanes: 2,
        },
        Cost::Argon2 {
            variant: Variant::D,
            version: 19,
            memory: 32,
            passes: 1,
            lanes: 1,
        },
    ];
    for cost in costs {
        let decoy = cost.decoy().expect("a decoy");
        assert_eq!(decoy.cost(), cost);
        assert_eq!(stored(decoy.text().expose()).cost(), cost);
        assert_eq!(decoy.check(b"password"), Checked::Wrong, "{cost:?}");
    }
}
