//! What is doubtful and what is not, however the bytes are cut.

use proptest::{collection::vec, prelude::*};

use super::Framing;

/// The same verdict must come out however the bytes are cut.
#[track_caller]
fn is_doubtful(bytes: &str) -> bool {
    let verdict = |sizes: usize| {
        let mut framing = Framing::default();
        for piece in bytes.as_bytes().chunks(sizes.max(1)) {
            framing.read(piece);
        }
        framing.is_lost()
    };
    let whole = verdict(bytes.len());
    for sizes in [1, 2, 3, 7, 64] {
        assert_eq!(verdict(sizes), whole, "in pieces of {sizes}");
    }
    whole
}

const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_request_with_both_headers_is_doubtful_in_any_order_and_spelling() {
    assert!(is_doubtful(BOTH));
    for head in [
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "TRANSFER-ENCODING:chunked\r\nhost: x\r\nCONTENT-LENGTH:4\r\n",
        "transfer-encoding: gzip, chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding : chunked\r\ncontent-length : 4\r\n",
        "content-length: 0\r\ntransfer-encoding: identity\r\n",
    ] {
        assert!(
            is_doubtful(&format!("POST / HTTP/1.1\r\n{head}\r\n")),
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
        "PUT /d HTTP/1.1\r\ncontent-length: 2\r\nx-empty:\r\n\r\nok",
    ];
    assert!(!is_doubtful(&requests.concat()));
    assert!(!is_doubtful(&requests.concat().repeat(3)));
}

#[test]
fn both_headers_are_found_in_a_later_request_too() {
    let before = [
        "GET / HTTP/1.1\r\n\r\n",
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for requests in [&before[..1], &before[..2], &before[..]] {
        assert!(is_doubtful(&(requests.concat() + BOTH)));
    }
}

#[test]
fn a_body_that_looks_like_a_head_is_a_body() {
    let length = BOTH.len();
    assert!(!is_doubtful(&format!(
        "POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{BOTH}"
    )));
    assert!(!is_doubtful(&format!(
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{BOTH}\r\n0\r\n\r\n"
    )));
}

#[test]
fn what_makes_no_sense_is_not_trusted_either() {
    for head in [
        "content-length: 4\r\ncontent-length: 5\r\n\r\n",
        "content-length: 4\r\ncontent-length: 4\r\n\r\n",
        "content-length: +4\r\n\r\n",
        "content-length: 4, 4\r\n\r\n",
        "content-length:\r\n\r\n",
        "content-length: 99999999999999999999999\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n",
        "transfer-encoding: identity\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "transfer-encoding: \u{b}chunked\r\n\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n\r\n",
        "x: y\r\n\tmore\r\n\r\n",
        "no colon\r\n\r\n",
        ": no name\r\n\r\n",
        "x : y\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nxyz\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhelloworld\r\n",
    ] {
        assert!(is_doubtful(&format!("POST / HTTP/1.1\r\n{head}")), "{head}");
    }
    let padded = format!("content-length: {}4\r\n\r\n", " ".repeat(300));
    assert!(is_doubtful(&format!("POST / HTTP/1.1\r\n{padded}")));
}

#[test]
fn a_line_ends_with_cr_lf_and_nothing_else() {
    for requests in [
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\nhost: x\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\n",
        "GET / HTTP/1.1\rhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nx: y\rtransfer-encoding: chunked\r\n\r\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "\r\rGET / HTTP/1.1\r\n\r\n",
    ] {
        assert!(is_doubtful(requests), "{requests:?}");
    }
}

#[test]
fn a_chunk_is_its_size_in_hex_and_as_many_bytes() {
    let chunks = |chunks: &str| {
        is_doubtful(&format!(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
        ))
    };
    for good in [
        "5\r\nhello\r\n0\r\n\r\n",
        "000005\r\nhello\r\n00\r\n\r\n",
        "5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n",
        "0\r\nchecksum: 1\r\n\r\n",
    ] {
        assert!(!chunks(good), "{good:?}");
    }
    for bad in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        ";5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
    ] {
        assert!(chunks(bad), "{bad:?}");
    }
}

#[test]
fn long_lines_that_say_nothing_about_the_length_pass() {
    let cookie = format!("cookie: {}\r\n", "x".repeat(9000));
    assert!(!is_doubtful(&format!(
        "GET /{} HTTP/1.1\r\n{cookie}\r\n",
        "y".repeat(3000)
    )));
    assert!(is_doubtful(&format!(
        "GET / HTTP/1.1\r\n{cookie}\r\n{BOTH}"
    )));
}

proptest! {
    #[test]
    fn whatever_comes_is_judged_the_same_however_it_is_cut(
        pieces in vec(prop_oneof![
            Just("POST / HTTP/1.1\r\n".to_owned()),
            Just("content-length: 5\r\n".to_owned()),
            Just("transfer-encoding: chunked\r\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("5\r\nhello\r\n".to_owned()),
            Just("0\r\n".to_owned()),
            "[ -~\r\n]{0,20}",
        ], 0..12),
    ) {
        is_doubtful(&pieces.concat());
    }
}
