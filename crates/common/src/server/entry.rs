//! What is the same in every `main`: read the configuration, run, exit with a code.
//!
//! Exit codes: 0 ended as asked, 1 failed (the log's last line says why), 2 the configuration is
//! wrong (one line a mistake on stderr).

use std::{
    error::Error as _,
    ffi::OsString,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use clap::{
    Command, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{BoxError, config::secret_file, error_chain};

const ENDED_AS_ASKED: u8 = 0;
const FAILED: u8 = 1;
const MISCONFIGURED: u8 = 2;

/// Deadline of each step of the `health` subcommand.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Read `C` from arguments and environment and run a service with it.
///
/// Each secret may also stand in a file (see [`secret_file`]). Adds the subcommand `health` for container health checks: it asks `/health` of the service
/// that runs on this machine with this environment, and exits 0 or 1.
///
/// ```no_run
/// # #[derive(clap::Parser)] struct Config {}
/// fn main() -> std::process::ExitCode {
///     marquee_common::server::main("auth", async |config: Config| {
///         // telemetry::init, App::build, run
///         Ok::<_, std::io::Error>(())
///     })
/// }
/// ```
pub fn main<C, F, E>(service: &'static str, run: F) -> ExitCode
where
    C: Parser,
    F: AsyncFnOnce(C) -> Result<(), E>,
    E: Into<BoxError>,
{
    ExitCode::from(run_from(service, std::env::args_os().collect(), run))
}

/// [`main`] with its arguments, program name first; the exit code.
fn run_from<C, F, E>(service: &'static str, args: Vec<OsString>, run: F) -> u8
where
    C: Parser,
    F: AsyncFnOnce(C) -> Result<(), E>,
    E: Into<BoxError>,
{
    let mut command = secret_file::documented(C::command())
        .name(service)
        .subcommand(Command::new("health").about("Ask the running service whether it is healthy"));
    // Completes the arguments, which are looked up below.
    command.build();
    // Before anything is parsed: a health check needs the port and none of the secrets.
    if args.get(1).is_some_and(|first| first == "health") {
        return health(service, &command);
    }
    let args = match secret_file::with_secrets(&command, args) {
        Ok(args) => args,
        Err(errors) => {
            for error in errors {
                eprintln!("{service}: {error}");
            }
            return MISCONFIGURED;
        }
    };
    let parsed = command
        .clone()
        .try_get_matches_from(args)
        .and_then(|matches| C::from_arg_matches(&matches));
    let config = match parsed {
        Ok(config) => config,
        Err(error) => return refuse(service, &command, &error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{service}: cannot start threads: {error}");
            return FAILED;
        }
    };
    let code = match runtime.block_on(run(config)) {
        Ok(()) => ENDED_AS_ASKED,
        Err(error) => {
            let error = error_chain(error.into().as_ref());
            if tracing::dispatcher::has_been_set() {
                tracing::error!(%error, "ended");
            } else {
                eprintln!("{service}: {error}");
            }
            FAILED
        }
    };
    crate::telemetry::end_log();
    code
}

fn refuse(service: &str, command: &Command, error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        // --help and --version.
        let _ = error.print();
        return ENDED_AS_ASKED;
    }
    match mistakes(command, error) {
        Some(lines) => {
            for line in lines {
                eprintln!("{service}: {line}");
            }
        }
        None => {
            let _ = error.print();
        }
    }
    MISCONFIGURED
}

/// One line a wrong variable, without its value, which may be a secret. `None`: a mistake of
/// another kind, which clap itself explains best.
fn mistakes(command: &Command, error: &clap::Error) -> Option<Vec<String>> {
    let args: Vec<&str> = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(arg) => vec![arg],
        ContextValue::Strings(args) => args.iter().map(String::as_str).collect(),
        _ => return None,
    };
    let what = match error.kind() {
        ErrorKind::MissingRequiredArgument => "is not set".to_owned(),
        ErrorKind::ValueValidation => error.source().map(ToString::to_string)?,
        _ => return None,
    };
    Some(
        args.iter()
            .map(|arg| format!("{}: {what}", variable_of(command, arg)))
            .collect(),
    )
}

/// The variable that sets an argument, for people who configure by environment.
fn variable_of(command: &Command, shown: &str) -> String {
    command
        .get_arguments()
        .find(|arg| arg.to_string() == shown || arg.get_id().as_str() == shown)
        .and_then(|arg| arg.get_env())
        .map_or_else(
            || shown.to_owned(),
            |variable| secret_file::given_as(&variable.to_string_lossy()),
        )
}

fn health(service: &str, command: &Command) -> u8 {
    let port = setting(command, "port").and_then(|port| port.parse().ok());
    let Some(port) = port else {
        eprintln!("{service}: PORT: no port to ask");
        return MISCONFIGURED;
    };
    // A server that listens everywhere listens on loopback.
    let ip = match setting(command, "bind_addr").and_then(|addr| addr.parse().ok()) {
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Some(ip) if !ip.is_unspecified() => ip,
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    match probe(SocketAddr::new(ip, port)) {
        Ok(()) => ENDED_AS_ASKED,
        Err(error) => {
            eprintln!("{service}: {error}");
            FAILED
        }
    }
}

/// An argument's value by environment or default, without parsing the others.
fn setting(command: &Command, id: &str) -> Option<String> {
    let arg = command.get_arguments().find(|arg| arg.get_id() == id)?;
    arg.get_env()
        .and_then(std::env::var_os)
        .or_else(|| arg.get_default_values().first().map(Into::into))
        .map(|value| value.to_string_lossy().into_owned())
}

/// `GET /health` by hand: no runtime and no client for one line of an answer.
fn probe(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if &status == b"HTTP/1.1 200" {
        return Ok(());
    }
    let status = String::from_utf8_lossy(&status).into_owned();
    Err(std::io::Error::other(format!("/health answers {status}")))
}

#[cfg(test)]
mod tests;
