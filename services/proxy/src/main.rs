//! The proxy, and with `proxy routes …` its operator's commands.

use std::process::ExitCode;

use marquee_common::BoxError;
use marquee_proxy::{app::App, config::Config, route_commands};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("routes") {
        return route_commands::main(std::env::args().skip(1));
    }
    marquee_common::server::main("proxy", async |config: Config| {
        App::build(config)?.run().await?;
        Ok::<_, BoxError>(())
    })
}
