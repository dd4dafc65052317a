//! Does a client say one thing only about how long its requests are?
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is the means of request smuggling:
//! two servers that believe different ones see different requests (RFC 9112 section 11.2). hyper
//! believes the latter and drops the former without a word, so that nobody behind it can refuse the
//! request, as section 6.3 asks for. Hence this reads along with hyper: it follows the bytes of a
//! connection far enough to know where each head begins and ends, and keeps nothing of them.

/// Longest line of which anything is kept; both headers fit in many times over.
const LINE_KEPT: usize = 256;

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    line: Vec<u8>,
    line_is_cut: bool,
    ambiguous: bool,
}

#[derive(Debug)]
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
    /// It is no HTTP that can be followed.
    Lost,
}

/// What a head says about its body.
#[derive(Debug, Default)]
struct Lengths {
    content_length: Option<u64>,
    transfer_encoding: Option<IsChunked>,
}

#[derive(Clone, Copy, Debug)]
struct IsChunked(bool);

impl Default for Framing {
    fn default() -> Self {
        Self {
            state: State::Idle,
            line: Vec::with_capacity(LINE_KEPT),
            line_is_cut: false,
            ambiguous: false,
        }
    }
}

impl Framing {
    /// Whether some request so far said two things about its length, or could not be followed. No
    /// request of the connection is to be trusted from then on.
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// Reads the next bytes of the connection.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.ambiguous {
            bytes = match &mut self.state {
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
                State::Lost => return,
                _ => self.read_line(bytes),
            };
        }
    }

    /// Reads to the end of the line, or of the bytes; returns the rest.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (part, rest) = match end {
            Some(end) => (&bytes[..end], &bytes[end + 1..]),
            None => (bytes, &[][..]),
        };
        let room = LINE_KEPT - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.line_is_cut |= part.len() > room;
        if end.is_some() {
            let mut line = std::mem::take(&mut self.line);
            let is_cut = std::mem::take(&mut self.line_is_cut);
            if !is_cut && line.last() == Some(&b'\r') {
                line.pop();
            }
            self.end_line(&line, is_cut);
            line.clear();
            self.line = line;
        }
        rest
    }

    fn end_line(&mut self, line: &[u8], is_cut: bool) {
        let state = std::mem::replace(&mut self.state, State::Lost);
        self.state = match state {
            State::Idle | State::Trailers if line.is_empty() => State::Idle,
            State::Idle => State::Head(Lengths::default()),
            State::Head(lengths) if line.is_empty() => self.end_head(&lengths),
            State::Head(mut lengths) => match lengths.note(line, is_cut) {
                Some(()) => State::Head(lengths),
                None => State::Lost,
            },
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailers,
                Some(size) => State::Chunk(size),
                None => State::Lost,
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::Trailers => State::Trailers,
            State::ChunkEnd | State::Body(_) | State::Chunk(_) | State::Lost => State::Lost,
        };
        // hyper refuses what cannot be followed; should it not, we do.
        self.ambiguous |= matches!(self.state, State::Lost);
    }

    fn end_head(&mut self, lengths: &Lengths) -> State {
        match (lengths.content_length, lengths.transfer_encoding) {
            (Some(_), Some(_)) => {
                self.ambiguous = true;
                State::Lost
            }
            (None, Some(IsChunked(true))) => State::ChunkSize,
            // RFC 9112 section 6.3: such a request has no end that could be found.
            (None, Some(IsChunked(false))) => State::Lost,
            (Some(0) | None, None) => State::Idle,
            (Some(length), None) => State::Body(length),
        }
    }
}

