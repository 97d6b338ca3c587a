//! Measures the log: see tests/bench/LOG.md, and `bastion_tests::logbench`.

fn main() -> std::process::ExitCode {
    bastion_tests::logbench::main()
}
