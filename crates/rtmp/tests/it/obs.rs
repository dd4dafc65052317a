//! A publisher that says what OBS says, in its order. Its coding is written anew here, so that an
//! error of the crate's own is not made twice.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::in_time;

pub(crate) const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01,
    0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
];
pub(crate) const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

pub(crate) struct Obs {
    pub stream: TcpStream,
    chunk_size: usize,
    peers_chunk_size: usize,
    transaction: u8,
}

/// What the server says: a command's name, and the texts in it.
pub(crate) type Said = (String, Vec<String>);

fn string(text: &str) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend(name(text));
    bytes
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

impl Obs {
    /// Connects and shakes hands.
    pub async fn connect_to(server: SocketAddr) -> Self {
        Self::greet(TcpStream::connect(server).await.unwrap()).await
    }

    /// Shakes hands.
    pub async fn greet(mut stream: TcpStream) -> Self {
        stream.write_all(&[3]).await.unwrap();
        stream.write_all(&[7; 1536]).await.unwrap();
        let mut answer = vec![0; 1 + 2 * 1536];
        in_time(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer[0], 3);
        assert_eq!(answer[1 + 1536..], [7; 1536], "S2 repeats C1");
        stream.write_all(&answer[1..=1536]).await.unwrap();
        Self {
            stream,
            chunk_size: 128,
            peers_chunk_size: 128,
            transaction: 0,
        }
    }

    /// All up to `publish`, whose answer is what is returned.
    pub async fn publish(&mut self, key: &str) -> Said {
        self.request(key).await;
        self.hears().await
    }

    /// Connects to the application.
    pub async fn connect(&mut self) {
        let text = |field: &str, value: &str| [name(field), string(value)].concat();
        let amount = |field: &str, value: f64| [name(field), number(value)].concat();
        let object = [
            vec![3],
            text("app", "live"),
            text("type", "nonprivate"),
            text("flashVer", "FMLE/3.0 (compatible; FMSc/1.0)"),
            text("swfUrl", "rtmp://127.0.0.1/live"),
            text("tcUrl", "rtmp://127.0.0.1/live"),
            [name("fpad"), vec![1, 0]].concat(),
            amount("capabilities", 239.0),
            amount("audioCodecs", 3575.0),
            amount("videoCodecs", 252.0),
            amount("videoFunction", 1.0),
            vec![0, 0, 9],
        ]
        .concat();
        self.command("connect", &[object]).await;
        let (name, texts) = self.hears().await;
        assert_eq!(name, "_result");
        assert!(texts.contains(&"NetConnection.Connect.Success".to_owned()));
    }

    /// All up to `publish`.
    pub async fn request(&mut self, key: &str) {
        self.connect().await;
        self.message(2, 1, 0, 0, &4096_u32.to_be_bytes()).await;
        self.chunk_size = 4096;
        let null = || vec![5];
        self.command("releaseStream", &[null(), string(key)]).await;
        self.command("FCPublish", &[null(), string(key)]).await;
        self.command("createStream", &[null()]).await;
        for _ in 0..3 {
            assert_eq!(self.hears().await.0, "_result");
        }
        self.command("publish", &[null(), string(key), string("live")])
            .await;
    }

    /// Metadata and both sequence headers, sound first.
    pub async fn headers(&mut self) {
        let metadata = [
            string("@setDataFrame"),
            string("onMetaData"),
            vec![8, 0, 0, 0, 2],
            [name("videocodecid"), number(7.0)].concat(),
            [name("audiocodecid"), number(10.0)].concat(),
            vec![0, 0, 9],
        ]
        .concat();
        self.message(4, 18, 1, 0, &metadata).await;
        self.message(4, 8, 1, 0, &[0xaf, 0, 0x12, 0x10]).await;
        let mut config = vec![0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0];
        config.push(u8::try_from(SPS.len()).unwrap());
        config.extend_from_slice(SPS);
        config.extend_from_slice(&[1, 0, u8::try_from(PPS.len()).unwrap()]);
        config.extend_from_slice(PPS);
        self.message(4, 9, 1, 0, &config).await;
    }

    /// A frame of so many bytes, a keyframe where it says so, and one of sound.
    pub async fn frame(&mut self, ms: u32, keyframe: bool, size: usize) {
        let mut unit = if keyframe {
            vec![0x65, 0x88, 0x84]
        } else {
            vec![0x41, 0x9a, 0x24]
        };
        unit.resize(size, 0x5a);
        let mut tag = vec![if keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0];
        tag.extend(u32::try_from(unit.len()).unwrap().to_be_bytes());
        tag.extend(unit);
        self.message(4, 9, 1, ms, &tag).await;
        let sound = [&[0xaf, 1][..], &[0x21; 180]].concat();
        self.message(4, 8, 1, ms, &sound).await;
    }

    /// As at "Stop streaming".
    pub async fn stop(&mut self, key: &str) {
        self.command("FCUnpublish", &[vec![5], string(key)]).await;
        self.command("deleteStream", &[vec![5], number(1.0)]).await;
    }

    pub async fn command(&mut self, verb: &str, values: &[Vec<u8>]) {
        self.transaction += 1;
        let mut payload = string(verb);
        payload.extend(number(self.transaction.into()));
        payload.extend(values.concat());
        self.message(3, 20, 0, 0, &payload).await;
    }

    pub async fn message(&mut self, chunks: u8, kind: u8, stream: u32, ms: u32, payload: &[u8]) {
        let mut bytes = vec![chunks];
        bytes.extend_from_slice(&ms.to_be_bytes()[1..]);
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        bytes.push(kind);
        bytes.extend_from_slice(&stream.to_le_bytes());
        for (index, chunk) in payload.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                bytes.push(0xc0 | chunks);
            }
            bytes.extend_from_slice(chunk);
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next command.
    pub async fn hears(&mut self) -> Said {
        in_time(self.next_command()).await
    }

    async fn next_command(&mut self) -> Said {
        loop {
            let mut header = [0; 12];
            self.stream.read_exact(&mut header).await.unwrap();
            assert_eq!(header[0] >> 6, 0, "the server writes full headers");
            let length = u32::from_be_bytes([0, header[4], header[5], header[6]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            let mut chunks = payload.chunks_mut(self.peers_chunk_size);
            self.stream
                .read_exact(chunks.next().unwrap())
                .await
                .unwrap();
            for chunk in chunks {
                assert_eq!(self.stream.read_u8().await.unwrap() >> 6, 3);
                self.stream.read_exact(chunk).await.unwrap();
            }
            match header[7] {
                1 => {
                    let size = u32::from_be_bytes(payload[..4].try_into().unwrap());
                    self.peers_chunk_size = usize::try_from(size).unwrap();
                }
                20 => {
                    let mut texts = strings(&payload);
                    return (texts.remove(0), texts);
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of the connection; what is said until then does not matter.
    pub async fn is_closed(&mut self) {
        let mut buffer = [0; 4096];
        let closed = async { while matches!(self.stream.read(&mut buffer).await, Ok(1..)) {} };
        in_time(closed).await;
    }
}

/// The strings among a command's values. Names of fields have no mark in front, so only values are
/// found.
fn strings(payload: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 3 <= payload.len() {
        let length = usize::from(u16::from_be_bytes([payload[at + 1], payload[at + 2]]));
        let text = payload.get(at + 3..at + 3 + length);
        match text {
            Some(text) if payload[at] == 2 && length > 0 && text.iter().all(|it| *it >= 0x20) => {
                found.push(String::from_utf8_lossy(text).into_owned());
                at += 3 + length;
            }
            _ => at += 1,
        }
    }
    found
}
