//! The `live-segments` bucket: every S3 call of the live path, each with a deadline.

use std::{path::PathBuf, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    primitives::ByteStream,
};
use bytes::Bytes;
use marquee_common::contract::StreamId;
use marquee_hls::{BroadcastTag, Rung, SegmentName};

/// A playlist that is not stored by then is tried again, newer.
pub const PLAYLIST_DEADLINE: Duration = Duration::from_secs(2);
/// A segment that is not stored by then is tried again.
pub const SEGMENT_DEADLINE: Duration = Duration::from_secs(10);
/// A thumbnail that is not stored by then is left: the next one is newer.
pub const THUMBNAIL_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for a list page or a playlist read back.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// More than any playlist of ours: 1,800 s of 0.5 s segments is under 200 KB.
const PLAYLIST_LIMIT: usize = 4 << 20;

/// Objects of live streams.
#[derive(Clone, Debug)]
pub struct LiveObjects {
    client: Client,
    bucket: String,
}

/// Bytes of a segment on their way.
#[derive(Clone, Debug)]
pub enum SegmentBody {
    /// In memory.
    Memory(Bytes),
    /// Spilled to disk.
    Disk(PathBuf),
}

/// A call to storage failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Storage answered with an error, or not at all.
    #[error("storage refused {operation} of {key}")]
    Refused {
        /// `put`, `get` or `list`.
        operation: &'static str,
        /// The object, or the prefix.
        key: String,
        /// The SDK's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("storage did not answer {operation} of {key} in time")]
    Late {
        /// `put`, `get` or `list`.
        operation: &'static str,
        /// The object, or the prefix.
        key: String,
    },
    /// The object is larger than anything we write, or no text.
    #[error("{key} is no playlist of ours")]
    Foreign {
        /// The object.
        key: String,
    },
    /// An empty object is never written: it would break every player that meets it. A file that
    /// vanished counts as empty.
    #[error("{key} would be empty")]
    Empty {
        /// The object.
        key: String,
    },
}

