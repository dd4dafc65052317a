//! The transcoder.

use std::process::ExitCode;

use marquee_transcoder::{
    app::{App, RunError},
    config::Config,
};

fn main() -> ExitCode {
    marquee_common::server::main("transcoder", async |config: Config| {
        App::build(config).await?.run().await?;
        Ok::<_, RunError>(())
    })
}
