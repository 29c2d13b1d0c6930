//! What is packaged for Prometheus and Grafana.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use docxy::telemetry::metrics::catalogue::{Kind, OWN};
use serde_json::Value;

const ALERTS: [&str; 8] = [
    "DocxyDown",
    "DocxyUpstreamDown",
    "DocxyQuotaLow",
    "DocxyDiskLow",
    "DocxyIntegrityFailure",
    "DocxyCertificateExpiring",
    "DocxyReloadFailed",
    "DocxyHitRatioDrop",
];

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(packaging(name)).unwrap()
}

/// Names of metrics in an expression; what a histogram's samples are called is the histogram's.
fn names(expression: &str) -> BTreeSet<String> {
    let is_part = |byte: char| byte.is_ascii_alphanumeric() || byte == '_' || byte == ':';
    expression
        .split(|byte| !is_part(byte))
        .map(|word| word.trim_end_matches(':'))
        .filter(|word| word.starts_with("docxy_") || word.starts_with("process_"))
        .map(|word| {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix));
            let is_histogram = |name: &&str| {
                OWN.iter()
                    .any(|metric| metric.kind == Kind::Histogram && metric.name == *name)
            };
            family.filter(is_histogram).unwrap_or(word).to_owned()
        })
        .collect()
}

#[track_caller]
fn assert_known(expression: &str) {
    for name in names(expression) {
        assert!(
            OWN.iter().any(|metric| metric.name == name),
            "no metric is called {name}, in {expression}"
        );
    }
}

/// All strings under these keys.
fn under<'a>(value: &'a Value, key: &str, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == key => into.push(text),
                    _ => under(field, key, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| under(value, key, into)),
        _ => {}
    }
}

#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(packaging("prometheus"))
        .output()
        .expect("promtool, of Debian's package prometheus (ci/packages.txt)");
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn alerts_are_taken_and_each_has_a_test() {
    // An alert that can't fire is worse than none: somebody relies on it.
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts.test.yml"]);
    let (rules, tests) = (read("prometheus/alerts.yml"), read("prometheus/alerts.test.yml"));
    let manual = include_str!("../../../docs/metrics.md");
    let blocks: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(blocks.len(), ALERTS.len());
    for (block, alert) in blocks.iter().zip(ALERTS) {
        assert!(block.starts_with(&format!("{alert}\n")), "{alert}: {block}");
        for key in ["summary: \"", "description: \"", "runbook: \"", "severity: "] {
            assert!(block.contains(key), "{alert} has no {key}");
        }
        assert!(manual.contains(&format!("| `{alert}` |")), "{alert}");
        let tested = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&tested), "{alert} is never seen to fire");
        let silent = format!("alertname: {alert}, exp_alerts: []");
        assert!(tests.contains(&silent), "{alert} is never seen to be silent");
    }
    assert_known(&rules);
    assert!(names(&rules).len() > 8);
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    // A panel that says "no data" teaches people to look away.
    let dashboard: Value = serde_json::from_str(&read("grafana/docxy.json")).unwrap();
    let mut expressions = Vec::new();
    under(&dashboard, "expr", &mut expressions);
    under(&dashboard, "query", &mut expressions);
    for expression in &expressions {
        assert_known(expression);
    }
    let asked: BTreeSet<String> = expressions
        .iter()
        .flat_map(|expression| names(expression))
        .collect();
    assert!(asked.len() > 25, "{asked:?}");
    let mut ids = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        ids.push(panel["id"].as_u64().unwrap());
        assert!(!panel["title"].as_str().unwrap().is_empty());
        if panel["type"] != "row" {
            assert!(
                !panel["targets"].as_array().unwrap().is_empty(),
                "{}",
                panel["title"]
            );
        }
    }
    let distinct: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn prometheus_can_read_every_expression_of_the_dashboard() {
    // Grafana shows a mistake in an expression only to who opens that panel.
    let dashboard: Value = serde_json::from_str(&read("grafana/docxy.json")).unwrap();
    let mut expressions = Vec::new();
    under(&dashboard, "expr", &mut expressions);
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| {
            let expression = expression
                .replace("$__rate_interval", "5m")
                .replace("$__range", "1h")
                .replace("$instance", ".*")
                .replace("$job", "docxy");
            serde_json::json!({ "record": format!("panel:{number}"), "expr": expression })
        })
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    // Each JSON is YAML, too.
    let groups = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()]);
}
