//! Web sockets pass; nothing else speaks past the proxy.

use marquee_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fixture::{PATIENCE, Proxy, echo, read_head, set, unique, upstream};

/// An upstream that says back what it is told once the connection is upgraded.
async fn parrot() -> std::net::SocketAddr {
    upstream(async |mut connection| {
        let head = read_head(&mut connection).await.to_lowercase();
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-key: abc\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-accept: xyz\r\n\r\nhello";
        connection.write_all(answer).await.unwrap();
        let mut piece = [0; 64];
        while let Ok(read) = connection.read(&mut piece).await {
            if read == 0 || connection.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
    })
    .await
}

fn request(id: &str) -> String {
    format!(
        "GET /stream/{id}/ws HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: abc\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

#[tokio::test]
async fn a_web_socket_passes_both_ways() {
    let proxy = Proxy::start().await;
    let id = unique("socket");
    set(&id, parrot().await).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(request(&id).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"hello") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: xyz\r\n"), "{head}");
    for text in ["one", "another"] {
        client.write_all(text.as_bytes()).await.unwrap();
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_web_socket_on_which_nothing_is_said_ends() {
    let proxy = Proxy::with(&["--silence-timeout-s=1"]).await;
    let id = unique("socket");
    set(&id, parrot().await).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(request(&id).as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut all)).await;
    assert!(ended.is_ok());
    assert!(all.ends_with(b"hello"));
}

#[tokio::test]
async fn an_upstream_that_refuses_the_upgrade_is_heard() {
    let proxy = Proxy::start().await;
    let id = unique("socket");
    set(&id, echo("it").await).await;
    let request = request(&id).replace("keep-alive, ", "");
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut piece = vec![0; 4096];
    let read = client.read(&mut piece).await.unwrap();
    let answer = String::from_utf8_lossy(&piece[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_refusal_that_falls_silent_is_broken_off() {
    let upstream = upstream(async |mut connection| {
        read_head(&mut connection).await;
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        let _ = connection.write_all(half).await;
        let _ = connection.read(&mut [0; 1]).await;
    })
    .await;
    let proxy = Proxy::with(&["--silence-timeout-s=1"]).await;
    let id = unique("socket");
    set(&id, upstream).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(request(&id).as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut all)).await;
    assert!(ended.is_ok(), "{}", String::from_utf8_lossy(&all));
    assert!(all.ends_with(b"half"));
}

#[tokio::test]
async fn web_sockets_are_connections_of_clients_too() {
    let proxy = Proxy::with(&["--max-connections=4"]).await;
    let id = unique("socket");
    set(&id, parrot().await).await;
    let mut tunnels = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        let _ = client.write_all(request(&id).as_bytes()).await;
        let mut head = Vec::new();
        while !head.ends_with(b"hello") {
            match client.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        if head.is_empty() {
            break;
        }
        tunnels.push(client);
    }
    assert!(tunnels.len() <= 4, "{} tunnels", tunnels.len());
    drop(tunnels);
    eventually("there is room again", PATIENCE, async || {
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        let _ = client.write_all(request(&id).as_bytes()).await;
        client.read_u8().await.ok()
    })
    .await;
}

#[tokio::test]
async fn no_other_protocol_is_upgraded_to() {
    let proxy = Proxy::start().await;
    let id = unique("socket");
    set(&id, echo("it").await).await;
    let request = format!(
        "GET /stream/{id} HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings, close\r\n\
         upgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
    );
    let answer = proxy.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        !answer.contains("h2c") && !answer.contains("http2-settings"),
        "{answer}"
    );
}
