//! Where traces go, if anywhere.

use crate::config::Schema;
use crate::telemetry::{Metrics, Traces};

#[cfg(feature = "otlp")]
pub use with::start;
#[cfg(not(feature = "otlp"))]
pub use without::start;

/// The way out for spans, and who sends them.
#[derive(Default)]
pub struct Exporting {
    traces: Traces,
    #[cfg(feature = "otlp")]
    exporter: Option<crate::telemetry::otlp::Exporter>,
}

impl Exporting {
    pub fn traces(&self) -> &Traces {
        &self.traces
    }
}

#[cfg(feature = "otlp")]
mod with {
    use anyhow::{Context, Result};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Exporting, Metrics, Schema};
    use crate::telemetry::otlp;
    use crate::tls::trust::{Roots, Trust};

    /// Within the runtime.
    pub fn start(schema: &Schema, metrics: &Metrics) -> Result<Exporting> {
        let Some(endpoint) = &schema.otlp.endpoint else {
            return Ok(Exporting::default());
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &schema.otlp.headers {
            let key = || format!("otlp.headers.{name}");
            let mut value = HeaderValue::from_str(value.expose()).with_context(key)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).with_context(key)?, value);
        }
        let trust = Trust {
            ca_file: None,
            verify: true,
        };
        let config = otlp::Config {
            endpoint: endpoint.clone(),
            headers,
            service_name: schema.otlp.service_name.clone(),
            share: schema.otlp.sample.millionths(),
            tls: Roots::load().client_config(&trust).context("otlp.endpoint")?,
        };
        let (traces, exporter) = config.start(metrics.clone())?;
        Ok(Exporting {
            traces,
            exporter: Some(exporter),
        })
    }

    impl Exporting {
        /// What waits is sent, for a few seconds at most.
        pub async fn finish(self) {
            if let Some(exporter) = self.exporter {
                exporter.finish().await;
            }
        }
    }
}

#[cfg(not(feature = "otlp"))]
mod without {
    use anyhow::{Result, bail};

    use super::{Exporting, Metrics, Schema};

    pub fn start(schema: &Schema, _: &Metrics) -> Result<Exporting> {
        if schema.otlp.endpoint.is_some() {
            bail!(
                "otlp.endpoint: this docxy was built without traces (cargo feature otlp); take the key out"
            );
        }
        Ok(Exporting::default())
    }

    impl Exporting {
        #[expect(clippy::unused_async, reason = "as the other one")]
        pub async fn finish(self) {}
    }
}
