//! Redis from Debian's package.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ServerOptions, find_program, ready, spec};
use crate::{
    error::{Result, StackError},
    stack::StackDir,
};

/// The server's name in the stack.
pub const NAME: &str = "redis";

/// Starts the server and returns its port.
pub async fn start(dir: &StackDir, options: ServerOptions) -> Result<u16> {
    let program = find_program("redis-server").ok_or(StackError::Missing {
        program: "redis-server",
        remedy: "run scripts/bootstrap, or apt-get install redis-server",
    })?;
    let data = dir.data(NAME);
    std::fs::create_dir_all(&data).map_err(StackError::io(&data))?;
    let port = dir.tcp_port(NAME, NAME, options.documented(6379))?;
    let append_only = if options.durable { "yes" } else { "no" };
    let argv = [
        &program.display().to_string(),
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--dir",
        &data.display().to_string(),
        "--save",
        "",
        "--appendonly",
        append_only,
    ]
    .map(str::to_owned);
    let record = dir.ensure(&spec(dir, NAME, argv.into())).await?;
    ready(&record, Duration::from_secs(20), || answers(port)).await?;
    Ok(port)
}

/// Whether Redis answers PING.
pub(crate) async fn answers(port: u16) -> bool {
    let ask = async {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
        connection.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).await?;
        std::io::Result::Ok(&answer == b"+PONG")
    };
    ask.await.unwrap_or(false)
}
