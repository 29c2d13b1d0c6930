//! Runs every file of the fuzz corpora through the same checks as the fuzz targets.

use super::checks;
use std::path::Path;

type Check = fn(&[u8]);

#[test]
fn every_file_of_the_corpora_holds() {
    // Whatever a fuzzer once found must never come back, also for those who have no nightly compiler.
    let targets: [(&str, Check); 12] = [
        ("challenge", checks::challenge),
        ("endpoint", checks::endpoint),
        ("error_body", checks::error_body),
        ("grant", checks::grant),
        ("import_files", checks::import_files),
        ("import_variables", checks::import_variables),
        ("manifest", checks::manifest),
        ("range", checks::range),
        ("registry_name", checks::registry_name),
        ("scope", checks::scope),
        ("sealed", checks::sealed),
        ("token_scope", checks::token_scope),
    ];
    for (target, check) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let files: Vec<_> = std::fs::read_dir(&folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .unwrap();
        assert!(files.len() >= 10, "{target}: {} files", files.len());
        for file in &files {
            eprintln!("{}", file.path().display());
            check(&std::fs::read(file.path()).unwrap());
        }
        println!("{target}: {} files", files.len());
    }
}

#[test]
fn every_target_has_a_corpus_that_runs() {
    // A target added without its line above would be fuzzed, but its findings never tried again.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| {
        let mut names: Vec<_> = std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("fuzz_targets"), names("corpus"));
    assert_eq!(names("corpus").len(), 12);
}
