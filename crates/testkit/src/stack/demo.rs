//! `stack demo`: the stack, a synthetic broadcast, and the addresses to look at, until Ctrl-C.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};

use super::{
    Options, StackDir,
    broadcaster::{self, Announced, Broadcast},
    down,
    report::Report,
    up::up,
};
use crate::{
    error::{Result, StackError},
    process::log_tail,
    progress::Progress,
    servers::answers,
};

const PLAYABLE_WITHIN: Duration = Duration::from_mins(1);

/// Runs the demo until SIGINT, SIGTERM or SIGHUP, then stops everything; so it does when it fails.
pub async fn demo(dir: &StackDir, options: &Options, progress: &Progress) -> Result<()> {
    let mut ends = Ends::listen()?;
    let outcome = tokio::select! {
        outcome = run(dir, options, progress) => outcome,
        () = ends.any() => Ok(()),
    };
    progress.say("");
    progress.working("stopping everything");
    down::stop_all(dir, progress).await?;
    outcome
}

/// Does `work`, but stops the whole stack and fails when a signal says so first.
pub async fn or_stop<T>(
    dir: &StackDir,
    progress: &Progress,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut ends = Ends::listen()?;
    tokio::select! {
        outcome = work => outcome,
        () = ends.any() => {
            progress.working("interrupted: stopping everything");
            down::stop_all(dir, progress).await?;
            Err(StackError::Refused("interrupted".to_owned()))
        }
    }
}

async fn run(dir: &StackDir, options: &Options, progress: &Progress) -> Result<()> {
    let report = up(dir, options, progress).await?;
    let broadcast = Broadcast::of_the_demo(&report).await?;
    let own = Broadcast::for_an_encoder(&report).await?;
    progress.working(&format!("a broadcaster: {}", broadcaster::picture()));
    let mut record = broadcaster::start(dir, &report, &broadcast).await?;
    wait_until_playable(&broadcast, dir, progress).await;
    let announced = broadcast.announced(&report).await?;
    tell(&report, &broadcast, &announced, &own, progress);

    let mut pause = Duration::from_secs(1);
    loop {
        let since = Instant::now();
        while record.alive() {
            sleep(Duration::from_millis(500)).await;
        }
        if since.elapsed() > Duration::from_mins(1) {
            pause = Duration::from_secs(1);
        }
        let again_in = pause.as_secs();
        progress.warn(&match log_tail(&record.spec.log, 3) {
            said if said.is_empty() => {
                format!("the broadcaster ended; it starts again in {again_in} s")
            }
            said => {
                format!("the broadcaster ended; it starts again in {again_in} s. It said:\n{said}")
            }
        });
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
        // The key may have expired or been rotated meanwhile.
        let again = async {
            let broadcast = Broadcast::of_the_demo(&report).await?;
            broadcaster::start(dir, &report, &broadcast).await
        };
        match again.await {
            Ok(started) => record = started,
            Err(error) => progress.warn(&error.to_string()),
        }
    }
}

async fn wait_until_playable(broadcast: &Broadcast, dir: &StackDir, progress: &Progress) {
    let client = reqwest::Client::new();
    let start = Instant::now();
    while !answers(&client, &broadcast.hls_url).await {
        if start.elapsed() > PLAYABLE_WITHIN {
            progress.warn(&format!(
                "nothing plays yet after {} s; look into {}",
                PLAYABLE_WITHIN.as_secs(),
                dir.log("transcoder").display()
            ));
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
    progress.done("it plays");
}

fn tell(
    report: &Report,
    broadcast: &Broadcast,
    announced: &Announced,
    own: &Broadcast,
    progress: &Progress,
) {
    let logins: Vec<String> = report
        .users
        .iter()
        .map(|user| {
            let what = match user.username.as_str() {
                "demo" => "the broadcaster",
                "viewer" => "has a subscription",
                _ => "administrator",
            };
            format!("{} / {}  ({what})", user.username, user.password)
        })
        .collect();
    let (server, key) = own.rtmp(report);
    progress.say(&format!(
        "\n  {title}\n\
         \n  On air      {on_air}\
         \n  Watch       {page}\
         \n  HLS         {hls}\
         \n  Log in at   {base}\
         \n              {logins}\
         \n  OBS         Settings, Stream: Service is Custom, and\
         \n              Server {server}, Stream Key {key}\
         \n              or by SRT, which takes lost packets better: the key stays empty, Server is\
         \n              {srt}\
         \n              Settings, Output: x264 with a keyframe interval of 2 s; then watch\
         \n              {own}\
         \n\n  Ctrl-C stops everything.\n",
        title = progress.bold("Marquee is live"),
        on_air = match &announced.username {
            Some(username) => format!("{}, by {username}", announced.title),
            None => announced.title.clone(),
        },
        page = progress.bold(&page(report, broadcast)),
        hls = broadcast.hls_url,
        base = report.base_url,
        logins = logins.join("\n              "),
        srt = own.publish_url(report),
        own = page(report, own),
    ));
}

fn page(report: &Report, broadcast: &Broadcast) -> String {
    format!("{}/live/{}", report.base_url, broadcast.stream_id)
}

/// The signals that end the launcher: Ctrl-C, a service manager, a closed terminal.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    fn listen() -> Result<Self> {
        let on =
            |kind| signal(kind).map_err(|error| StackError::failed("handling signals", &error));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
