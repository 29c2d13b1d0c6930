//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    docxy::cli::run(std::env::args_os())
}
