//! The URLs of a stream as the world sees them, from the three public ones in the configuration.

use marquee_common::contract::StreamId;
use url::Url;

use crate::stream_key::StreamKey;

/// Builds a stream's URLs.
#[derive(Clone, Debug)]
pub struct Addresses {
    base: String,
    rtmp: String,
    srt: String,
}

impl Addresses {
    /// From `PUBLIC_BASE_URL`, `PUBLIC_RTMP_URL` and `PUBLIC_SRT_URL`.
    pub fn new(base: &Url, rtmp: &Url, srt: &Url) -> Self {
        let text = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        Self {
            base: text(base),
            rtmp: text(rtmp),
            srt: text(srt),
        }
    }

    /// Where viewers play it. It has the id, never the key: whoever has the key can publish
    /// (DESIGN.md section 12).
    pub fn hls(&self, stream: StreamId) -> String {
        format!("{}/live-streams/{stream}/master.m3u8", self.base)
    }

    /// Where viewers play it with low latency, while a transcoder holds the live. [`Self::hls`] plays
    /// whenever this does not.
    pub fn ll_hls(&self, stream: StreamId) -> String {
        format!("{}/stream/{stream}/master.m3u8", self.base)
    }

    /// A picture of what is on, renewed by its transcoder every 10 s.
    pub fn thumbnail(&self, stream: StreamId) -> String {
        format!("{}/live-streams/{stream}/thumbnail.jpg", self.base)
    }

    /// Where its owner pushes by RTMP. Holds the key.
    pub fn rtmp(&self, key: &StreamKey) -> String {
        format!("{}/live/{}", self.rtmp, key.expose())
    }

    /// Where its owner pushes by SRT. Holds the key.
    pub fn srt(&self, key: &StreamKey) -> String {
        format!("{}?streamid=publish:{}", self.srt, key.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_the_contracts_with_and_without_a_trailing_slash() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let id = StreamId::new();
        let key = StreamKey::generate().unwrap();
        let text = key.expose();
        for base in ["http://tv.example", "http://tv.example/"] {
            let addresses = Addresses::new(
                &url(base),
                &url("rtmp://tv.example:1935"),
                &url("srt://tv.example:8890"),
            );
            assert_eq!(
                addresses.hls(id),
                format!("http://tv.example/live-streams/{id}/master.m3u8")
            );
            assert_eq!(
                addresses.ll_hls(id),
                format!("http://tv.example/stream/{id}/master.m3u8")
            );
            assert_eq!(
                addresses.thumbnail(id),
                format!("http://tv.example/live-streams/{id}/thumbnail.jpg")
            );
            assert_eq!(
                addresses.rtmp(&key),
                format!("rtmp://tv.example:1935/live/{text}")
            );
            assert_eq!(
                addresses.srt(&key),
                format!("srt://tv.example:8890?streamid=publish:{text}")
            );
        }
    }
}
