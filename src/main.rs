use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    vostro::cli::run().await
}
