//! Redis from Debian's package.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Durability, find_program, ready, spec};
use crate::{
    error::{Result, StackError},
    stack::StackDir,
};

/// The server's name in the stack.
pub const NAME: &str = "redis";

/// Starts the server and returns its port.
pub async fn start(dir: &StackDir, durability: Durability) -> Result<u16> {
    let ports = dir.ports();
    if dir.running(NAME)?.is_some()
        && let Some(port) = ports.remembered(NAME)?
    {
        return Ok(port);
    }
    let program = find_program("redis-server").ok_or(StackError::Missing {
        program: "redis-server",
        remedy: "run scripts/bootstrap, or apt-get install redis-server",
    })?;
    let data = dir.data(NAME);
    std::fs::create_dir_all(&data).map_err(StackError::io(&data))?;
    let documented = (durability == Durability::Kept).then_some(6379);
    let port = ports.tcp(NAME, documented)?;
    let append_only = match durability {
        Durability::Kept => "yes",
        Durability::Scratch => "no",
    };
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
    let record = dir.spawn(&spec(dir, NAME, argv.into()))?;
    ready(&record, Duration::from_secs(20), || pongs(port)).await?;
    Ok(port)
}

async fn pongs(port: u16) -> bool {
    let ask = async {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
        connection.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).await?;
        std::io::Result::Ok(&answer == b"+PONG")
    };
    ask.await.unwrap_or(false)
}
