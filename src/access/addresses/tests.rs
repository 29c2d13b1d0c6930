use std::fs;
use std::path::Path;

use super::super::watched::Look;
use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    let parse = |text: &&str| -> IpNet { text.parse().expect("a network") };
    texts.iter().map(parse).collect()
}

fn of(allow: &[&str], deny: &[&str]) -> Addresses {
    Addresses::load(Config {
        allow: nets(allow),
        deny: nets(deny),
        ..Config::default()
    })
    .expect("lists")
}

/// `a` let in, `d` denied, `n` not allowed, in the order of the addresses.
fn judged(addresses: &Addresses, clients: &[&str]) -> String {
    clients
        .iter()
        .map(
            |client| match addresses.judge(client.parse().expect("an address")) {
                Ok(()) => 'a',
                Err(KeptOut::Denied) => 'd',
                Err(KeptOut::NotAllowed) => 'n',
            },
        )
        .collect()
}

#[test]
fn lists_let_in_and_keep_out_as_written() {
    // Whoever writes a network must get that network, in each spelling, with both its ends and nothing beside them.
    let clients = [
        "10.0.0.0",
        "10.255.255.255",
        "9.255.255.255",
        "11.0.0.0",
        "::ffff:10.1.2.3",
        "::ffff:11.1.2.3",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "::10.1.2.3",
    ];
    let table: [(&[&str], &[&str], &str); 13] = [
        (&[], &[], "aaaaaaaaaaaaaa"),
        (&["10.0.0.0/8"], &[], "aannannnnnnnnn"),
        (&["::ffff:10.0.0.0/104"], &[], "aannannnnnnnnn"),
        (&["2001:db8::/32"], &[], "nnnnnnaannnnnn"),
        (&[], &["10.0.0.0/8"], "ddaadaaaaaaaaa"),
        (&[], &["::ffff:a00:0/104"], "ddaadaaaaaaaaa"),
        (&[], &["0.0.0.0/0"], "ddddddaaaddaaa"),
        (&[], &["::/0"], "aaaaaadddaaddd"),
        (&["0.0.0.0/0", "::/0"], &[], "aaaaaaaaaaaaaa"),
        (&["10.0.0.0/8"], &["10.0.0.0/8"], "ddnndnnnnnnnnn"),
        (
            &["0.0.0.0/0"],
            &["10.255.0.0/16", "10.0.0.0/32"],
            "ddaaaannnaannn",
        ),
        // Networks within networks, and one beside the other.
        (
            &["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/32"],
            &[],
            "aanaannnnnnnnn",
        ),
        (
            &["10.0.0.0/9", "10.128.0.0/9", "::1/128"],
            &["10.1.2.3/32"],
            "aanndnnnnnnnan",
        ),
    ];
    let mut judgements = 0;
    for (allow, deny, expected) in table {
        assert_eq!(
            judged(&of(allow, deny), &clients),
            expected,
            "allow {allow:?} deny {deny:?} for {clients:?}"
        );
        judgements += clients.len();
    }
    println!("{judgements} judgements of {} lists", table.len());
}

#[test]
fn ranges_judge_as_a_walk_through_all_networks_does() {
    // A blocklist of thousands is looked up in sorted ranges; a slip there opens or closes whole networks.
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    // Few bits, so that they overlap, touch and repeat.
    let networks: Vec<IpNet> = (0..300)
        .map(|_| {
            let address = std::net::Ipv4Addr::from_bits((10 << 24) | (random() & 0xffff));
            let length = 20 + (random() % 13) as u8;
            IpNet::new(address.into(), length).expect("a network")
        })
        .collect();
    let ranges = Ranges::of(networks.clone());
    let mut inside = 0;
    for host in 0..=0xffff_u32 {
        let address = IpAddr::from(std::net::Ipv4Addr::from_bits((10 << 24) | host));
        let expected = networks.iter().any(|network| network.contains(&address));
        assert_eq!(ranges.contains(address), expected, "{address}");
        inside += u32::from(expected);
    }
    assert!((1000..64_000).contains(&inside), "{inside}");
    println!(
        "65536 addresses, {inside} of them inside {} ranges",
        ranges.v4.len()
    );
}

