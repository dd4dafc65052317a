//! `MinIO`, the S3 server: from PATH, or built once by Go into the cache (its project publishes
//! source only, and Debian packages none).

use std::{fs, path::PathBuf, time::Duration};

use super::{ServerOptions, answers, cache_dir, cache_lock, find_program, ready, run, spec};
use crate::{
    error::{Result, StackError},
    infra::S3,
    process::Record,
    progress::Progress,
    stack::StackDir,
    state_file::remove_dir,
};

/// The server's name in the stack.
pub const NAME: &str = "minio";
const RELEASE: &str = "minio-RELEASE.2025-09-07T16-13-09Z";
/// The same commit by its pseudo-version, which every Go proxy answers; tags that are no semantic
/// version are refused by some.
const MODULE: &str = "github.com/minio/minio@v0.0.0-20250907161309-07c3a429bfed";

/// Starts the server.
pub async fn start(dir: &StackDir, options: ServerOptions, progress: &Progress) -> Result<S3> {
    let program = program(dir, progress).await?.display().to_string();
    let port = dir.tcp_port(NAME, NAME, options.documented(9000))?;
    let console = dir.tcp_port(NAME, "minio-console", options.documented(9001))?;
    let s3 = S3 {
        endpoint: format!("http://127.0.0.1:{port}"),
        access_key: "marquee".to_owned(),
        secret_key: dir.secret("s3_secret_key")?,
    };
    let data = dir.data(NAME);
    fs::create_dir_all(&data).map_err(StackError::io(&data))?;
    let argv = [
        &program,
        "server",
        "--quiet",
        "--address",
        &format!("127.0.0.1:{port}"),
        "--console-address",
        &format!("127.0.0.1:{console}"),
        &data.display().to_string(),
    ]
    .map(str::to_owned);
    let mut spec = spec(dir, NAME, argv.into());
    spec.env = [
        ("MINIO_ROOT_USER", s3.access_key.as_str()),
        ("MINIO_ROOT_PASSWORD", s3.secret_key.as_str()),
        ("MINIO_UPDATE", "off"),
        ("MINIO_CALLHOME_ENABLE", "off"),
        ("MINIO_BROWSER", if options.durable { "on" } else { "off" }),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let record = dir.ensure(&spec).await?;
    wait(&record, &s3, Duration::from_mins(1)).await?;
    Ok(s3)
}

/// Waits until the server answers.
pub(crate) async fn wait(record: &Record, s3: &S3, within: Duration) -> Result<()> {
    let client = reqwest::Client::new();
    let live = format!("{}/minio/health/live", s3.endpoint);
    ready(record, within, || answers(&client, &live)).await
}

/// Whether the server can be had without building it.
pub fn is_at_hand() -> bool {
    find_program("minio").is_some() || cached().is_ok_and(|file| file.is_file())
}

/// Whether Go is there to build it, in a version that can.
pub async fn can_be_built(dir: &StackDir) -> bool {
    let Some(go) = find_program("go") else {
        return false;
    };
    let go = go.display().to_string();
    let version = run(dir, "go env", &[&go, "env", "GOVERSION"], &[]).await;
    version.is_ok_and(|version| go_is_new_enough(&version))
}

fn go_is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches("go")
        .split(['.', '-', 'r'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(1), Some(24))
}

fn cached() -> Result<PathBuf> {
    Ok(cache_dir()?.join("bin").join(RELEASE))
}

async fn program(dir: &StackDir, progress: &Progress) -> Result<PathBuf> {
    if let Some(program) = find_program("minio") {
        return Ok(program);
    }
    let place = cached()?;
    if place.is_file() {
        return Ok(place);
    }
    let _turn = cache_lock(RELEASE).await?;
    if place.is_file() {
        return Ok(place);
    }
    let go = find_program("go").ok_or(StackError::Missing {
        program: "minio",
        remedy: "put a minio binary on PATH, or install Go 1.24 or newer (https://go.dev/dl/) so \
                 that it can be built, or use S3=radosgw",
    })?;
    progress.working("minio: building it from source by Go (4 minutes on 2 cores, once)");
    let bin = cache_dir()?.join("bin");
    // Of its own: a build that outlived its launcher may still write.
    let part = bin.join(format!("part-{:08x}", rand::random::<u32>()));
    fs::create_dir_all(&part).map_err(StackError::io(&part))?;
    let argv = [
        &go.display().to_string(),
        "install",
        "-ldflags",
        "-s -w",
        MODULE,
    ];
    let env = [
        ("CGO_ENABLED", "0"),
        ("GOBIN", &part.display().to_string()),
        ("GOFLAGS", ""),
    ];
    run(dir, "building MinIO", &argv, &env).await?;
    fs::rename(part.join("minio"), &place).map_err(StackError::io(&place))?;
    remove_dir(&part)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::go_is_new_enough;

    #[test]
    fn go_1_24_and_newer_can_build_it() {
        assert!(go_is_new_enough("go1.24"));
        assert!(go_is_new_enough("go1.26.8"));
        assert!(go_is_new_enough("go1.25rc1"));
        assert!(!go_is_new_enough("go1.19.8"));
        assert!(!go_is_new_enough(""));
    }
}
