//! A playlist's text as it is sent: written once and compressed once for all who ask for it.

use std::{io::Write as _, sync::OnceLock};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// A text in both encodings.
#[derive(Debug)]
pub struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Text {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self {
            plain: Bytes::from(text),
            gzip: OnceLock::new(),
        }
    }

    /// As it is.
    pub fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// Compressed, by whoever asks first; others wait for the millisecond it takes.
    pub fn gzip(&self) -> Bytes {
        self.gzip.get_or_init(|| gzip(&self.plain)).clone()
    }
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}
