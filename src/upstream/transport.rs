//! The road to a registry: names, addresses, proxies, TLS.
