//! Ceph's S3 gateway from Debian's packages, for machines that can neither get nor build `MinIO`: one
//! monitor, one OSD and the gateway, on loopback. `S3=radosgw` asks for it.

use std::{fs, path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

use super::{ServerOptions, answers, find_program, ready, run, spec};
use crate::{
    error::{Result, StackError},
    infra::S3,
    process::Record,
    progress::Progress,
    stack::StackDir,
    state_file::remove_dir,
};

/// The gateway's name in the stack.
pub const NAME: &str = "radosgw";
/// The object store's name in the stack.
pub const OSD: &str = "ceph-osd";
/// The monitor's name in the stack.
pub const MON: &str = "ceph-mon";

/// Starts the three daemons, making their stores and the account at the first start.
pub async fn start(dir: &StackDir, options: ServerOptions, progress: &Progress) -> Result<S3> {
    let ceph = Ceph::new(dir, options)?;
    ceph.write_config()?;
    let first = !ceph.home.join("account-made").exists();
    if first {
        progress.working("radosgw: making Ceph's stores (half a minute, once)");
    }
    ceph.start_monitor().await?;
    ceph.start_osd().await?;
    let argv = ceph.daemon("radosgw", &["-n", "client.rgw.a"])?;
    let record = dir.ensure(&spec(dir, NAME, argv)).await?;
    wait(&record, &ceph.s3, Duration::from_mins(2)).await?;
    ceph.make_account().await?;
    Ok(ceph.s3)
}

/// Waits until the gateway answers.
pub(crate) async fn wait(record: &Record, s3: &S3, within: Duration) -> Result<()> {
    let client = reqwest::Client::new();
    ready(record, within, || answers(&client, &s3.endpoint)).await
}

struct Ceph<'a> {
    dir: &'a StackDir,
    home: PathBuf,
    mon_port: u16,
    port: u16,
    fsid: String,
    s3: S3,
}

impl<'a> Ceph<'a> {
    fn new(dir: &'a StackDir, options: ServerOptions) -> Result<Self> {
        let home = dir.data("ceph");
        for part in ["mon", "osd", "rgw", "run"] {
            let part = home.join(part);
            fs::create_dir_all(&part).map_err(StackError::io(&part))?;
        }
        let port = dir.tcp_port(NAME, NAME, options.documented(9000))?;
        Ok(Self {
            dir,
            mon_port: dir.tcp_port(MON, MON, None)?,
            port,
            fsid: uuid(&home.join("fsid"))?,
            s3: S3 {
                endpoint: format!("http://127.0.0.1:{port}"),
                access_key: "marquee".to_owned(),
                secret_key: dir.secret("s3_secret_key")?,
            },
            home,
        })
    }

    fn path(&self, name: &str) -> String {
        self.home.join(name).display().to_string()
    }

    fn write_config(&self) -> Result<()> {
        let home = self.home.display();
        let text = format!(
            "[global]\n\
             fsid = {}\n\
             mon_initial_members = a\n\
             mon_host = v2:127.0.0.1:{}\n\
             public_addr = 127.0.0.1\n\
             cluster_addr = 127.0.0.1\n\
             auth_cluster_required = cephx\n\
             auth_service_required = cephx\n\
             auth_client_required = cephx\n\
             osd_pool_default_size = 1\n\
             osd_pool_default_min_size = 1\n\
             osd_crush_chooseleaf_type = 0\n\
             osd_pool_default_pg_num = 4\n\
             osd_pool_default_pgp_num = 4\n\
             osd_pool_default_pg_autoscale_mode = off\n\
             mon_allow_pool_size_one = true\n\
             mon_max_pg_per_osd = 1000\n\
             mon_data_avail_crit = 1\n\
             mon_data_avail_warn = 2\n\
             mon_warn_on_pool_no_redundancy = false\n\
             ms_bind_ipv6 = false\n\
             keyring = {home}/keyring\n\
             run_dir = {home}/run\n\
             admin_socket =\n\
             log_to_stderr = true\n\
             err_to_stderr = true\n\
             log_file =\n\
             mon_cluster_log_file = /dev/null\n\
             [mon.a]\n\
             mon_data = {home}/mon\n\
             [osd.0]\n\
             keyring = {home}/osd/keyring\n\
             osd_data = {home}/osd\n\
             osd_objectstore = bluestore\n\
             bluestore_block_size = 10737418240\n\
             osd_memory_target = 939524096\n\
             [client.rgw.a]\n\
             keyring = {home}/rgw/keyring\n\
             rgw_data = {home}/rgw\n\
             rgw_frontends = beast endpoint=127.0.0.1:{}\n\
             rgw_run_sync_thread = false\n\
             rgw_crypt_require_ssl = false\n\
             rgw_dns_name = localhost\n",
            self.fsid, self.mon_port, self.port
        );
        let file = self.home.join("ceph.conf");
        fs::write(&file, text).map_err(StackError::io(&file))
    }

    async fn start_monitor(&self) -> Result<()> {
        // The monitor's map holds its port, and the port may be another one than last time.
        let made = self.home.join("mon-made");
        let port = self.mon_port.to_string();
        let made_for = fs::read_to_string(&made).unwrap_or_default();
        if made_for != port {
            if made_for.is_empty() {
                self.make_keys().await?;
            }
            self.make_monitor(made_for.is_empty()).await?;
            fs::write(&made, port).map_err(StackError::io(&made))?;
        }
        let argv = self.daemon("ceph-mon", &["-i", "a"])?;
        self.dir.ensure(&spec(self.dir, MON, argv)).await.map(drop)
    }

