//! `stack up`: servers, databases, services, accounts, edge, in this order, each waited for.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{
    Options, StackDir, accounts,
    infra::start_servers,
    report::Report,
    services::{Plan, Service},
};
use crate::{
    error::{Result, StackError},
    infra::Infra,
    progress::Progress,
    servers::{
        answers, find_program,
        nginx::{self, Edge},
        ready, run,
    },
    state_file::read_json,
};

const BOOTSTRAP: &str = include_str!("../../../../migrations/bootstrap/bootstrap.sql");
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Starts what does not run yet and writes `stack.json`.
pub async fn up(dir: &StackDir, options: &Options, progress: &Progress) -> Result<Report> {
    if !options.web_root.join("index.html").is_file() {
        return Err(StackError::Refused(format!(
            "{} is not built: run `npm --prefix web install && npm --prefix web run build`",
            options.web_root.display()
        )));
    }
    let _turn = dir.turn().await?;
    dir.end_strays()?;
    dir.write(&dir.options_file(), options)?;
    let infra = start_servers(dir, options.servers(), progress).await?;
    bootstrap(dir, &infra).await?;
    progress.done("databases and roles");

    let documented = options.documented_ports.then_some(8000);
    let plan = Plan {
        dir,
        options,
        infra: &infra,
        edge_port: dir.tcp_port(nginx::NAME, nginx::NAME, documented)?,
    };
    let services = plan.services()?;
    start_all(dir, &services, Some(progress)).await?;
    let users = match services.iter().find(|service| service.name == "auth") {
        Some(auth) => accounts::seed(dir, auth).await?,
        None => Vec::new(),
    };
    start_edge(&plan).await?;
    progress.done("nginx");

    let mut report = report(&plan, &services, users)?;
    report.write(dir)?;
    progress.done(&format!("Marquee is up on {}", report.base_url));
    Ok(report)
}

/// Starts a further instance of a service beside those that run, and returns it.
pub async fn add(dir: &StackDir, binary: &str) -> Result<Service> {
    let _turn = dir.turn().await?;
    let mut report = Report::read(dir)?;
    let options: Options = read_json(&dir.options_file())?
        .ok_or_else(|| StackError::Refused("this stack was not started by `stack up`".into()))?;
    let infra = report.infra();
    let plan = Plan {
        dir,
        options: &options,
        infra: &infra,
        edge_port: dir.tcp_port(nginx::NAME, nginx::NAME, None)?,
    };
    let service = plan.further(binary)?;
    start_all(dir, std::slice::from_ref(&service), None).await?;
    enter(&mut report, &service);
    report.write(dir)?;
    Ok(service)
}

/// The superuser's part. psql, because the same file serves compose and Kubernetes, and psql gives
/// it the passwords from its environment.
async fn bootstrap(dir: &StackDir, infra: &Infra) -> Result<()> {
    let psql = find_program("psql").ok_or(StackError::Missing {
        program: "psql",
        remedy: "run scripts/bootstrap, or apt-get install postgresql-client",
    })?;
    let file = dir.data("bootstrap.sql");
    std::fs::write(&file, BOOTSTRAP).map_err(StackError::io(&file))?;
    let mut env = Vec::new();
    for (variable, secret) in [
        ("AUTH_DB_PASSWORD", "db_auth"),
        ("STREAM_DB_PASSWORD", "db_stream"),
        ("RECORDING_DB_PASSWORD", "db_recording"),
        ("VOD_DB_PASSWORD", "db_vod"),
        ("PLAYBACK_DB_PASSWORD", "db_playback"),
        ("AUTH_FDW_PASSWORD", "db_fdw"),
        ("PGPASSWORD", "postgres_superuser"),
    ] {
        env.push((variable, dir.secret(secret)?));
    }
    let env: Vec<(&str, &str)> = env.iter().map(|(name, v)| (*name, v.as_str())).collect();
    // The password stays out of the command line.
    let url = infra
        .postgres_url
        .replace(&format!(":{}@", dir.secret("postgres_superuser")?), "@");
    let argv = [
        &psql.display().to_string(),
        "--no-psqlrc",
        "--dbname",
        &url,
        "--file",
        &file.display().to_string(),
    ];
    run(dir, "making databases and roles", &argv, &env)
        .await
        .map(drop)
}

async fn start_all(
    dir: &StackDir,
    services: &[Service],
    progress: Option<&Progress>,
) -> Result<()> {
    let client = reqwest::Client::new();
    let mut waiting = JoinSet::new();
    for service in services {
        let record = dir.ensure(&service.spec).await?;
        let url = format!("{}/ready", service.url);
        let client = client.clone();
        let name = service.name.clone();
        waiting.spawn(async move {
            let result = ready(&record, READY_WITHIN, || answers(&client, &url)).await;
            result.map(|()| name)
        });
    }
    while let Some(joined) = waiting.join_next().await {
        let name = joined.map_err(|error| StackError::failed("waiting", &error))??;
        if let Some(progress) = progress {
            progress.done(&name);
        }
    }
    Ok(())
}

async fn start_edge(plan: &Plan<'_>) -> Result<()> {
    let authority = |url: &str| url.trim_start_matches("http://").to_owned();
    let edge = Edge {
        address: plan.options.public_address().to_owned(),
        port: plan.edge_port,
        gateway: authority(&plan.url("gateway")?),
        proxy: authority(&plan.url("proxy")?),
        s3: authority(&plan.infra.s3.endpoint),
        web_root: plan.options.web_root.clone(),
        real_ip: String::new(),
    };
    nginx::start(plan.dir, &edge).await
}

fn report(
    plan: &Plan<'_>,
    services: &[Service],
    users: Vec<super::report::User>,
) -> Result<Report> {
    let mut report = Report {
        base_url: plan.base_url(),
        gateway_url: plan.url("gateway")?,
        srt_url: plan.srt_url()?,
        rtmp_url: plan.rtmp_url()?,
        proxy_url: Some(plan.url("proxy")?),
        playback_url: None,
        s3: plan.infra.s3.clone(),
        redis_url: plan.infra.redis_url.clone(),
        kafka: plan.infra.kafka.clone(),
        postgres_url: plan.infra.postgres_url.clone(),
        internal_api_key: plan.dir.secret("internal_api_key")?,
        services: [("nginx".to_owned(), plan.base_url())].into(),
        srt_urls: [].into(),
        rtmp_urls: [].into(),
        pids: [].into(),
        users,
    };
    for service in services {
        enter(&mut report, service);
    }
    // Instances that were added to an earlier start of this stack and still run.
    if let Ok(earlier) = Report::read(plan.dir) {
        for (name, url) in earlier.services {
            if plan.dir.running(&name)?.is_some() {
                report.services.entry(name).or_insert(url);
            }
        }
        for (name, url) in earlier.srt_urls {
            if plan.dir.running(&name)?.is_some() {
                report.srt_urls.entry(name).or_insert(url);
            }
        }
        for (name, url) in earlier.rtmp_urls {
            if plan.dir.running(&name)?.is_some() {
                report.rtmp_urls.entry(name).or_insert(url);
            }
        }
    }
    Ok(report)
}

fn enter(report: &mut Report, service: &Service) {
    let name = service.name.clone();
    report.services.insert(name.clone(), service.url.clone());
    if let Some(url) = &service.srt_url {
        report.srt_urls.insert(name.clone(), url.clone());
    }
    if let Some(url) = &service.rtmp_url {
        report.rtmp_urls.insert(name, url.clone());
    }
}
