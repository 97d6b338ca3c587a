//! `tests/bench/run`: the relay's speed beside what people would use instead.

fn main() -> std::process::ExitCode {
    bastion_tests::bench::main()
}
