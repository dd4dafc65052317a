//! Which S3 server a stack has: `MinIO` where it is at hand or can be built, else Ceph's gateway.

use super::{ServerOptions, minio, radosgw};
use crate::{error::Result, infra::S3, progress::Progress, stack::StackDir};

/// Starts the S3 server. `S3=radosgw` or `S3=minio` in the environment decides, else what the
/// machine has.
pub async fn start(dir: &StackDir, options: ServerOptions, progress: &Progress) -> Result<S3> {
    if wants_radosgw(dir).await? {
        let s3 = radosgw::start(dir, options, progress).await?;
        progress.done(radosgw::NAME);
        return Ok(s3);
    }
    let s3 = minio::start(dir, options, progress).await?;
    progress.done(minio::NAME);
    Ok(s3)
}

async fn wants_radosgw(dir: &StackDir) -> Result<bool> {
    match std::env::var("S3").as_deref() {
        Ok("radosgw") => return Ok(true),
        Ok("minio") => return Ok(false),
        _ => {}
    }
    // A stack keeps the server that has its objects.
    if dir.data("ceph").join("account-made").exists() {
        return Ok(true);
    }
    if dir.data(minio::NAME).is_dir() || minio::is_at_hand() {
        return Ok(false);
    }
    Ok(!minio::can_be_built(dir).await && super::find_program("radosgw").is_some())
}

/// The name in this stack of what a caller calls `s3` or, knowing the usual one, `minio`.
pub(crate) fn resolve<'a>(dir: &StackDir, name: &'a str) -> Result<&'a str> {
    if name != "s3" && name != minio::NAME {
        return Ok(name);
    }
    let ceph = dir.record(radosgw::NAME)?.is_some();
    Ok(if ceph { radosgw::NAME } else { minio::NAME })
}
