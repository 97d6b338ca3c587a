//! What the process says about itself, on standard error: text or JSON lines.
//!
//! This is for those who run the gateway. Nothing that must not be missed stands here only: that
//! is in the log. No secret and no free text of people is ever traced.

use crate::config::Tracing;
use tracing_subscriber::{EnvFilter, fmt};

/// Starts tracing as configured; `RUST_LOG` goes before the configured filter. A second start in
/// the same process changes nothing.
pub fn start(config: &Tracing) {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&config.filter))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let to_stderr = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if config.json {
        to_stderr.json().with_current_span(true).try_init()
    } else {
        to_stderr.with_ansi(false).try_init()
    };
    // The demo and tests start several gateways in one process; the first start counts.
    if started.is_err() {
        ::tracing::debug!("tracing was started before");
    }
}