impl Lengths {
    /// Notes a header line; `None` if it is about the length and makes no sense.
    fn note(&mut self, line: &[u8], is_cut: bool) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let name = name.trim_ascii();
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).filter(|_| !is_cut)?;
            if self.content_length.is_some_and(|before| before != length) {
                return None;
            }
            self.content_length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if is_cut {
                return None;
            }
            let last = value
                .rsplit(|byte| *byte == b',')
                .next()
                .unwrap_or_default();
            let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            self.transfer_encoding = Some(IsChunked(is_chunked));
        }
        Some(())
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let all_hex = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
    all_hex.then(|| u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::Framing;

    /// The same verdict must come out however the bytes are cut.
    #[track_caller]
    fn is_ambiguous(bytes: &str) -> bool {
        let verdict = |sizes: usize| {
            let mut framing = Framing::default();
            for piece in bytes.as_bytes().chunks(sizes) {
                framing.read(piece);
            }
            framing.is_ambiguous()
        };
        let whole = verdict(bytes.len());
        for sizes in [1, 2, 3, 7, 64] {
            assert_eq!(verdict(sizes), whole, "in pieces of {sizes}");
        }
        whole
    }

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn a_request_with_both_headers_is_ambiguous_in_any_order_and_spelling() {
        assert!(is_ambiguous(BOTH));
        for head in [
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            "TRANSFER-ENCODING:chunked\r\nhost: x\r\nCONTENT-LENGTH:4\r\n",
            "transfer-encoding: gzip, chunked\ncontent-length: 4\n",
            "transfer-encoding : chunked\r\ncontent-length : 4\r\n",
            "content-length: 0\r\ntransfer-encoding: identity\r\n",
        ] {
            assert!(
                is_ambiguous(&format!("POST / HTTP/1.1\r\n{head}\r\n")),
                "{head}"
            );
        }
    }

    #[test]
    fn ordinary_requests_are_not_however_many_follow_each_other() {
        let requests = [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "\r\nPOST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
            "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
             5;note=1\r\nhello\r\nA\r\n0123456789\r\n0\r\ntrailer: 1\r\n\r\n",
            "POST /c HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "GET /d HTTP/1.1\ncontent-length: 2\ncontent-length: 2\n\nok",
        ];
        assert!(!is_ambiguous(&requests.concat()));
        assert!(!is_ambiguous(&requests.concat().repeat(3)));
    }

    #[test]
    fn both_headers_are_found_in_a_later_request_too() {
        let before = [
            "GET / HTTP/1.1\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
            "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ];
        for requests in [&before[..1], &before[..2], &before[..]] {
            assert!(is_ambiguous(&(requests.concat() + BOTH)));
        }
    }

    #[test]
    fn a_body_that_looks_like_a_head_is_a_body() {
        let length = BOTH.len();
        assert!(!is_ambiguous(&format!(
            "POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{BOTH}"
        )));
        assert!(!is_ambiguous(&format!(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{BOTH}\r\n0\r\n\r\n"
        )));
    }

    #[test]
    fn what_makes_no_sense_is_not_trusted_either() {
        for head in [
            "content-length: 4\r\ncontent-length: 5\r\n\r\n",
            "content-length: +4\r\n\r\n",
            "content-length: 4, 4\r\n\r\n",
            "content-length:\r\n\r\n",
            "content-length: 99999999999999999999999\r\n\r\n",
            "transfer-encoding: chunked, identity\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nxyz\r\n",
            "transfer-encoding: chunked\r\n\r\n5\r\nhelloworld\r\n",
        ] {
            assert!(
                is_ambiguous(&format!("POST / HTTP/1.1\r\n{head}")),
                "{head}"
            );
        }
        let padded = format!("content-length: {}4\r\n\r\n", " ".repeat(300));
        assert!(is_ambiguous(&format!("POST / HTTP/1.1\r\n{padded}")));
    }

    #[test]
    fn long_lines_that_say_nothing_about_the_length_pass() {
        let cookie = format!("cookie: {}\r\n", "x".repeat(9000));
        assert!(!is_ambiguous(&format!(
            "GET /{} HTTP/1.1\r\n{cookie}\r\n",
            "y".repeat(3000)
        )));
        assert!(is_ambiguous(&format!(
            "GET / HTTP/1.1\r\n{cookie}\r\n{BOTH}"
        )));
    }
}
