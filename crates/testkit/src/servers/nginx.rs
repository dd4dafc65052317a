//! nginx from Debian's package, with the edge's template: the same file that compose gives to
//! nginx' own image.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{answers, find_program, is_root, ready, spec};
use crate::{
    error::{Result, StackError},
    stack::StackDir,
};

/// The edge's name in the stack.
pub const NAME: &str = "nginx";
const TEMPLATE: &str = include_str!("../../../../nginx/marquee.conf.template");

/// What the edge is between.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Address it listens on.
    pub address: String,
    /// Port it listens on.
    pub port: u16,
    /// `host:port` of the gateway.
    pub gateway: String,
    /// `host:port` of the S3 server.
    pub s3: String,
    /// `host:port` of the proxy.
    pub proxy: String,
    /// The folder of the web page.
    pub web_root: PathBuf,
    /// nginx' directives that say whose word about a client's address is taken; empty: nobody's.
    pub real_ip: String,
}

/// Starts the edge.
pub async fn start(dir: &StackDir, edge: &Edge) -> Result<()> {
    let program = find_program("nginx").ok_or(StackError::Missing {
        program: "nginx",
        remedy: "run scripts/bootstrap, or apt-get install nginx",
    })?;
    let home = dir.data(NAME);
    let temporary = home.join("tmp");
    fs::create_dir_all(&temporary).map_err(StackError::io(&temporary))?;
    let site = home.join("marquee.conf");
    write(&site, &fill_in(edge, &home.join("cache")))?;
    let main = home.join("nginx.conf");
    write(&main, &main_conf(&home, &site))?;

    let argv = [
        &program.display().to_string(),
        "-e",
        "stderr",
        "-p",
        &home.display().to_string(),
        "-c",
        &main.display().to_string(),
    ]
    .map(str::to_owned);
    let record = dir.ensure(&spec(dir, NAME, argv.into())).await?;
    let client = reqwest::Client::new();
    let health = format!("http://127.0.0.1:{}/health", edge.port);
    ready(&record, Duration::from_secs(20), || {
        answers(&client, &health)
    })
    .await
}

/// The template with its variables filled in; nginx' own, which are written without braces, stay.
fn fill_in(edge: &Edge, cache: &Path) -> String {
    let listen = format!("{}:{}", edge.address, edge.port);
    [
        ("EDGE_LISTEN", listen.as_str()),
        ("EDGE_GATEWAY", &edge.gateway),
        ("EDGE_S3", &edge.s3),
        ("EDGE_PROXY", &edge.proxy),
        ("EDGE_REAL_IP", &edge.real_ip),
        ("EDGE_WEB_ROOT", &edge.web_root.display().to_string()),
        ("EDGE_CACHE_DIR", &cache.display().to_string()),
    ]
    .iter()
    .fold(TEMPLATE.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    })
}

/// What nginx' own image has in its nginx.conf, for an instance that is private to a folder.
fn main_conf(home: &Path, site: &Path) -> String {
    // nginx' workers would else be an account that may not enter a checkout below /root.
    let user = if is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {}/tmp/{kind};\n", home.display()))
        .concat();
    format!(
        "{user}daemon off;\nworker_processes auto;\npid {}/nginx.pid;\nerror_log stderr warn;\n\
         events {{\n    worker_connections 4096;\n}}\n\
         http {{\n    include /etc/nginx/mime.types;\n    default_type application/octet-stream;\n\
         {temporary}    sendfile on;\n    tcp_nopush on;\n    keepalive_timeout 65;\n    include {};\n}}\n",
        home.display(),
        site.display()
    )
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(StackError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_of_the_template_is_filled_in() {
        let edge = Edge {
            address: "127.0.0.1".to_owned(),
            port: 1,
            gateway: "g:1".to_owned(),
            s3: "s:1".to_owned(),
            proxy: "p:1".to_owned(),
            web_root: "/web".into(),
            real_ip: String::new(),
        };
        let text = fill_in(&edge, Path::new("/cache"));
        assert!(!text.contains("${EDGE"), "{text}");
        assert!(text.contains("listen 127.0.0.1:1;"));
    }
}
