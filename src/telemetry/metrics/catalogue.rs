//! Every metric: its name as it is told, its type, its labels, its help. docs/metrics.md says the same, and a test
//! compares. Labels hold words of closed sets (`words`) and names of the configuration: no repository, tag, address or
//! user, because whoever can choose a label's value can fill an operator's memory.

/// One metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Counters end in `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// Without a full stop.
    pub help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! catalogue {
    ($($list:ident { $($constant:ident $kind:ident $name:literal $labels:expr, $help:literal;)+ })+) => {
        $($(
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &$labels,
                help: $help,
            };
        )+)+

        $(
            pub const $list: &[Metric] = &[$($constant),+];
        )+
    };
}

catalogue! {
    OWN {

    // Clients
    REQUESTS Counter "docxy_requests_total" ["outcome", "kind", "status"],
        "Requests of clients";
    REGISTRY_REQUESTS Counter "docxy_registry_requests_total" ["registry", "outcome"],
        "Requests of clients for something of a registry";
    REQUEST_DURATION Histogram "docxy_request_duration_seconds" ["kind"],
        "From a request's head to the last byte of its answer, or to the client's leaving";
    FIRST_BYTE Histogram "docxy_first_byte_seconds" ["outcome"],
        "From a request's head to the first byte of its answer's body";
    BYTES Counter "docxy_bytes_total" ["source"],
        "Bytes of bodies sent to clients, by where they came from";
    REGISTRY_BYTES Counter "docxy_registry_bytes_total" ["registry", "source"],
        "Bytes of bodies sent to clients for something of a registry";
    PUSHED_BYTES Counter "docxy_pushed_bytes_total" [],
        "Bytes of bodies taken from clients that push";
    REFUSED Counter "docxy_refused_total" ["reason"],
        "Requests turned away before anything was looked up";
    DENIED Counter "docxy_denied_total" ["reason"],
        "Requests of clients that may not have what they asked for, or have to sign in first";
    AUTH_FAILURES Counter "docxy_auth_failures_total" ["reason"],
        "Sign-ins that came to nothing";
    CONNECTIONS Gauge "docxy_connections_open" [],
        "Connections of clients";

    // The cache's way to be filled
    FILLS Counter "docxy_fills_total" ["ending"],
        "Downloads into the cache, by how they ended";
    RESUMES Counter "docxy_resumes_total" [],
        "Downloads that broke and went on from the byte they had reached";
    SEGMENTS Counter "docxy_segments_total" [],
        "Further connections for large blobs";
    RETRIES Counter "docxy_retries_total" [],
        "Requests for blobs that were tried again";
    MIRRORED Counter "docxy_mirrored_total" ["kind"],
        "Blobs and manifests that came from a mirror, wholly or in part";
    PULLED_BYTES Counter "docxy_pulled_bytes_total" ["kind"],
        "Bytes of blobs and manifests fetched from registries";

    // Registries
    UPSTREAM_REQUESTS Counter "docxy_upstream_requests_total" ["registry", "to", "status"],
        "Requests that docxy made";
    UPSTREAM_LATENCY Histogram "docxy_upstream_latency_seconds" ["registry", "to"],
        "From a request that docxy makes to the head of its answer";
    UPSTREAM_HEALTHY Gauge "docxy_upstream_healthy" ["registry", "url"],
        "1: it answered when it was last asked, or was not asked yet; 0: it could not be reached, or did not answer in time";
    TOKENS Counter "docxy_token_fetches_total" ["registry", "result"],
        "Tokens asked of registries' token services";
    RATE_LIMITED Counter "docxy_upstream_rate_limited_total" ["registry"],
        "Answers of 429";
    QUOTA_LIMIT Gauge "docxy_upstream_quota_limit" ["registry", "credential"],
        "Pulls that a registry allows a credential";
    QUOTA_REMAINING Gauge "docxy_upstream_quota_remaining" ["registry", "credential"],
        "Pulls that are left of them, as the registry said last";
    QUOTA_RESET Gauge "docxy_upstream_quota_reset_seconds" ["registry", "credential"],
        "Time until all of them are back at the latest";
    WITHDRAWN Counter "docxy_repositories_withdrawn_total" ["why"],
        "Repositories that were public and are so no more";

    // The cache
    CACHE_BYTES Gauge "docxy_cache_bytes" [],
        "Bytes of all cached blobs";
    CACHE_CAPACITY Gauge "docxy_cache_capacity_bytes" [],
        "Bytes that the cache may have";
    CACHE_OBJECTS Gauge "docxy_cache_objects" [],
        "Number of cached blobs, manifests among them";
    CACHE_FREE Gauge "docxy_cache_free_bytes" [],
        "Bytes that are free on the cache's file system";
    CACHE_FLOOR Gauge "docxy_cache_min_free_bytes" [],
        "Bytes that docxy leaves free there";
    CACHE_REGISTRY_BYTES Gauge "docxy_cache_registry_bytes" ["registry"],
        "Bytes of stored blobs that count to a registry's quota";
    CACHE_REGISTRY_QUOTA Gauge "docxy_cache_registry_quota_bytes" ["registry"],
        "A registry's quota of the cache";
    EVICTIONS Counter "docxy_evictions_total" ["reason"],
        "Blobs removed";
    INTEGRITY_FAILURES Counter "docxy_integrity_failures_total" ["place"],
        "Wrong bytes, by where they were found";
    DISK_ERRORS Counter "docxy_disk_errors_total" [],
        "Calls of the cache that the disk refused";

    // docxy itself
    CERTIFICATE_EXPIRY Gauge "docxy_certificate_expiry_timestamp_seconds" ["place", "name"],
        "When a certificate that docxy shows, or signs with, ends, in seconds since 1970";
    ACME_ORDERS Counter "docxy_acme_orders_total" ["result"],
        "Certificates ordered of an ACME authority";
    RELOADS Counter "docxy_config_reloads_total" ["result"],
        "Reloads of the configuration";
    RELOAD_SUCCESSFUL Gauge "docxy_config_last_reload_successful" [],
        "1: the last reload was taken, or there was none; 0: it was refused, and the configuration before it counts";
    RELOADED_AT Gauge "docxy_config_last_reload_success_timestamp_seconds" [],
        "When the configuration that counts was taken, in seconds since 1970";
    HAND_OVERS Counter "docxy_hand_overs_total" ["result"],
        "Hand-overs from one process to the next";
    SPANS Counter "docxy_trace_spans_total" ["result"],
        "Spans of traces";
    BUILD Gauge "docxy_build_info" ["version"],
        "1, with the version that runs";

    // The process, by the names that every exporter has
    CPU Counter "process_cpu_seconds_total" [],
        "Processor time in user and system mode";
    RESIDENT Gauge "process_resident_memory_bytes" [],
        "Resident memory";
    VIRTUAL Gauge "process_virtual_memory_bytes" [],
        "Virtual memory";
    OPEN_FILES Gauge "process_open_fds" [],
        "Open file descriptors";
    MAX_FILES Gauge "process_max_fds" [],
        "File descriptors that the process may have";
    STARTED Gauge "process_start_time_seconds" [],
        "When the process began, in seconds since 1970";

    }

    // With `metrics_aliases`: what distribution's proxy tells (registry/proxy/proxymetrics.go), for dashboards made for it
    ALIASES {
    ALIAS_REQUESTS Counter "registry_proxy_requests_total" ["type"],
        "The number of total incoming proxy request received";
    ALIAS_HITS Counter "registry_proxy_hits_total" ["type"],
        "The number of total proxy request hits";
    ALIAS_MISSES Counter "registry_proxy_misses_total" ["type"],
        "The number of total proxy request misses";
    ALIAS_PULLED Counter "registry_proxy_pulled_bytes_total" ["type"],
        "The size of total bytes pulled from the upstream";
    ALIAS_PUSHED Counter "registry_proxy_pushed_bytes_total" ["type"],
        "The size of total bytes pushed to the client";
    }
}

impl Kind {
    /// As `OpenMetrics` calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}
