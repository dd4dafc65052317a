//! PostgreSQL from Debian's package, one private cluster a stack, password authentication also on
//! loopback because the foreign data wrapper needs it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{Connection, PgConnection};

use super::{ServerOptions, find_program, is_root, ready, run, spec};
use crate::{
    error::{Result, StackError},
    stack::StackDir,
    state_file::{remove_dir, remove_file},
};

/// The cluster's name in the stack.
pub const NAME: &str = "postgres";

/// Starts the cluster, making it at the first start, and returns its URL as superuser.
pub async fn start(dir: &StackDir, options: ServerOptions) -> Result<String> {
    let password = dir.secret("postgres_superuser")?;
    let bin = binaries()?;
    let data = dir.data(NAME);
    if !data.join("PG_VERSION").exists() {
        initialise(dir, &bin, &password).await?;
    }
    if dir.running(NAME)?.is_none() {
        // Nobody of this folder runs any more, so a pid in there is at best a stranger's.
        remove_file(&data.join("postmaster.pid"))?;
    }
    let port = dir.tcp_port(NAME, NAME, options.documented(5432))?;
    let mut argv = as_owner()?;
    argv.extend([path(&bin.join("postgres")), "-D".to_owned(), path(&data)]);
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=300".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "log_timezone=UTC".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    if !options.durable {
        settings.extend(
            [
                "fsync=off",
                "full_page_writes=off",
                "synchronous_commit=off",
            ]
            .map(str::to_owned),
        );
    }
    for setting in settings {
        argv.extend(["-c".to_owned(), setting]);
    }
    let mut spec = spec(dir, NAME, argv);
    spec.interrupt = true;
    let record = dir.ensure(&spec).await?;
    let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
    ready(&record, Duration::from_mins(1), async || {
        answers(&url).await
    })
    .await?;
    Ok(url)
}

/// Whether PostgreSQL executes a statement.
pub(crate) async fn answers(url: &str) -> bool {
    let Ok(mut connection) = PgConnection::connect(url).await else {
        return false;
    };
    let answer = sqlx::query("SELECT 1").execute(&mut connection).await;
    let _ = connection.close().await;
    answer.is_ok()
}

async fn initialise(dir: &StackDir, bin: &Path, password: &str) -> Result<()> {
    let data = dir.data(NAME);
    // Made beside its place and renamed, so that a first start that is interrupted leaves nothing
    // that looks like a cluster.
    let parent = data.with_extension("new");
    remove_dir(&parent)?;
    remove_dir(&data)?;
    fs::create_dir_all(&parent).map_err(StackError::io(&parent))?;
    let password_file = parent.join("password");
    fs::write(&password_file, password).map_err(StackError::io(&password_file))?;
    if let Some(owner) = owner()? {
        for path in [&parent, &password_file] {
            nix::unistd::chown(path, Some(owner.uid), Some(owner.gid))
                .map_err(|error| StackError::io(path)(error.into()))?;
        }
    }
    let cluster = parent.join("cluster");
    let mut argv = as_owner()?;
    argv.extend([
        path(&bin.join("initdb")),
        format!("--pgdata={}", cluster.display()),
        "--username=postgres".to_owned(),
        format!("--pwfile={}", password_file.display()),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C.UTF-8".to_owned(),
        "--no-sync".to_owned(),
    ]);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    run(dir, "initdb", &argv, &[]).await?;
    fs::rename(&cluster, &data).map_err(StackError::io(&data))?;
    remove_dir(&parent)
}

/// PostgreSQL refuses to run as root. The unprivileged account keeps one capability, to pass
/// through folders such as `/root` that only root may enter.
fn as_owner() -> Result<Vec<String>> {
    let Some(owner) = owner()? else {
        return Ok(Vec::new());
    };
    Ok(vec![
        "setpriv".to_owned(),
        format!("--reuid={}", owner.uid),
        format!("--regid={}", owner.gid),
        "--clear-groups".to_owned(),
        "--inh-caps=+dac_override".to_owned(),
        "--ambient-caps=+dac_override".to_owned(),
        "--".to_owned(),
    ])
}

fn owner() -> Result<Option<nix::unistd::User>> {
    if !is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| nix::unistd::User::from_name(name).ok().flatten())
        .map(Some)
        .ok_or(StackError::Missing {
            program: "an unprivileged account for PostgreSQL",
            remedy: "Debian's package postgresql makes the user `postgres`",
        })
}

/// Debian keeps the server's programs off the PATH, one folder a major version; the newest is taken.
fn binaries() -> Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let dir = entry.ok()?.path();
            let version: u32 = dir.file_name()?.to_str()?.parse().ok()?;
            let bin = dir.join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .max();
    if let Some((_, bin)) = debian {
        return Ok(bin);
    }
    find_program("initdb")
        .and_then(|file| file.canonicalize().ok()?.parent().map(Path::to_owned))
        .ok_or(StackError::Missing {
            program: "PostgreSQL",
            remedy: "run scripts/bootstrap, or apt-get install postgresql",
        })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
