use std::path::Path;

use proptest::prelude::*;

use super::*;

/// The variables with their lines, and what was said about the rest.
fn read(text: &str) -> (Vec<(String, String, String)>, Vec<String>) {
    let mut draft = Draft::default();
    let file = SourceFile::new(Path::new("x.env"));
    let list = parse(text, &file, |name| name != "X" && name != "POSTGRES", &mut draft);
    let place = |spot: &Spot| spot.origin.to_string();
    let list = list
        .into_iter()
        .map(|it| (it.name, it.value, place(&it.spot)))
        .collect();
    let said = draft.problems.iter().map(ToString::to_string);
    let said = said
        .chain(draft.warnings().iter().map(ToString::to_string))
        .collect();
    (list, said)
}

fn values(text: &str) -> Vec<(String, String)> {
    let (list, said) = read(text);
    assert_eq!(said, Vec::<String>::new(), "{text}");
    list.into_iter().map(|(name, value, _)| (name, value)).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn the_forms_that_people_keep_variables_in() {
    // Whoever moves has one of these files; which one is not his problem.
    assert_eq!(
        values("# the proxy\nREGISTRIES=quay.io gcr.io\r\n\n  EMPTY=\nA=it's # kept $5\n"),
        [
            pair("REGISTRIES", "quay.io gcr.io"),
            pair("EMPTY", ""),
            pair("A", "it's # kept $5")
        ]
    );
    assert_eq!(
        values("export REGISTRIES=\"quay.io gcr.io\" # ours\nexport A='a $b'\"\\\"c\\$\"\nexport B=b c\n"),
        [
            pair("REGISTRIES", "quay.io gcr.io"),
            pair("A", "a $b\"c$"),
            pair("B", "b")
        ]
    );
    assert_eq!(
        values("REGISTRIES='a\nb'\nB=1\n"),
        [pair("REGISTRIES", "a\nb"), pair("B", "1")]
    );
    let compose = "services:\n  web:\n    environment:\n      - X=1\n  proxy:\n    image: x\n    environment:\n      \
                   REGISTRIES: 'a b'\n      PRICE: \"$$5\"\n      ON: true\n";
    assert_eq!(
        values(compose),
        [pair("REGISTRIES", "a b"), pair("PRICE", "$5"), pair("ON", "true")]
    );
    assert_eq!(
        values("environment:\n  - REGISTRIES=a b\n  - B=c=d\n"),
        [pair("REGISTRIES", "a b"), pair("B", "c=d")]
    );
    let pod = "spec:\n  containers:\n    - name: p\n      env:\n        - name: REGISTRIES\n          value: a\n        - name: B\n          value: \"1\"\n";
    assert_eq!(values(pod), [pair("REGISTRIES", "a"), pair("B", "1")]);
}

#[test]
fn mistakes_have_lines_and_no_values() {
    // Somebody with a long file must find the line, and a screen that others see must not show the password (S12).
    for (text, expected) in [
        ("A=1\nCANARY x\n", "x.env:2:1: is not NAME=VALUE"),
        ("A=1\n\nB=\"CANARY\n", "x.env:3:1: B: its quote is never closed"),
        (
            "B=\"a$(cat CANARY)\"\n",
            "x.env:1:1: B: its value is made by a shell",
        ),
        ("export B=$CANARY\n", "x.env:1:1: B: its value is made by a shell"),
        (
            "B='x' CANARY\n",
            "x.env:1:1: B: there is text behind its closing quote",
        ),
        ("1B=CANARY\n", "x.env:1:1: is not NAME=VALUE"),
        ("X=CANARY\n", "x.env:1:1: holds no variable of this tool's"),
        (
            "environment:\n  - X=CANARY\n",
            "x.env:1:1: holds no variable of this tool's",
        ),
        (
            "environment:\n  REGISTRIES: \"${CANARY}\"\n",
            "x.env:2:1: REGISTRIES: its value is put together by compose",
        ),
        (
            "a:\n  environment: {REGISTRIES: 1}\nb:\n  environment: {REGISTRIES: 2}\n",
            "x.env:4:16: a second container",
        ),
        ("environment:\n  REGISTRIES: 'x\n", "x.env:"),
        (
            "environment:\n  REGISTRIES: [a]\n",
            "x.env:2:1: REGISTRIES: expected a text, found a list",
        ),
    ] {
        let (_, said) = read(text);
        let said = said.join("\n");
        let column_free = expected.replace("4:16", "4:1");
        assert!(
            said.starts_with(expected) || said.starts_with(&column_free),
            "{text:?}: {said}"
        );
        assert!(!said.contains("CANARY"), "{said}");
    }
}

#[test]
fn what_is_not_in_the_file_is_said() {
    // A password that came from the shell is missed at the first pull otherwise.
    let (list, said) = read("REGISTRIES=a\nAUTH_REGISTRIES\nREGISTRIES=b\n");
    assert_eq!(
        list[0],
        ("REGISTRIES".to_owned(), "b".to_owned(), "x.env:3".to_owned())
    );
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("x.env:2:1: AUTH_REGISTRIES: its value is not in the file"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("x.env:1:1: REGISTRIES: is written twice"),
        "{said:?}"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        entries in prop::collection::btree_map("[A-WYZ_][A-Z0-9_]{0,8}", "[ -~\n]{0,24}", 1..6),
    ) {
        // Whatever is in a value, quotes and line breaks too: single quotes as a shell wants them.
        let line = |(name, value): (&String, &String)| {
            let quoted = value.replace('\'', "'\"'\"'");
            format!("export {name}='{quoted}'\n")
        };
        let text = entries.iter().map(line).collect::<Vec<_>>().concat();
        let expected: Vec<_> = entries.into_iter().collect();
        let mut found = values(&text);
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn dockers_own_lines_are_taken_as_they_are(value in "([!#-&(-~]([ -~]*[!-~])?)?") {
        prop_assert_eq!(values(&format!("A={value}\n")), [pair("A", &value)]);
    }

    #[test]
    fn no_text_makes_it_stumble(text in "\\PC{0,60}", more in "[\"'=\\\\$`\n: #-]{0,20}") {
        let _ = read(&format!("{text}{more}"));
        let _ = read(&format!("A={more}{text}\n{more}"));
        let _ = read(&format!("environment:\n  {text}{more}"));
    }
}
