//! What the gateway is told of a client's address and scheme: what nginx sees, or what somebody in front says who
//! is trusted.

use reqwest::{RequestBuilder, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::fixture::{Fixture, real_ip};

/// A port for a gateway that is played below.
async fn gateway() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Sends a request whose client names two addresses and HTTPS; the head that the gateway gets, in small letters.
async fn told(listener: TcpListener, request: RequestBuilder) -> String {
    let received = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(connection.read_buf(&mut head).await.unwrap() > 0);
        }
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        connection.write_all(answer).await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    };
    let request = request
        .header("x-forwarded-for", "192.168.0.7, 10.0.0.1")
        .header("x-forwarded-proto", "https");
    let (head, answer) = tokio::join!(received, request.send());
    assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
    head
}

#[tokio::test]
async fn the_gateway_is_told_the_clients_address_and_nothing_that_the_client_says_of_it() {
    let (listener, port) = gateway().await;
    let edge = Fixture::before(port).await;
    let head = told(listener, edge.http.get(edge.url("/api/auth/me"))).await;
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
    assert!(!head.contains("192.168.0.7"), "{head}");
}

/// The last one that is not trusted itself: what stands before it the client may have made up.
#[tokio::test]
async fn what_ends_tls_in_front_is_believed_about_the_client_and_its_scheme() {
    for (trusted, client) in [
        ("127.0.0.0/8", "10.0.0.1"),
        ("fd00::/8,127.0.0.1,10.0.0.0/8", "192.168.0.7"),
    ] {
        let (listener, port) = gateway().await;
        let edge = Fixture::behind(trusted, port).await;
        let head = told(listener, edge.http.get(edge.url("/api/auth/me"))).await;
        assert!(
            head.contains(&format!("\r\nx-forwarded-for: {client}\r\n")),
            "{trusted}: {head}"
        );
        assert!(
            head.contains("\r\nx-forwarded-proto: https\r\n"),
            "{trusted}: {head}"
        );
    }
}

#[tokio::test]
async fn who_is_not_in_front_is_not_believed() {
    let (listener, port) = gateway().await;
    let edge = Fixture::behind("10.0.0.0/8", port).await;
    let head = told(listener, edge.http.get(edge.url("/api/auth/me"))).await;
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
}

#[test]
fn what_is_no_network_is_refused_with_a_line_that_names_the_variable() {
    for wrong in ["proxy.example", "10.0.0.0/8;", "10.0.0.0/8, $remote_addr"] {
        let said = real_ip(wrong).unwrap_err();
        assert!(
            said.starts_with("frontend: EDGE_TRUSTED_PROXIES: "),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(real_ip("").unwrap(), "");
}
