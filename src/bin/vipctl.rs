//! vipctl: see [`vipd::cli`].

fn main() -> std::process::ExitCode {
    vipd::cli::vipctl()
}
