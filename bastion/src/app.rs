//! What a running bastion is made of.

/// A deployment that runs.
pub struct App {}

/// Runs the gateway of a deployment until `stop` resolves.
pub async fn serve(
    config: crate::config::Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), std::io::Error> {
    drop(stop);
    Err(std::io::Error::other(format!("{} cannot be served yet", config.origin)))
}
