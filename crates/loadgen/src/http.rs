//! As much of HTTP/1.1 as a benchmark's client needs: one request after the other on a connection
//! that stays, answers with a length.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Why a request got no answer that could be counted.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It is no `http://host:port/path`.
    #[error("{0}: must be like http://127.0.0.1:8080/path")]
    Url(String),
    /// The connection could not be made, broke, or was silent for too long.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The answer has no length, or is no HTTP.
    #[error("an answer without Content-Length, or no HTTP at all: {0}")]
    Answer(String),
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    authority: String,
    path: String,
}

impl Target {
    /// Takes an `http://` URL apart.
    pub fn parse(url: &str) -> Result<Self, HttpError> {
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| HttpError::Url(url.to_owned()))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() || rest.contains([' ', '\r', '\n']) {
            return Err(HttpError::Url(url.to_owned()));
        }
        let port = if authority
            .rsplit(']')
            .next()
            .is_some_and(|end| end.contains(':'))
        {
            ""
        } else {
            ":80"
        };
        Ok(Self {
            authority: format!("{authority}{port}"),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A GET with a query, in an encoding that the client takes.
    pub fn get_request(&self, query: &str, encoding: &str) -> Vec<u8> {
        let Self { authority, path } = self;
        format!(
            "GET {path}{query} HTTP/1.1\r\nhost: {authority}\r\naccept-encoding: {encoding}\r\n\r\n"
        )
        .into_bytes()
    }

    /// A GET of what stands beside the path under this name.
    pub fn sibling_request(&self, name: &str) -> Vec<u8> {
        let Self { authority, path } = self;
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("GET {folder}{name} HTTP/1.1\r\nhost: {authority}\r\n\r\n").into_bytes()
    }

    /// The bytes of a request: POST with a JSON body, else GET.
    pub fn request(&self, body: Option<&str>) -> Vec<u8> {
        let Self { authority, path } = self;
        match body {
            None => format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n"),
            Some(body) => format!(
                "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            ),
        }
        .into_bytes()
    }
}

/// A connection that stays.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(target: &Target) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(&target.authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: vec![0; MAX_HEAD_BYTES],
        })
    }

    /// Sends a request and reads its answer to the end; the status.
    pub fn exchange(&mut self, request: &[u8]) -> Result<u16, HttpError> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 {
                let seen = String::from_utf8_lossy(&self.buffer[..filled]).into_owned();
                return Err(HttpError::Answer(seen));
            }
            filled += read;
            if let Some(head) = Head::parse(&self.buffer[..filled])? {
                break head;
            }
        };
        // The rest of the body is only counted.
        let mut left = (head.own_bytes + head.body_bytes).saturating_sub(filled);
        while left > 0 {
            let room = left.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..room])?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left -= read;
        }
        Ok(head.status)
    }
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    status: u16,
    own_bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// Of the answer, head included.
    pub fn whole_bytes(&self) -> usize {
        self.own_bytes + self.body_bytes
    }

    /// Of the body.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Reads a head; `None` while it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HttpError> {
        let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let no_answer = || HttpError::Answer(head.clone().into_owned());
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(no_answer)?;
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, value)| value.trim().parse());
        let body_bytes = match length {
            Some(length) => length.map_err(|_| no_answer())?,
            None if matches!(status, 204 | 304) => 0,
            None => return Err(no_answer()),
        };
        Ok(Some(Self {
            status,
            own_bytes: end + 4,
            body_bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{Head, Target};

    #[test]
    fn a_url_is_a_host_a_port_and_a_path() {
        let target = Target::parse("http://127.0.0.1:8080/api?x=1").unwrap();
        assert_eq!(target.authority, "127.0.0.1:8080");
        assert_eq!(target.path, "/api?x=1");
        assert_eq!(Target::parse("http://[::1]").unwrap().authority, "[::1]:80");
        assert_eq!(Target::parse("http://a").unwrap().path, "/");
        for wrong in ["", "https://a/", "a:80", "http:///x", "http://a/ b"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_head_tells_the_status_and_how_much_follows() {
        let head = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 12\r\n\r\n{}";
        let whole = Head::parse(head).unwrap().unwrap();
        assert_eq!((whole.status, whole.body_bytes), (200, 12));
        assert_eq!(whole.own_bytes, head.len() - 2);
        assert_eq!(Head::parse(&head[..20]).unwrap(), None);
        let none = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(Head::parse(none).unwrap().unwrap().body_bytes, 0);
        for wrong in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"SSH-2.0\r\n\r\n"] {
            assert!(Head::parse(wrong).is_err());
        }
    }
}
