use proptest::prelude::*;

use super::*;

const ANN: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const BOB: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn read(files: &[(&str, &[u8])]) -> Result<Table, FileError> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| Content::of(path, bytes))
        .collect();
    Table::read(&files, &Keyed::new(&[7; 32]))
}

fn complaint(text: &str) -> String {
    read(&[("users", text.as_bytes())]).expect_err(text).to_string()
}

#[test]
fn files_are_read_as_people_and_editors_leave_them() {
    // Comments, blank lines, line ends of another system and a byte order mark are no mistakes.
    let text = format!("\u{feff}# ours\r\n\r\nann:{ANN}\r\n   \n  # team\nbob:{BOB} \r\nann b\u{e9}:{ANN}");
    let table = read(&[("a", text.as_bytes()), ("b", format!("carl:{ANN}").as_bytes())]).expect("a table");
    let mut names: Vec<_> = table.names().collect();
    names.sort_unstable();
    assert_eq!(names, ["ann", "ann b\u{e9}", "bob", "carl"]);
    assert_eq!(table.decoys().len(), 2);
    assert!(read(&[]).expect("no files").is_empty());
    assert!(read(&[("a", b"")]).expect("an empty file").is_empty());
}

#[test]
fn a_fingerprint_is_of_one_name_and_one_hash() {
    // A token of a user's ends with his password; and nobody has another's because their hashes are the same.
    let of = |text: String, name: &str| {
        let table = read(&[("a", text.as_bytes())]).expect("a table");
        table.entry(name).map(|entry| entry.fingerprint)
    };
    let ann = of(format!("ann:{ANN}"), "ann");
    assert_eq!(ann, of(format!("# moved\n\nbob:{BOB}\nann:{ANN}"), "ann"));
    assert_ne!(ann, of(format!("ann:{BOB}"), "ann"));
    assert_ne!(ann, of(format!("bob:{ANN}"), "bob"));
    assert_eq!(of(format!("ann:{ANN}"), "Ann"), None);
}

#[test]
fn a_bad_line_is_named_with_its_place_and_what_to_do() {
    // Whoever's docxy does not start must find the line, and no line may show a password.
    assert_eq!(
        complaint(&format!(
            "ann:{ANN}\n\n#\nbob:$apr1$gO/N0Hs4$9yTQICURmEvPBSzBRmjeD1"
        )),
        "users:4: \"bob\": the password is stored as MD5 ($apr1$), which is too easy to guess; make it anew with: \
         htpasswd -B FILE NAME"
    );
    for (text, place, says) in [
        ("hunter2", "users:1: ", "no colon"),
        ("ann:hunter2", "users:1: ", "plain text"),
        (":hunter2", "users:1: ", "no name"),
        ("a\u{1b}[2Jn:hunter2", "users:1: ", "control character"),
        (&format!("{}:hunter2", "n".repeat(256)), "users:1: ", "255 bytes"),
        (
            &format!("ann:{ANN}\nann:{BOB}"),
            "users:2: ",
            "\"ann\" is in users:1 already",
        ),
    ] {
        let complaint = complaint(text);
        assert!(
            complaint.starts_with(place) && complaint.contains(says),
            "{complaint}"
        );
        assert!(
            !complaint.contains("hunter2") && !complaint.contains('\u{1b}'),
            "{complaint}"
        );
    }
    let error = read(&[("a", format!("ann:{ANN}").as_bytes()), ("b", b"\xff:x")]).expect_err("not text");
    assert_eq!(error.to_string(), "b:1: is not UTF-8 text");
    let error = read(&[
        ("a", format!("ann:{ANN}").as_bytes()),
        ("b", format!("ann:{ANN}").as_bytes()),
    ]);
    assert!(
        error
            .expect_err("twice")
            .to_string()
            .starts_with("b:1: \"ann\" is in a:1 already")
    );
}

#[test]
fn a_mix_of_many_costs_is_refused() {
    // Every wrong password runs each of them once (threat S7): a file must not make that dear.
    let line = |cost: u32| format!("u{cost}:$2b${cost:02}${}\n", ".".repeat(53));
    let four: String = (4..8).map(line).collect();
    assert_eq!(
        read(&[("users", four.as_bytes())])
            .expect("a table")
            .decoys()
            .len(),
        4
    );
    let complaint = complaint(&format!("{four}{}", line(8)));
    assert!(
        complaint.starts_with("users:5: ") && complaint.contains("with one cost"),
        "{complaint}"
    );
}

proptest! {
    #[test]
    fn no_file_makes_it_panic_or_tell(
        name in "[a-z:# \u{1b}]{0,4}",
        kind in "(\\$2[abxy]\\$|\\$argon2(id|i|d)?\\$|\\{SHA\\}|\\$apr1\\$|)",
        middle in "(v=19\\$|v=16\\$|[0-9]{2}\\$|)(m=[0-9]{1,10},t=[0-9]{1,10},p=[0-9]{1,10}\\$|)",
        rest in "([./A-Za-z0-9]{0,70}|SECRET\\PC{0,60})",
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        // A damaged file, or one that an attacker may write to, stops neither the start nor a running docxy.
        let line = format!("{name}:{kind}{middle}{rest}\n");
        for bytes in [line.as_bytes(), &noise, &[line.as_bytes(), &noise].concat()] {
            if let Err(error) = read(&[("users", bytes)]) {
                let error = error.to_string();
                prop_assert!(error.starts_with("users:"), "{}", error);
                prop_assert!(!error.contains("SECRET"), "{}", error);
            }
        }
    }
}
