//! Debian's Prometheus scrapes a docxy that serves, takes its rules, and answers questions about it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cache::support::{Cached, image_of};
use crate::support::{client::Request, within};

/// It is killed when this is dropped.
struct Prometheus {
    _child: Child,
    address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    async fn scraping(docxy: std::net::SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus/alerts.yml");
        let config = serde_json::json!({
            "global": { "scrape_interval": "200ms", "evaluation_interval": "200ms" },
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "docxy",
                "static_configs": [{ "targets": [docxy.to_string()] }],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus, of Debian's package of this name (ci/packages.txt)");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let said = line
                    .split_once("address=")
                    .filter(|_| line.contains("Listening on"));
                if let Some((_, address)) = said {
                    return address.split_whitespace().next().unwrap().parse().unwrap();
                }
            }
            panic!("prometheus ended before it listened");
        };
        let address = within("prometheus to listen", listening).await;
        // Its pipe must not fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            _child: child,
            address,
            _folder: folder,
        }
    }

    async fn api(&self, path: &str) -> Value {
        // It answers 503 while it begins.
        let begin = Instant::now();
        loop {
            let answer = Request::get(path).send(self.address).await;
            if answer.status == 200 {
                return answer.json()["data"].clone();
            }
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{path}: {}",
                answer.text()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The value of the only series that this expression has; none: it has none yet.
    async fn value(&self, expression: &str) -> Option<f64> {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let data = self.api(&format!("/api/v1/query?query={query}")).await;
        let result = data["result"].as_array()?;
        assert!(result.len() <= 1, "{expression}: {result:?}");
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    async fn until(&self, expression: &str, expected: f64) {
        let begin = Instant::now();
        loop {
            let seen = self.value(expression).await;
            if seen.is_some_and(|seen| (seen - expected).abs() < 1e-9) {
                return;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{expression} is {seen:?}, not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn prometheus_scrapes_docxy_and_takes_its_rules() {
    // What docxy writes must be what the program reads that nearly everybody has.
    let docxy = Cached::of(image_of(730, &[100_000]), "metrics_listen = [\"127.0.0.1:0\"]").await;
    let line = docxy
        .app
        .logged("the address of the metrics", |line| {
            line["fields"]["message"] == "metrics at /metrics"
        })
        .await;
    let metrics = line["fields"]["address"].as_str().unwrap().parse().unwrap();
    docxy.warm().await;
    docxy.pull_all().await;
    let prometheus = Prometheus::scraping(metrics).await;
    prometheus.until("up{job=\"docxy\"}", 1.0).await;
    // A manifest by tag, the configuration and one layer, each fetched once.
    prometheus
        .until("sum(docxy_requests_total{outcome=\"miss\"})", 3.0)
        .await;
    prometheus
        .until("sum(docxy_requests_total{kind=\"blob\",outcome=\"hit\"})", 2.0)
        .await;
    prometheus
        .until(
            "sum(docxy_first_byte_seconds_bucket{outcome=\"hit\",le=\"+Inf\"})",
            2.0,
        )
        .await;
    prometheus
        .until("docxy_upstream_healthy{registry=\"docker.io\"}", 1.0)
        .await;
    let targets = prometheus.api("/api/v1/targets").await;
    let target = &targets["activeTargets"][0];
    assert_eq!(target["lastError"], "", "{target}");
    let groups = prometheus.api("/api/v1/rules").await;
    let rules = groups["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 9);
    for rule in rules {
        // "unknown": its first turn has yet to come.
        assert_ne!(rule["health"], "err", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}
