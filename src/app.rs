//! The composition root.

/// Serves until a signal ends it.
pub fn run(_: crate::config::load::Loaded) -> anyhow::Result<()> {
    Ok(())
}
