//! The binary: parse, run, exit with the command's code.

fn main() -> std::process::ExitCode {
    bastion::cli::main()
}
