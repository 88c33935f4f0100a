//! keepalived's flags in, exit code out; see `vipd::cli::vipd`.

fn main() -> std::process::ExitCode {
    vipd::cli::vipd::main()
}
