//! The distribution API as clients see it through docxy: complete, exact, and stricter than a sloppy upstream (P1 to P9).

mod base;
mod blobs;
mod caching;
mod head;
mod headers;
mod http2;
mod https;
mod manifests;
mod predecessor;
mod redirects;
mod referrers;
mod secure;
mod tags;
