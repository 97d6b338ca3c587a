//! Randomness, drawn in one place. What is pure gets it as an argument.

/// The system has no randomness to give; nothing that needs an id or a key may go on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoEntropy;

/// Random bytes, for an id or a key.
pub fn draw<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}
