//! The ways out: directly, or through a proxy. Where the configuration lists several, one that fails is passed over and the
//! next one takes over; only what the list names is ever taken.
//!
//! A road is blamed on evidence: when the next one brought an answer to the same request, by all registries; when a body that
//! it carried broke, or no answer came to a request that it took, by this registry alone, whose own fault it may be. If no
//! road brings an answer it is the registry that is not there, and the order stays as it was. A road that rests is tried
//! again in the background, by a request of our own, while requests come by.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Method, Response};
use url::Url;

use super::client::Clients;
use super::proxy::{Proxy, ProxyConfig};
use super::resolver::Rules;
use super::standing::Standing;
use super::{BuildError, Call, Config, Load, NamedBy, Transport};
use crate::oci::RegistryName;
use crate::telemetry::metrics::Hop;
use crate::upstream::failure::{Cause, Failure, Phase};
use crate::upstream::place::Origin;

/// Which proxies can be used at all, for all registries: one that failed for one is passed over for all.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    known: Arc<Mutex<HashMap<String, Arc<Standing>>>>,
}

impl Proxies {
    fn standing_of(&self, proxy: &Proxy) -> Arc<Standing> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(proxy.to_string()).or_default().clone()
    }
}

/// One way out.
#[derive(Debug)]
pub(super) struct Road {
    /// `None`: directly.
    pub proxy: Option<Proxy>,
    pub clients: Clients,
    /// Of the proxy, which others use too.
    standing: Arc<Standing>,
    /// What became of requests that it took for this registry.
    here: Arc<Standing>,
}

/// All that one registry may take.
#[derive(Clone, Debug)]
pub(super) struct Roads {
    config: Option<ProxyConfig>,
    all: Arc<[Road]>,
}

/// The road that a body comes over, where there are others.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Trail {
    here: Arc<Standing>,
}

impl Trail {
    /// The body broke, or stood still for too long: whoever asks for its rest takes another road first.
    pub fn broke(&self) {
        self.here.failed();
    }
}

impl Road {
    /// `rules` are those of the direct road.
    pub fn build(config: &Config, rules: &Rules, proxy: Option<&Proxy>) -> Result<Self, BuildError> {
        let Some(proxy) = proxy else {
            return Ok(Self {
                proxy: None,
                clients: Clients::build(config, rules, None, true)?,
                standing: Arc::default(),
                here: Arc::default(),
            });
        };
        let url = proxy.url().map_err(|reason| BuildError::Proxy {
            registry: config.registry.clone(),
            reason,
        })?;
        let rules = Rules {
            exempt: proxy.name(),
            v4_first: proxy.resolves_here(),
            ..rules.clone()
        };
        Ok(Self {
            proxy: Some(proxy.clone()),
            clients: Clients::build(config, &rules, Some(&url), proxy.resolves_here())?,
            standing: config.proxies.standing_of(proxy),
            here: Arc::default(),
        })
    }

    /// A proxy that is told a name would go where that leads, which is not where the url does.
    pub fn takes_other_names(&self) -> bool {
        self.proxy.as_ref().is_none_or(Proxy::resolves_here)
    }

    fn is_well(&self) -> bool {
        self.standing.is_well() && self.here.is_well()
    }

    /// A rest is over, and this caller finds out.
    fn may_be_tried(&self) -> bool {
        // Both, so that what is due is not put off by the other.
        self.standing.may_be_tried() | self.here.may_be_tried()
    }

    fn worked(&self, registry: &RegistryName) {
        self.here.worked();
        if self.standing.worked() {
            tracing::info!(%registry, road = %self, "an outbound road works again");
        }
    }

    fn failed(&self, registry: &RegistryName, failure: &Failure, instead: &Self) {
        if self.standing.failed() {
            tracing::warn!(%registry, road = %self, %instead, "an outbound road is passed over for a while: {failure}");
        }
    }
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => write!(f, "through {proxy}"),
            None => f.write_str("directly"),
        }
    }
}

impl Roads {
    pub fn build(config: &Config, rules: &Rules) -> Result<Self, BuildError> {
        let mut all = vec![Road::build(config, rules, None)?];
        for proxy in config.proxy.iter().flat_map(ProxyConfig::proxies) {
            all.push(Road::build(config, rules, Some(proxy))?);
        }
        Ok(Self {
            config: config.proxy.clone(),
            all: all.into(),
        })
    }

    /// Those that may be taken to `url`, in the order of the configuration. Never directly what was meant for a proxy.
    fn to(&self, url: &Url) -> Vec<&Road> {
        let wanted = match &self.config {
            Some(config) => config.routes(url),
            None => vec![None],
        };
        let built = wanted
            .into_iter()
            .filter_map(|wanted| self.all.iter().find(|road| road.proxy.as_ref() == wanted));
        built.collect()
    }
}

