//! The well-known registries (features R3).
