//! What is said about how docxy is.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use super::upstreams::Health as UpstreamHealth;

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    pub status: Status,
    pub version: String,
    pub process: u32,
    pub started_at: Time,
    /// Seconds.
    pub uptime: u64,
    pub listeners: Vec<Listening>,
    /// None where docxy only forwards.
    pub cache: Option<CacheHealth>,
    /// By registry; those that are enabled.
    pub upstreams: Vec<RegistryHealth>,
    /// That docxy shows to its clients.
    pub certificates: Vec<Certificate>,
    /// Of the configuration.
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Serving,
    /// It takes no new connections and finishes what is under way.
    Draining,
    /// The same, while another process serves in its place.
    HandedOver,
}

/// What clients connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Listener)]
pub struct Listening {
    #[schema(value_type = String)]
    pub address: SocketAddr,
    pub tls: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CacheHealth {
    pub folder: String,
    pub bytes: u64,
    pub max_size: u64,
    pub blobs: u64,
    /// Bytes that the filesystem still takes; none where it does not tell, or takes longer than a second to.
    pub free: Option<u64>,
}

/// The first of a registry's places that is not well says how the registry is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RegistryHealth {
    pub registry: String,
    pub health: UpstreamHealth,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    pub names: Vec<String>,
    pub issuer: String,
    pub not_before: Time,
    pub expires_at: Time,
    /// Seconds; 0 when it has expired.
    pub expires_in: u64,
}
