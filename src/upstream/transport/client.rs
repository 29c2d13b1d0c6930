//! The HTTP clients of one road: the usual one, and one for each host that is to see a certificate of ours or is asked
//! for under another name.

use std::time::Duration;

use http::HeaderValue;
use http::header::HOST;
use url::Url;

use super::dial::NoteDials;
use super::resolver::{Alias, Resolver, Rules, canonical};
use super::{BuildError, Call, Config, OwnTls, host_and_port};
use crate::upstream::place::Origin;

/// Idle connections are closed before common servers close them (60 to 75 s), so that few requests meet a dead one.
const POOL_IDLE: Duration = Duration::from_secs(50);

#[derive(Clone, Debug)]
pub(super) struct Clients {
    usual: reqwest::Client,
    own: Vec<Own>,
}

#[derive(Clone, Debug)]
struct Own {
    origin: Origin,
    server_name: Option<String>,
    client: reqwest::Client,
}

impl Clients {
    /// `proxy` holds its password. What `own` asks for is left out where the road can't do it; see [`Clients::prepare`].
    pub fn build(
        config: &Config,
        rules: &Rules,
        proxy: Option<&Url>,
        takes_other_names: bool,
    ) -> Result<Self, BuildError> {
        let one = |rules: Rules, tls: &rustls::ClientConfig| {
            client(config, Resolver::new(rules, config.names.clone()), tls, proxy)
        };
        let own = config
            .own_tls
            .iter()
            .filter(|own| takes_other_names || own.server_name.is_none())
            .map(|own| {
                let mut rules = rules.clone();
                rules.alias = own.alias();
                Ok(Own {
                    origin: Origin::of(&own.url),
                    server_name: own.server_name.clone(),
                    client: one(rules, &own.tls)?,
                })
            })
            .collect::<Result<_, BuildError>>()?;
        Ok(Self {
            usual: one(rules.clone(), &config.tls)?,
            own,
        })
    }

    /// The request, to be sent by its right client.
    pub fn prepare(&self, call: &Call) -> reqwest::RequestBuilder {
        let origin = Origin::of(&call.url);
        let Some(own) = self.own.iter().find(|own| own.origin == origin) else {
            return self.usual.request(call.method.clone(), call.url.clone());
        };
        let mut url = call.url.clone();
        let mut host = None;
        if let Some(name) = &own.server_name
            && url.set_host(Some(name)).is_ok()
        {
            // Dialled is what the alias of this client's resolver says; Host stays what the url says.
            host = HeaderValue::from_str(&host_and_port(&call.url)).ok();
        }
        let request = own.client.request(call.method.clone(), url);
        match host {
            Some(host) => request.header(HOST, host),
            None => request,
        }
    }
}

impl OwnTls {
    fn alias(&self) -> Option<Alias> {
        Some(Alias {
            name: canonical(self.server_name.as_deref()?),
            host: canonical(self.url.host_str()?),
        })
    }
}

fn client(
    config: &Config,
    resolver: Resolver,
    tls: &rustls::ClientConfig,
    proxy: Option<&Url>,
) -> Result<reqwest::Client, BuildError> {
    let failed = |error: reqwest::Error| BuildError::Client {
        registry: config.registry.clone(),
        // The URL of such an error may be the proxy's, with its password.
        reason: error.without_url().to_string(),
    };
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .connector_layer(NoteDials)
        .connect_timeout(config.timeouts.connect)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(config.max_idle_connections)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30));
    if let Some(url) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(url.clone()).map_err(failed)?);
    }
    builder.build().map_err(failed)
}
