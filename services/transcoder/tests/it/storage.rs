//! Real S3 behind a door that a test can shut.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use marquee_common::{
    contract::StreamId,
    s3::{self, BucketAccess, S3Config},
};
use marquee_testkit::infra;
use marquee_transcoder::{
    edge::Edge,
    output::{OutputContext, objects::LiveObjects, spill::Spill},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A TCP relay: open it passes everything, shut it drops every connection at once.
#[derive(Clone)]
pub struct Door {
    open: Arc<watch::Sender<bool>>,
    turned_away: Arc<watch::Sender<u64>>,
    port: u16,
}

impl Door {
    async fn before(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            open: Arc::new(watch::Sender::new(true)),
            turned_away: Arc::default(),
            port: listener.local_addr().unwrap().port(),
        };
        let (open, turned_away) = (door.open.clone(), door.turned_away.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (upstream, mut open) = (upstream.clone(), open.subscribe());
                if !*open.borrow() {
                    turned_away.send_modify(|count| *count += 1);
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(upstream).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        door
    }

    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Waits until somebody knocked at the shut door.
    pub async fn somebody_turned_away(&self) {
        let mut turned_away = self.turned_away.subscribe();
        turned_away.mark_unchanged();
        turned_away.changed().await.unwrap();
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    s3: S3Config,
}

/// A live bucket, and a folder of one stream in it.
pub struct Storage {
    pub context: OutputContext,
    /// Asks past nothing: through the door, too.
    pub client: aws_sdk_s3::Client,
    pub door: Door,
    pub stream_id: StreamId,
    _spill: tempfile::TempDir,
}

impl Storage {
    pub async fn new() -> Self {
        let server = infra().s3;
        let upstream = server.endpoint.trim_start_matches("http://").to_owned();
        let door = Door::before(upstream).await;
        let settings = Settings::parse_from([
            "test",
            "--s3-endpoint-url",
            &format!("http://127.0.0.1:{}", door.port),
            "--s3-access-key",
            &server.access_key,
            "--s3-secret-key",
            &server.secret_key,
        ]);
        let client = s3::client(&settings.s3);
        s3::ensure_bucket(&client, "live-segments", BucketAccess::PublicRead)
            .await
            .unwrap();
        let objects = LiveObjects::new(&client, "live-segments".into());
        let spill = tempfile::tempdir().unwrap();
        Self {
            context: OutputContext {
                objects,
                spill: Spill::claim(spill.path().into(), 1 << 20).unwrap(),
                memory_bytes: 1 << 20,
                dvr_window: Duration::from_mins(30),
                edge: Edge::default(),
            },
            client,
            door,
            stream_id: StreamId::new(),
            _spill: spill,
        }
    }
}
