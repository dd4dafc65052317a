//! Apache Kafka in `KRaft` mode, one node that is broker and controller: its jars come from Maven
//! Central once, the flags keep it small (345 MB) and quick to start (2.4 s).

use std::{fs, path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ServerOptions, cache_dir, cache_lock, find_program, ready, run, spec};
use crate::{
    error::{Result, StackError},
    progress::Progress,
    stack::StackDir,
    state_file::remove_dir,
};

/// The node's name in the stack.
pub const NAME: &str = "kafka";
const VERSION: &str = "kafka-4.1.0";
const POM: &str = include_str!("../../kafka/pom.xml");
const LOG_CONFIG: &str = "\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n%ex
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
";

/// Starts the node and returns its port.
pub async fn start(dir: &StackDir, options: ServerOptions, progress: &Progress) -> Result<u16> {
    let java = find_program("java").ok_or(StackError::Missing {
        program: "java",
        remedy: "run scripts/bootstrap, or apt-get install default-jre-headless",
    })?;
    let java = java.display().to_string();
    let jars = format!("{}/*", jars(dir, progress).await?.display());
    let home = dir.data(NAME);
    fs::create_dir_all(&home).map_err(StackError::io(&home))?;

    let port = dir.tcp_port(NAME, NAME, options.documented(9092))?;
    let controller = dir.tcp_port(NAME, "kafka-controller", None)?;
    let logs = home.join("logs");
    let properties = home.join("server.properties");
    let text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=8\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         log.dirs={}\n",
        logs.display()
    );
    fs::write(&properties, text).map_err(StackError::io(&properties))?;
    let log_config = home.join("log4j2.properties");
    fs::write(&log_config, LOG_CONFIG).map_err(StackError::io(&log_config))?;
    let log_option = format!("-Dlog4j2.configurationFile={}", log_config.display());
    let properties = properties.display().to_string();

    // A format that was cut short looks like one that was not.
    let formatted = home.join("formatted");
    if !formatted.exists() {
        remove_dir(&logs)?;
        // A leading `-` would be taken for an option.
        let id = format!(
            "m{}",
            &URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())[1..]
        );
        let argv = [
            &java,
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            &log_option,
            "-cp",
            &jars,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            &id,
            "-c",
            &properties,
        ];
        run(dir, "kafka.tools.StorageTool format", &argv, &[]).await?;
        fs::write(&formatted, "").map_err(StackError::io(&formatted))?;
    }
    let argv = [
        &java,
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        &log_option,
        "-cp",
        &jars,
        "kafka.Kafka",
        &properties,
    ]
    .map(str::to_owned);
    let record = dir.ensure(&spec(dir, NAME, argv.into())).await?;
    ready(&record, Duration::from_secs(90), || answers(port)).await?;
    Ok(port)
}

/// The jars, fetched by Maven where they are not in the cache.
async fn jars(dir: &StackDir, progress: &Progress) -> Result<PathBuf> {
    let place = cache_dir()?.join(VERSION);
    if place.is_dir() {
        return Ok(place);
    }
    let _turn = cache_lock(VERSION).await?;
    if place.is_dir() {
        return Ok(place);
    }
    let maven = find_program("mvn").ok_or(StackError::Missing {
        program: "mvn",
        remedy: "run scripts/bootstrap, or apt-get install maven",
    })?;
    progress.working("kafka: fetching its jars by Maven (43 MB, once)");
    // Of its own: a Maven that outlived its launcher may still write.
    let part = place.with_extension(format!("part-{:08x}", rand::random::<u32>()));
    fs::create_dir_all(&part).map_err(StackError::io(&part))?;
    let pom = part.join("pom.xml");
    fs::write(&pom, POM).map_err(StackError::io(&pom))?;
    let jars = part.join("jars");
    let argv = [
        &maven.display().to_string(),
        "--batch-mode",
        "--no-transfer-progress",
        "--file",
        &pom.display().to_string(),
        "dependency:copy-dependencies",
        &format!("-DoutputDirectory={}", jars.display()),
    ];
    run(dir, "fetching Kafka by Maven", &argv, &[]).await?;
    fs::rename(&jars, &place).map_err(StackError::io(&place))?;
    remove_dir(&part)?;
    Ok(place)
}

/// Whether the node answers `ApiVersions`, which it does only once it serves.
pub(crate) async fn answers(port: u16) -> bool {
    // length, api key 18, version 0, correlation id 7, no client id
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let ask = async {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
        connection.write_all(&REQUEST).await?;
        let mut answer = [0; 10];
        connection.read_exact(&mut answer).await?;
        // after the length: the correlation id and error code 0
        std::io::Result::Ok(answer[4..] == [0, 0, 0, 7, 0, 0])
    };
    ask.await.unwrap_or(false)
}