    async fn make_keys(&self) -> Result<()> {
        let keyring = self.path("keyring");
        let _ = fs::remove_file(&keyring);
        let keys: [&[&str]; 2] = [
            &["-n", "mon.", "--cap", "mon", "allow *"],
            &[
                "-n",
                "client.admin",
                "--cap",
                "mon",
                "allow *",
                "--cap",
                "osd",
                "allow *",
                "--cap",
                "mgr",
                "allow *",
            ],
        ];
        for (index, key) in keys.iter().enumerate() {
            let create: &[&str] = if index == 0 {
                &["--create-keyring"]
            } else {
                &[]
            };
            let argv = [&["ceph-authtool", &keyring, "--gen-key"], create, key].concat();
            run(self.dir, "ceph-authtool", &argv, &[]).await?;
        }
        Ok(())
    }

    async fn make_monitor(&self, first: bool) -> Result<()> {
        let (config, map, keyring) = (
            self.path("ceph.conf"),
            self.path("monmap"),
            self.path("keyring"),
        );
        let address = format!("[v2:127.0.0.1:{}]", self.mon_port);
        let argv = [
            "monmaptool",
            "--create",
            "--addv",
            "a",
            &address,
            "--fsid",
            &self.fsid,
            &map,
            "--clobber",
        ];
        run(self.dir, "monmaptool", &argv, &[]).await?;
        let argv: &[&str] = if first {
            remove_dir(&self.home.join("mon"))?;
            &[
                "ceph-mon",
                "-c",
                &config,
                "--mkfs",
                "-i",
                "a",
                "--monmap",
                &map,
                "--keyring",
                &keyring,
            ]
        } else {
            &[
                "ceph-mon",
                "-c",
                &config,
                "-i",
                "a",
                "--inject-monmap",
                &map,
            ]
        };
        run(self.dir, "ceph-mon", argv, &[]).await.map(drop)
    }

    async fn start_osd(&self) -> Result<()> {
        let made = self.home.join("osd-made");
        if !made.exists() {
            let osd = self.home.join("osd");
            remove_dir(&osd)?;
            fs::create_dir_all(&osd).map_err(StackError::io(&osd))?;
            self.make_osd().await?;
            fs::write(&made, "").map_err(StackError::io(&made))?;
        }
        let argv = self.daemon("ceph-osd", &["-i", "0"])?;
        let record = self.dir.ensure(&spec(self.dir, OSD, argv)).await?;
        ready(&record, Duration::from_mins(1), async || {
            self.ceph(&["osd", "stat"])
                .await
                .is_ok_and(|answer| answer.contains("1 up"))
        })
        .await
    }

    async fn make_osd(&self) -> Result<()> {
        let uuid = uuid(&self.home.join("osd-uuid"))?;
        // The monitor needs a moment before it takes commands.
        let start = Instant::now();
        while let Err(error) = self.ceph(&["osd", "new", &uuid]).await {
            if start.elapsed() > Duration::from_mins(1) {
                return Err(error);
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.ceph(&[
            "config",
            "set",
            "mon",
            "auth_allow_insecure_global_id_reclaim",
            "false",
        ])
        .await?;
        let (osd, rgw) = (self.path("osd/keyring"), self.path("rgw/keyring"));
        self.ceph(&[
            "auth",
            "get-or-create",
            "osd.0",
            "mon",
            "allow profile osd",
            "osd",
            "allow *",
            "-o",
            &osd,
        ])
        .await?;
        self.ceph(&[
            "auth",
            "get-or-create",
            "client.rgw.a",
            "mon",
            "allow rw",
            "osd",
            "allow rwx",
            "-o",
            &rgw,
        ])
        .await?;
        let config = self.path("ceph.conf");
        let argv = [
            "ceph-osd",
            "-c",
            &config,
            "-i",
            "0",
            "--mkfs",
            "--osd-uuid",
            &uuid,
        ];
        run(self.dir, "ceph-osd --mkfs", &argv, &[]).await.map(drop)
    }

    async fn make_account(&self) -> Result<()> {
        let made = self.home.join("account-made");
        if made.exists() {
            return Ok(());
        }
        let config = self.path("ceph.conf");
        let access = format!("--access-key={}", self.s3.access_key);
        let secret = format!("--secret-key={}", self.s3.secret_key);
        let argv = [
            "radosgw-admin",
            "-c",
            &config,
            "user",
            "create",
            "--uid=marquee",
            "--display-name=marquee",
            &access,
            &secret,
        ];
        run(self.dir, "radosgw-admin", &argv, &[]).await?;
        fs::write(&made, "").map_err(StackError::io(&made))
    }

    /// A command to the cluster, given up after ten seconds.
    async fn ceph(&self, arguments: &[&str]) -> Result<String> {
        let config = self.path("ceph.conf");
        let argv = [
            &["ceph", "-c", &config, "--connect-timeout", "10"],
            arguments,
        ]
        .concat();
        run(self.dir, "ceph", &argv, &[]).await
    }

    fn daemon(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<String>> {
        let file = find_program(program).ok_or(StackError::Missing {
            program,
            remedy: "run S3=radosgw scripts/bootstrap",
        })?;
        let config = self.path("ceph.conf");
        let head = [&file.display().to_string(), "-f", "-c", &config].map(str::to_owned);
        let tail = arguments.iter().map(ToString::to_string);
        Ok(head.into_iter().chain(tail).collect())
    }
}

/// A random UUID, made once and kept in a file.
fn uuid(file: &std::path::Path) -> Result<String> {
    if let Ok(uuid) = fs::read_to_string(file)
        && uuid.len() == 36
    {
        return Ok(uuid);
    }
    let kernel = "/proc/sys/kernel/random/uuid";
    let uuid = fs::read_to_string(kernel).map_err(StackError::io(kernel))?;
    let uuid = uuid.trim().to_owned();
    fs::write(file, &uuid).map_err(StackError::io(file))?;
    Ok(uuid)
}