#[test]
fn files_are_read_with_comments_and_whatever_line_ends_they_have() {
    // Lists come from other systems, from editors and from scripts.
    let text = "\u{feff}# office\r\n10.0.0.0/8   # all of it\r\n\r\n  192.0.2.7#one\n\t2001:db8::/32\n2001:db8::1\n#10.0.0.0/8\n::ffff:198.51.100.0/120";
    let found = networks(&[], &[Content::of("list", text.as_bytes())]).expect("networks");
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "10.0.0.0/8",
            "192.0.2.7/32",
            "2001:db8::/32",
            "2001:db8::1/128",
            "::ffff:198.51.100.0/120"
        ]
    );
}

#[test]
fn a_line_that_is_no_network_is_named() {
    // Half a list of whom to deny is worse than none: the operator must hear of the line.
    let bad = [
        "10.0.0.0/33",
        "10.0.0",
        "10.0.0.0-10.0.0.9",
        "10.0.0.0 10.0.0.1",
        "example.com",
        "deny 10.0.0.0/8;",
        "10.0.0.0/255.0.0.0",
        "fe80::1%eth0",
        "2001:db8::/129",
        "[::1]",
        "*",
    ];
    for line in bad {
        let text = format!("# first\n192.0.2.1\n{line}\n");
        let error = networks(&[], &[Content::of("lists/denied", text.as_bytes())]).expect_err(line);
        assert_eq!(
            error.to_string(),
            "lists/denied:3: is neither a network such as 10.0.0.0/8 nor an address"
        );
    }
    let error = networks(&[], &[Content::of("denied", b"10.0.0.1\n\xff\xfe\n")]).expect_err("no text");
    assert_eq!(error.to_string(), "denied:2: is not UTF-8 text");
    println!("{} bad lines, each named", bad.len() + 1);
}

fn with_files(
    allow: &[&str],
    allow_file: Option<&Path>,
    deny_file: Option<&Path>,
) -> Result<Addresses, FileError> {
    Addresses::load(Config {
        allow: nets(allow),
        deny: Vec::new(),
        allow_files: allow_file.map(Path::to_owned).into_iter().collect(),
        deny_files: deny_file.map(Path::to_owned).into_iter().collect(),
    })
}

fn check(addresses: &Addresses) -> Look {
    addresses.0.as_ref().expect("lists").check()
}

#[test]
fn a_new_file_is_taken_and_a_bad_one_changes_nothing() {
    // An operator's slip in a list must neither open docxy to everybody nor close it to all.
    let folder = tempfile::tempdir().expect("a folder");
    let (allowed, denied) = (folder.path().join("allowed"), folder.path().join("denied"));
    fs::write(&allowed, "10.0.0.0/8\n").expect("written");
    fs::write(&denied, "10.6.0.0/16\n").expect("written");
    let addresses = with_files(&[], Some(&allowed), Some(&denied)).expect("lists");
    let clients = ["10.1.0.1", "10.6.0.1", "192.0.2.1"];
    assert_eq!(judged(&addresses, &clients), "adn");

    fs::write(&denied, "10.6.0.0/16\n10.1.0.0/16 # too\n").expect("written");
    assert_eq!(check(&addresses), Look::Taken);
    assert_eq!(judged(&addresses, &clients), "ddn");

    for bad in ["10.0.0.0/8\noops\n", "", "# nobody\n"] {
        fs::write(&allowed, bad).expect("written");
        assert_eq!(check(&addresses), Look::Refused, "{bad:?}");
        assert_eq!(judged(&addresses, &clients), "ddn", "{bad:?}");
    }
    // A list of whom to deny may be empty.
    fs::write(&allowed, "192.0.2.0/24").expect("written");
    fs::write(&denied, "").expect("written");
    assert_eq!(check(&addresses), Look::Taken);
    assert_eq!(judged(&addresses, &clients), "nna");
}

#[test]
fn a_file_that_allows_nobody_opens_nothing() {
    // A script that could not fetch the list leaves an empty file: that must not mean "everybody".
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("allowed");
    fs::write(&empty, "# to be filled\n").expect("written");
    let error = with_files(&[], Some(&empty), None)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("allowed: allows nobody") && error.contains("allow_address_files"),
        "{error}"
    );
    let addresses = with_files(&["10.0.0.0/8"], Some(&empty), None).expect("lists");
    assert_eq!(judged(&addresses, &["10.0.0.1", "192.0.2.1"]), "an");
}

#[test]
fn nothing_written_is_nothing_to_ask() {
    // Most run without lists: those pay nothing.
    assert!(!of(&[], &[]).is_on());
    assert!(of(&[], &["10.0.0.0/8"]).is_on());
}
