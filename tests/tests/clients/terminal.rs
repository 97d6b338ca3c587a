//! A program in a terminal of ours: `scripts/terminal.py` types, resizes and looks.

use crate::desk::scripts;
use bastion_tests::world::{Answer, World, finish};
use std::process::Command;

/// Runs the login of a client in a terminal; exits as the login did, or fails with what was seen.
pub fn converse(world: &World, client: &Command) -> Answer {
    let script = scripts().join("terminal.py").display().to_string();
    let mut command = world.program("python3", &[&script]);
    // The script ends what hangs; `timeout`, its three words and the terminal do not go together.
    command.args(client.get_args().skip(3));
    for (name, value) in client.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    finish(command, &[])
}
