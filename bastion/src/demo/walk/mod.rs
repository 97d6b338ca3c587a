//! `bastion demo --walk`: the whole story, told with the real `ssh` and `ssh-keygen`.
//!
//! Chapters in order: an operator troubleshoots; data is refused; the customer consents; the data
//! is read; the customer withdraws; somebody steals the CA's key; the log tells all of it; nobody
//! can change the log unseen; the report. Each command can be pasted into a shell in the demo's
//! folder, and each answer is held against what was promised: the first that is not ends the story
//! with an error.

mod access;
mod evidence;
mod stage;

use super::error::DemoError;
pub use stage::Stage;

/// Tells the story; true when every step was as promised.
pub fn tell(stage: &Stage) -> Result<bool, DemoError> {
    println!("A bastion is up on loopback: {}.", stage.separation);
    println!("Every command below runs in {}, after `. ./env`.", stage.dir().display());
    access::troubleshooting(stage)?;
    let ticket = access::consent(stage)?;
    access::withdrawal(stage, &ticket)?;
    access::stolen_key(stage)?;
    evidence::queries(stage, &ticket)?;
    evidence::verification(stage)?;
    evidence::replay(stage)?;
    evidence::report(stage)?;
    println!("\nEvery step was as promised.");
    Ok(true)
}
