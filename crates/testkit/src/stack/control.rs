//! What a test or a person does to single processes of a running stack: the outages.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{StackDir, report::Report};
use crate::{
    error::{Result, StackError},
    process::Record,
    progress::Progress,
    servers::{answers, object_store, ready},
};

/// Asks the process to end and waits for it.
pub async fn stop(dir: &StackDir, name: &str) -> Result<()> {
    running(dir, name)?.stop().await;
    refresh(dir)
}

/// Kills the process itself; its children are left to notice.
pub async fn kill(dir: &StackDir, name: &str) -> Result<()> {
    let record = running(dir, name)?;
    record.signal(Signal::SIGKILL);
    record.gone_within(Duration::from_secs(5)).await;
    refresh(dir)
}

/// Stops the process in its tracks (SIGSTOP), its children run on.
pub fn pause(dir: &StackDir, name: &str) -> Result<()> {
    running(dir, name)?.signal(Signal::SIGSTOP);
    Ok(())
}

/// Lets a paused process go on.
pub fn resume(dir: &StackDir, name: &str) -> Result<()> {
    running(dir, name)?.signal(Signal::SIGCONT);
    Ok(())
}

/// Starts a process that was stopped or killed, as it was started before, and waits until it serves.
pub async fn start(dir: &StackDir, name: &str) -> Result<()> {
    let _turn = dir.turn().await?;
    // A killed server's children would keep its place.
    dir.end_strays()?;
    let earlier = record(dir, name)?;
    let record = dir.ensure(&earlier.spec).await?;
    let url = Report::read(dir)
        .ok()
        .and_then(|report| report.services.get(name).cloned());
    let client = reqwest::Client::new();
    let within = Duration::from_mins(1);
    match (name, url) {
        (crate::servers::nginx::NAME, Some(url)) => {
            let url = format!("{url}/health");
            ready(&record, within, || answers(&client, &url)).await?;
        }
        (_, Some(url)) => {
            let url = format!("{url}/ready");
            ready(&record, within, || answers(&client, &url)).await?;
        }
        (_, None) => serves(dir, &record, within).await?,
    }
    refresh(dir)
}

/// Prints what runs and where.
pub fn status(dir: &StackDir, progress: &Progress) -> Result<()> {
    let report = Report::read(dir).ok();
    for record in dir.records()? {
        let name = &record.spec.name;
        let state = if record.alive() {
            "runs"
        } else {
            "is not running"
        };
        let url = report
            .as_ref()
            .and_then(|report| report.services.get(name))
            .map_or("", String::as_str);
        progress.say(&format!("{name:<14} {:>8}  {state:<14} {url}", record.pid));
    }
    if let Some(report) = report {
        progress.say(&format!("\n{}", report.base_url));
    }
    Ok(())
}

/// A server has no HTTP of ours: each is asked in its own way.
async fn serves(dir: &StackDir, record: &Record, within: Duration) -> Result<()> {
    use crate::servers::{kafka, minio, postgres, radosgw, redis};
    let port = dir.ports().remembered(&record.spec.name)?;
    let (Ok(report), Some(port)) = (Report::read(dir), port) else {
        return Ok(());
    };
    match record.spec.name.as_str() {
        postgres::NAME => ready(record, within, || postgres::answers(&report.postgres_url)).await,
        redis::NAME => ready(record, within, || redis::answers(port)).await,
        kafka::NAME => ready(record, within, || kafka::answers(port)).await,
        minio::NAME => minio::wait(record, &report.s3, within).await,
        radosgw::NAME => radosgw::wait(record, &report.s3, within).await,
        _ => Ok(()),
    }
}

fn refresh(dir: &StackDir) -> Result<()> {
    match Report::read(dir) {
        Ok(mut report) => report.write(dir),
        // Servers for tests alone have no pids in their file.
        Err(StackError::Json { .. } | StackError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn record(dir: &StackDir, name: &str) -> Result<Record> {
    let name = object_store::resolve(dir, name)?;
    dir.record(name)?.ok_or_else(|| {
        let known = dir.records().unwrap_or_default();
        let known: Vec<String> = known.into_iter().map(|record| record.spec.name).collect();
        StackError::Refused(format!(
            "there is no {name} in {}; there are: {}",
            dir.root().display(),
            known.join(" ")
        ))
    })
}

fn running(dir: &StackDir, name: &str) -> Result<Record> {
    let record = record(dir, name)?;
    if record.alive() {
        return Ok(record);
    }
    Err(StackError::Refused(format!("{name} is not running")))
}
