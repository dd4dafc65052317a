//! The gateway.

use std::process::ExitCode;

use marquee_common::BoxError;
use marquee_gateway::{app::App, config::Config};

fn main() -> ExitCode {
    marquee_common::server::main("gateway", async |config: Config| {
        App::build(config)?.run().await?;
        Ok::<_, BoxError>(())
    })
}
