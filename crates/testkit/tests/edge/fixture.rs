//! An nginx of its own for each test, the tests' S3 server behind it, and a gateway played by a socket.

use std::{process::Command, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client as S3Client,
    config::{BehaviorVersion, Region, RequestChecksumCalculation},
    primitives::ByteStream,
};
use marquee_testkit::{
    free_port, infra,
    infra::workspace_root,
    process::kill_marked,
    servers::nginx::{self, Edge},
    stack::StackDir,
};
use reqwest::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

pub const LIVE: &str = "live-segments";
/// What stands beside an asset; nginx does not look into it.
pub const GZIP_OF_THE_ASSET: &[u8] = b"\x1f\x8b as it was built";

pub struct Fixture {
    pub base: String,
    pub http: Client,
    pub s3: S3Client,
    pub dir: StackDir,
    gateway: Option<AbortHandle>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    /// nginx with nothing behind `/api`.
    pub async fn start() -> Self {
        Self::launch(free_port(), None, String::new()).await
    }

    /// nginx with a gateway that answers each connection with `answer`, word for word.
    pub async fn with_gateway(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer_once(connection, answer));
            }
        });
        Self::launch(port, Some(task.abort_handle()), String::new()).await
    }

    /// nginx with a gateway on this port of loopback.
    pub async fn before(gateway_port: u16) -> Self {
        Self::launch(gateway_port, None, String::new()).await
    }

    /// The same, which believes what these networks say of a client, as compose's container does.
    pub async fn behind(trusted_proxies: &str, gateway_port: u16) -> Self {
        let real_ip = real_ip(trusted_proxies).unwrap();
        Self::launch(gateway_port, None, real_ip).await
    }

    async fn launch(gateway_port: u16, gateway: Option<AbortHandle>, real_ip: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = StackDir::open(folder.path()).unwrap();
        let web_root = dir.root().join("web");
        std::fs::create_dir_all(web_root.join("assets")).unwrap();
        std::fs::write(web_root.join("index.html"), "<title>Marquee</title>").unwrap();
        std::fs::write(web_root.join("assets/app-1a2b.js"), "export {}").unwrap();
        std::fs::write(web_root.join("assets/app-1a2b.js.gz"), GZIP_OF_THE_ASSET).unwrap();

        let port = free_port();
        let base = format!("http://localhost:{port}");
        let edge = Edge {
            address: "127.0.0.1".to_owned(),
            port,
            gateway: format!("127.0.0.1:{gateway_port}"),
            s3: infra().s3.endpoint.replace("http://", ""),
            proxy: format!("127.0.0.1:{}", free_port()),
            web_root,
            real_ip,
        };
        nginx::start(&dir, &edge).await.unwrap();
        let s3 = s3_client(&infra().s3.endpoint);
        make_live_bucket(&s3).await;
        Self {
            base,
            http: Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(20))
                .build()
                .unwrap(),
            s3,
            dir,
            gateway,
            _folder: folder,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Stores an object, by default under a content type that is of no use to a player.
    pub async fn put(&self, bucket: &str, key: &str, body: impl Into<Vec<u8>>) {
        self.s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_type("application/octet-stream")
            .body(ByteStream::from(body.into()))
            .send()
            .await
            .unwrap();
    }

    /// Sends a request word for word, as no client library would, and gives the answer's head and body.
    pub async fn raw(&self, request: &str) -> (String, String) {
        let address = self.base.replace("http://localhost", "127.0.0.1");
        let mut connection = TcpStream::connect(address).await.unwrap();
        // `Connection` is the first header: nginx reads none behind the one that it refuses.
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = connection.read_to_string(&mut answer);
        let within = Duration::from_secs(10);
        tokio::time::timeout(within, read).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.log(nginx::NAME)).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        kill_marked(self.dir.root());
        if let Some(gateway) = &self.gateway {
            gateway.abort();
        }
    }
}

/// A name that no other test uses.
/// What compose's script makes of `EDGE_TRUSTED_PROXIES`, or what it complains of.
pub fn real_ip(trusted_proxies: &str) -> Result<String, String> {
    let script = workspace_root().join("deploy/compose/10-trusted-proxies.envsh");
    let output = Command::new("sh")
        .args(["-euc", r#". "$0"; printf %s "$EDGE_REAL_IP""#])
        .arg(script)
        .env("EDGE_TRUSTED_PROXIES", trusted_proxies)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

pub fn unique() -> String {
    format!("{:016x}", rand::random::<u64>())
}

pub fn s3_client(endpoint: &str) -> S3Client {
    let account = infra().s3;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .credentials_provider(Credentials::new(
            account.access_key,
            account.secret_key,
            None,
            None,
            "test",
        ))
        .build();
    S3Client::from_conf(config)
}

async fn make_live_bucket(s3: &S3Client) {
    // It may be there already: the tests share the server.
    let _ = s3.create_bucket().bucket(LIVE).send().await;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":["*"]}},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::{LIVE}/*"]}}]}}"#
    );
    s3.put_bucket_policy()
        .bucket(LIVE)
        .policy(policy)
        .send()
        .await
        .unwrap();
}

async fn answer_once(mut connection: TcpStream, answer: &str) {
    let mut head = vec![0; 16 * 1024];
    let _ = connection.read(&mut head).await;
    let _ = connection.write_all(answer.as_bytes()).await;
    // A streamed answer stays open: what was written must get through before its end.
    tokio::time::sleep(Duration::from_secs(30)).await;
}
