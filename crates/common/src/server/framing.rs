//! Can a client's requests be told apart without doubt?
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is the means of request smuggling:
//! two servers that believe different ones see different requests (RFC 9112 section 11.2). hyper
//! believes the latter and drops the former without a word, so that nobody behind it can refuse the
//! request, as section 6.3 asks for; and it is lenient about line ends, where others may not be.
//! Hence this reads along with hyper: it follows the bytes of a connection far enough to know where
//! each head begins and ends, is strict about all that decides it, and keeps nothing of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::Request,
    http::{StatusCode, header::CONNECTION},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::error::ApiError;

/// Longest line of which anything is kept; both headers fit in many times over.
const LINE_KEPT: usize = 256;
/// Digits of a chunk's size that can matter: 64 bits.
const CHUNK_SIZE_DIGITS: usize = 16;

/// Whether a connection's requests cannot be told apart (a request extension).
#[derive(Clone, Debug, Default)]
pub struct Doubt(Arc<AtomicBool>);

impl Doubt {
    /// From now on no request of the connection is answered.
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether no request of the connection is to be answered any more.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// What such a request is answered.
    pub fn problem() -> ApiError {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "Where this request ends is not clear. Send either one Content-Length or \
             `Transfer-Encoding: chunked`, and end each line with CR LF (RFC 9112).",
        )
        // What follows on the connection may be part of this request, or another.
        .header(CONNECTION, "close")
    }
}

/// Answers 400 in place of the routes when the request's connection is in doubt.
pub(super) async fn refuse_doubtful(request: Request, next: Next) -> Response {
    let doubt = request.extensions().get::<Doubt>();
    if doubt.is_some_and(Doubt::is_raised) {
        return Doubt::problem().into_response();
    }
    next.run(request).await
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    line: Vec<u8>,
    line_is_cut: bool,
    after_cr: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between two requests, where empty lines may be (RFC 9112 section 2.2).
    Idle,
    /// After the request line.
    Head(Lengths),
    /// So many bytes of a body are to come.
    Body(u64),
    /// The line with a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk are to come.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Lines after the last chunk.
    Trailers,
    /// It is no HTTP that could be followed without doubt, for good.
    Lost,
}

/// What a head says about its body.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    content_length: Option<u64>,
    is_chunked: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            state: State::Idle,
            line: Vec::with_capacity(LINE_KEPT),
            line_is_cut: false,
            after_cr: false,
        }
    }
}

impl Framing {
    /// Whether some request so far said two things about its length, or could not be followed. No
    /// request of the connection is to be trusted from then on.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Reads the next bytes of the connection.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            bytes = match &mut self.state {
                State::Lost => return,
                State::Body(left) | State::Chunk(left) => {
                    let taken = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunk(_) => State::ChunkEnd,
                            _ => State::Idle,
                        };
                    }
                    &bytes[taken..]
                }
                _ if self.after_cr => {
                    self.after_cr = false;
                    if *first == b'\n' {
                        self.end_line();
                    } else {
                        self.state = State::Lost;
                    }
                    &bytes[1..]
                }
                _ => self.read_line(bytes),
            };
        }
    }

    /// Reads to the CR at the line's end, or to the end of the bytes; returns the rest.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let end = bytes.iter().position(ends).unwrap_or(bytes.len());
        let room = LINE_KEPT - self.line.len();
        self.line.extend_from_slice(&bytes[..end.min(room)]);
        self.line_is_cut |= end > room;
        match bytes.get(end) {
            None => &[],
            Some(b'\r') => {
                self.after_cr = true;
                &bytes[end + 1..]
            }
            // Section 2.2 lets one take it for a line end: one who does and one who does not see
            // different requests.
            Some(_) => {
                self.state = State::Lost;
                &[]
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_cut = std::mem::take(&mut self.line_is_cut);
        self.state = after_line(self.state, &line, is_cut).unwrap_or(State::Lost);
        self.line = line;
        self.line.clear();
    }
}

/// What comes after a line; `None`: nothing that could be followed.
fn after_line(state: State, line: &[u8], is_cut: bool) -> Option<State> {
    Some(match state {
        State::Idle | State::Trailers if line.is_empty() => State::Idle,
        State::Idle => State::Head(Lengths::default()),
        State::Head(lengths) if line.is_empty() => lengths.body()?,
        State::Head(mut lengths) => {
            lengths.note(line, is_cut)?;
            State::Head(lengths)
        }
        State::ChunkSize => match chunk_size(line)? {
            0 => State::Trailers,
            size => State::Chunk(size),
        },
        State::ChunkEnd if line.is_empty() => State::ChunkSize,
        State::Trailers => {
            header(line)?;
            State::Trailers
        }
        State::ChunkEnd | State::Body(_) | State::Chunk(_) | State::Lost => return None,
    })
}

impl Lengths {
    /// Notes a header line; `None` if it is about the length and makes no sense.
    fn note(&mut self, line: &[u8], is_cut: bool) -> Option<()> {
        let (name, value) = header(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).filter(|_| !is_cut)?;
            // Not even the same one twice: the next server may add them up to "4, 4".
            if self.content_length.replace(length).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // No other coding is known here, and a body in it could not be passed on.
            let is_chunked = !is_cut && value.eq_ignore_ascii_case(b"chunked");
            if !is_chunked || std::mem::replace(&mut self.is_chunked, true) {
                return None;
            }
        }
        Some(())
    }

    /// What follows the head (RFC 9112 section 6.3).
    fn body(self) -> Option<State> {
        match (self.content_length, self.is_chunked) {
            (Some(_), true) => None,
            (None, true) => Some(State::ChunkSize),
            (Some(0) | None, false) => Some(State::Idle),
            (Some(length), false) => Some(State::Body(length)),
        }
    }
}

/// A header line's name and value. `None` where one server may see another name than the next: a
/// line folded onto the one before (section 5.2), white space around the name (section 5.1), no
/// colon at all.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':');
    // A name that is longer than what is kept of a line is none that matters.
    let (name, value) = match colon {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None if line.len() == LINE_KEPT => (line, &[][..]),
        None => return None,
    };
    let is_plain = !name.is_empty() && !name.iter().any(u8::is_ascii_whitespace);
    is_plain.then(|| (name, value.trim_ascii()))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// A chunk's size: hexadecimal digits, then the end of the line or extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?;
    let is_size = (1..=CHUNK_SIZE_DIGITS).contains(&size.len())
        && size.iter().all(u8::is_ascii_hexdigit)
        && !line
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t');
    is_size.then(|| u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok())?
}

#[cfg(test)]
mod tests;
