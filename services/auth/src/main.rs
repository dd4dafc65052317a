//! The auth service, and with `auth admin …` its operator's commands.

use std::process::ExitCode;

use marquee_auth::{
    admin,
    app::{App, RunError},
    config::Config,
};

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "admin")
    {
        return admin::main(std::env::args_os().skip(1));
    }
    marquee_common::server::main("auth", async |config: Config| {
        App::build(config).await?.run().await?;
        Ok::<_, RunError>(())
    })
}
