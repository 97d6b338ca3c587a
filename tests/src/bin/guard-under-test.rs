//! The guard's binary, built with the tests.

fn main() -> std::process::ExitCode {
    bastion_guard::main(std::env::args_os().skip(1))
}
