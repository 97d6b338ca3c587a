//! The binary: what sshd runs for each certificate.

fn main() -> std::process::ExitCode {
    bastion_guard::main(std::env::args_os().skip(1))
}
