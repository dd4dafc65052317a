//! The stream service's process.

use std::process::ExitCode;

use marquee_common::{server, telemetry};
use marquee_stream::{app::App, config::Config};

fn main() -> ExitCode {
    server::main("stream", async |config: Config| {
        let telemetry = telemetry::init("stream", &config.log);
        App::build(config, telemetry).await?.run().await
    })
}