impl Transport {
    /// The answer's header; the body is still to come.
    pub(super) async fn exchange_somehow(&self, call: &Call) -> Result<Response<reqwest::Body>, Failure> {
        let roads = self.able(self.roads.to(&call.url), call);
        match roads[..] {
            [] => Err(self.not_askable("its proxy was not built")),
            // Boxed: what everybody awaits inside of much else should be small.
            [only] => Box::pin(self.send_over(only, call)).await,
            _ => Box::pin(self.exchange_over(&roads, call)).await,
        }
    }

    /// Without those that can't reach a host with a `server_name`; where none can, all of them, so that it is said why.
    fn able<'a>(&self, roads: Vec<&'a Road>, call: &Call) -> Vec<&'a Road> {
        if !self.named_otherwise.contains(&Origin::of(&call.url)) {
            return roads;
        }
        let able: Vec<_> = roads
            .iter()
            .copied()
            .filter(|road| road.takes_other_names())
            .collect();
        if able.is_empty() { roads } else { able }
    }

    async fn exchange_over(&self, roads: &[&Road], call: &Call) -> Result<Response<reqwest::Body>, Failure> {
        self.try_those_that_rest(roads, call);
        let (well, resting): (Vec<&Road>, Vec<&Road>) =
            roads.iter().copied().partition(|road| road.is_well());
        let mut failed: Vec<(&Road, Failure)> = Vec::new();
        for road in well.into_iter().chain(resting) {
            match self.send_over(road, call).await {
                Ok(mut answer) => {
                    road.worked(&self.registry);
                    for (other, failure) in &failed {
                        other.failed(&self.registry, failure, road);
                    }
                    answer.extensions_mut().insert(Trail {
                        here: road.here.clone(),
                    });
                    return Ok(answer);
                }
                Err(failure) if may_go_on(&failure, call) => {
                    tracing::debug!(registry = %self.registry, %road, "this road did not lead there: {failure}");
                    failed.push((road, failure));
                }
                Err(failure) => {
                    if is_silence(&failure) {
                        road.here.failed();
                    }
                    return Err(failure);
                }
            }
        }
        Err(self.no_road(call, failed))
    }

    /// Roads that would be taken first, if they worked. A registry's own host is asked, never a storage on its word.
    fn try_those_that_rest(&self, roads: &[&Road], call: &Call) {
        if call.named_by != NamedBy::Configuration || roads.iter().all(|road| !road.is_well()) {
            return;
        }
        for road in roads {
            let Some(index) = self.roads.all.iter().position(|one| std::ptr::eq(one, *road)) else {
                continue;
            };
            if !road.may_be_tried() {
                continue;
            }
            let this = self.clone();
            let mut url = call.url.clone();
            url.set_path("/v2/");
            url.set_query(None);
            let probe = Call {
                method: Method::HEAD,
                url,
                headers: HeaderMap::new(),
                body: Load::Nothing,
                named_by: NamedBy::Configuration,
                hop: Hop::Registry,
                at_location: false,
            };
            tokio::spawn(async move {
                let road = &this.roads.all[index];
                if this.send_over(road, &probe).await.is_ok() {
                    road.worked(&this.registry);
                }
            });
        }
    }

    /// What is told when none led there: the one reason, or all of them.
    fn no_road(&self, call: &Call, mut failed: Vec<(&Road, Failure)>) -> Failure {
        let all_late = failed.iter().all(|(_, failure)| failure.timed_out());
        if (failed.len() == 1 || all_late)
            && let Some((_, failure)) = failed.pop()
        {
            return failure;
        }
        let reasons: Vec<String> = failed
            .iter()
            .map(|(road, failure)| match failure {
                Failure::Unreachable { cause, .. } => match cause {
                    Cause::Proxy { .. } => cause.to_string(),
                    other => format!("{road}: {other}"),
                },
                other => format!("{road}: {other}"),
            })
            .collect();
        Failure::Unreachable {
            registry: self.registry.clone(),
            host: super::host_and_port(&call.url),
            cause: Cause::NoRoad(reasons.join("; ")),
        }
    }
}

/// The request never left, or it is one that may be repeated: another road may be tried.
fn may_go_on(failure: &Failure, call: &Call) -> bool {
    match failure {
        Failure::Unreachable {
            cause: Cause::Closed, ..
        } => call.body.may_repeat(),
        Failure::Unreachable { .. }
        | Failure::Timeout {
            phase: Phase::Connect,
            ..
        } => true,
        _ => false,
    }
}

/// It took the request and said nothing. The registry may be slow, or the proxy dead: the next request finds out.
fn is_silence(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Timeout {
            phase: Phase::Headers,
            ..
        }
    )
}