impl LiveObjects {
    /// Objects in `bucket`. The client's own retries are off: ours know what is still worth it.
    pub fn new(client: &Client, bucket: String) -> Self {
        let config = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(1))
                    .build(),
            )
            .build();
        Self {
            client: Client::from_conf(config),
            bucket,
        }
    }

    /// Stores a segment under its name, which is its identity: written once, then immutable.
    pub async fn put_segment(&self, key: &str, body: SegmentBody) -> Result<(), StorageError> {
        let stream = match body {
            SegmentBody::Memory(bytes) if bytes.is_empty() => {
                return Err(StorageError::Empty { key: key.into() });
            }
            SegmentBody::Memory(bytes) => ByteStream::from(bytes),
            SegmentBody::Disk(path) => {
                let length = tokio::fs::metadata(&path)
                    .await
                    .map_or(0, |file| file.len());
                if length == 0 {
                    return Err(StorageError::Empty { key: key.into() });
                }
                ByteStream::from_path(path)
                    .await
                    .map_err(|source| refused("put", key, source))?
            }
        };
        let call = Box::pin(
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .content_type("video/mp2t")
                .cache_control("public, max-age=31536000, immutable")
                .body(stream)
                .send(),
        );
        within(SEGMENT_DEADLINE, "put", key, call).await?;
        Ok(())
    }

    /// Replaces a playlist.
    pub async fn put_playlist(&self, key: &str, text: String) -> Result<(), StorageError> {
        if text.is_empty() {
            return Err(StorageError::Empty { key: key.into() });
        }
        let call = Box::pin(
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .content_type("application/vnd.apple.mpegurl")
                .cache_control("no-cache")
                .body(ByteStream::from(text.into_bytes()))
                .send(),
        );
        within(PLAYLIST_DEADLINE, "put", key, call).await?;
        Ok(())
    }

    /// Replaces a thumbnail.
    pub async fn put_thumbnail(&self, key: &str, jpeg: Bytes) -> Result<(), StorageError> {
        if jpeg.is_empty() {
            return Err(StorageError::Empty { key: key.into() });
        }
        let call = Box::pin(
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .content_type("image/jpeg")
                .cache_control("public, max-age=5")
                .body(ByteStream::from(jpeg))
                .send(),
        );
        within(THUMBNAIL_DEADLINE, "put", key, call).await?;
        Ok(())
    }

    /// Reads a playlist; `None` when there is none.
    pub async fn get_playlist(&self, key: &str) -> Result<Option<String>, StorageError> {
        let read = Box::pin(async {
            let object = match self
                .client
                .get_object()
                .bucket(&self.bucket)
                .key(key)
                .send()
                .await
            {
                Ok(object) => object,
                Err(error)
                    if error.as_service_error().is_some_and(
                        aws_sdk_s3::operation::get_object::GetObjectError::is_no_such_key,
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(refused("get", key, error)),
            };
            let mut body = object.body;
            let mut text = Vec::new();
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|error| refused("get", key, error))?;
                if text.len() + chunk.len() > PLAYLIST_LIMIT {
                    return Err(StorageError::Foreign { key: key.into() });
                }
                text.extend_from_slice(&chunk);
            }
            String::from_utf8(text)
                .map(Some)
                .map_err(|_| StorageError::Foreign { key: key.into() })
        });
        tokio::time::timeout(READ_DEADLINE, read)
            .await
            .unwrap_or_else(|_| {
                Err(StorageError::Late {
                    operation: "get",
                    key: key.into(),
                })
            })
    }

    /// Names of the stored segments of a broadcast's rendition, by rising epoch and number: all, or
    /// those after `after`, which need not be stored, nor of this rendition. Objects whose name is no
    /// segment name are not ours and are passed over.
    pub async fn list_names(
        &self,
        stream_id: StreamId,
        rung: Rung,
        broadcast: BroadcastTag,
        after: Option<&SegmentName>,
    ) -> Result<Vec<SegmentName>, StorageError> {
        let folder = format!("{stream_id}/");
        let prefix = format!("{folder}{rung}/{broadcast}-");
        let start_after = after.map(|name| format!("{folder}{rung}/{}", name.uri()));
        let mut names = Vec::new();
        let mut token = None;
        loop {
            let call = Box::pin(
                self.client
                    .list_objects_v2()
                    .bucket(&self.bucket)
                    .prefix(&prefix)
                    .set_start_after(start_after.clone())
                    .set_continuation_token(token.take())
                    .send(),
            );
            let page = within(READ_DEADLINE, "list", &prefix, call).await?;
            names.extend(
                page.contents()
                    .iter()
                    .filter(|object| object.size() != Some(0))
                    .filter_map(|object| {
                        object
                            .key()?
                            .strip_prefix(&folder)?
                            .parse::<SegmentName>()
                            .ok()
                    }),
            );
            match page.next_continuation_token() {
                Some(next) => token = Some(next.to_owned()),
                None => return Ok(names),
            }
        }
    }
}

/// Key of a rendition's playlist.
pub fn playlist_key(stream_id: StreamId, rung: Rung) -> String {
    format!("{stream_id}/{rung}/playlist.m3u8")
}

/// Key of a stream's master playlist.
pub fn master_key(stream_id: StreamId) -> String {
    format!("{stream_id}/master.m3u8")
}

/// Key of a stream's live thumbnail.
pub fn thumbnail_key(stream_id: StreamId) -> String {
    format!("{stream_id}/thumbnail.jpg")
}

async fn within<T, E>(
    deadline: Duration,
    operation: &'static str,
    key: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, StorageError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(refused(operation, key, error)),
        Err(_) => Err(StorageError::Late {
            operation,
            key: key.into(),
        }),
    }
}

fn refused(
    operation: &'static str,
    key: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StorageError {
    StorageError::Refused {
        operation,
        key: key.into(),
        source: Box::new(source),
    }
}
