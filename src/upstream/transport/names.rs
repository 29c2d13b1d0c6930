//! Who is asked for the addresses of a name (`network.dns`): one server after the other, in the order of the
//! configuration. One that does not answer is asked last for a while; one that has no answer for a single name (SERVFAIL,
//! REFUSED) is not, because the fault is mostly the name's.
//!
//! The order is a preference: what the first server says is believed, also that a name does not exist. Only where it
//! says nothing (no answer in time, no connection, a wrong certificate, SERVFAIL, REFUSED) is the next one asked. DNS
//! over TLS and HTTPS are for networks where plain answers are lies; a list that ends with a plain server or `system`
//! trusts that one too.
//!
//! Servers are asked directly, never through a proxy. Their addresses are not judged (naming them is the permission);
//! those they answer are, by whoever asked.

mod server;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::server::{Server, Unanswered};
use super::standing::Standing;
use crate::config::values::DnsServer;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one is asked: the system's resolver where this is empty.
    pub servers: Vec<DnsServer>,
    /// For the names of servers that say no address themselves.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// `false`: IPv6 addresses are not asked for.
    pub ipv6: bool,
    /// Whom to trust as a server over TLS or HTTPS.
    pub tls: rustls::ClientConfig,
    /// The time limit of a whole connection. All servers together take four fifths of it at most, each its share.
    pub connect: Duration,
}

/// Clones share connections, answers that may be kept, and what was learnt about servers.
#[derive(Clone, Debug)]
pub struct Names {
    servers: Arc<[(Server, Standing)]>,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookUpError {
    /// A server said so.
    #[error("{server} knows no address of it")]
    NotFound { server: String },
    /// Each server with its reason.
    #[error("{0}")]
    Unanswered(String),
}

impl Config {
    pub fn build(mut self) -> Names {
        if self.servers.is_empty() {
            self.servers.push(DnsServer::System);
        }
        let share = match self.servers[..] {
            // It has time limits, and an order, of its own.
            [DnsServer::System] => self.connect,
            _ => self.connect * 4 / 5 / u32::try_from(self.servers.len()).unwrap_or(u32::MAX),
        };
        let servers = self.servers.iter();
        Names {
            servers: servers
                .map(|server| (Server::new(server, share, &self), Standing::default()))
                .collect(),
        }
    }
}

impl Names {
    /// As the servers said it, IPv6 first.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, LookUpError> {
        let mut reasons = Vec::new();
        let mut rested = Vec::new();
        for (server, standing) in self.servers.iter() {
            if !standing.is_well() && !standing.may_be_tried() {
                rested.push((server, standing));
            } else if let Some(answer) = ask(server, standing, name, &mut reasons).await {
                return answer;
            }
        }
        for (server, standing) in rested {
            if let Some(answer) = ask(server, standing, name, &mut reasons).await {
                return answer;
            }
        }
        Err(LookUpError::Unanswered(reasons.join("; ")))
    }
}

/// `None`: another one may know; the reason was noted.
async fn ask(
    server: &Server,
    standing: &Standing,
    name: &str,
    reasons: &mut Vec<String>,
) -> Option<Result<Vec<IpAddr>, LookUpError>> {
    let answer = match server.look_up(name).await {
        Ok(found) => Some(Ok(found)),
        Err(Unanswered::NotFound) => Some(Err(LookUpError::NotFound {
            server: server.to_string(),
        })),
        Err(Unanswered::Failed(reason)) => {
            if standing.failed() {
                tracing::warn!(dns = %server, "the DNS server does not answer ({reason}); others are asked first for a while");
            }
            reasons.push(format!("{server}: {reason}"));
            return None;
        }
        Err(Unanswered::Refused(reason)) => {
            reasons.push(format!("{server}: {reason}"));
            None
        }
    };
    if standing.worked() {
        tracing::info!(dns = %server, "the DNS server answers again");
    }
    answer
}
