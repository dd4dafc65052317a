//! .env.example and docs/OPERATIONS.md tell of every variable of every service, with the default that holds, and of
//! no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use marquee_testkit::infra::workspace_root;

use crate::files::{compose, interpolations, text};

/// A service in docker-compose.yml and its binary.
const BINARIES: [(&str, &str); 5] = [
    ("api-gateway", "gateway"),
    ("auth-service", "auth"),
    ("proxy", "proxy"),
    ("stream-service", "stream"),
    ("transcoder", "transcoder"),
];

/// Read by Compose, but no variable of a service.
const OF_COMPOSE: [&str; 19] = [
    "ADMIN_PASSWORD",
    "BROADCAST_HEIGHT",
    "DEBIAN_IMAGE",
    "DEMO_PASSWORD",
    "EDGE_PORT",
    "EDGE_TRUSTED_PROXIES",
    "GATEWAY_PORT",
    "KAFKA_IMAGE",
    "MINIO_IMAGE",
    "NGINX_IMAGE",
    "NODE_IMAGE",
    "POSTGRES_IMAGE",
    "PROXY_MEDIA_TIMEOUT_S",
    "REDIS_IMAGE",
    "RTMP_PORT",
    "RUST_IMAGE",
    "SRT_PORT",
    "TRANSCODER_MEMORY",
    "VIEWER_PASSWORD",
];

/// What a service's `--help` says of a variable.
#[derive(Debug, Default, PartialEq)]
struct Documented {
    default: Option<String>,
    is_secret: bool,
}

/// The variables of a binary. It has to be built: `cargo build --workspace --bins`.
fn documented(binary: &str) -> BTreeMap<String, Documented> {
    let program = workspace_root().join("target/debug").join(binary);
    let output = Command::new(&program)
        .arg("--help")
        .env_clear()
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; cargo build --workspace --bins",
                program.display()
            )
        });
    assert!(output.status.success(), "{output:?}");
    let help = String::from_utf8(output.stdout).unwrap();

    let mut found: BTreeMap<String, Documented> = BTreeMap::new();
    let mut variable: Option<String> = None;
    for line in help.lines().map(str::trim) {
        if line.starts_with("--") || line.starts_with("-h,") {
            variable = None;
        } else if let Some(inside) = inside(line, "[env: ") {
            let (name, _) = inside.split_once('=').unwrap_or((inside, ""));
            let is_secret = !inside.contains('=');
            variable = Some(name.to_owned());
            found.entry(name.to_owned()).or_default().is_secret = is_secret;
        } else if let (Some(name), Some(default)) = (&variable, inside(line, "[default: ")) {
            found.get_mut(name).unwrap().default = Some(default.to_owned());
        }
    }
    assert!(found.len() > 10, "{help}");
    found
}

fn inside<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.strip_prefix(before)?.strip_suffix(']')
}

/// Lines `#NAME=default`: what can be set.
fn settable() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text(".env.example").lines() {
        let Some((name, default)) = line.strip_prefix('#').and_then(|line| line.split_once('='))
        else {
            continue;
        };
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.bytes().all(is_name) {
            assert!(
                found.insert(name.to_owned(), default.to_owned()).is_none(),
                "{name} twice"
            );
        }
    }
    found
}

/// Lines `#: NAME  why`: what a service has, and this file cannot change.
fn fixed() -> BTreeMap<String, String> {
    let text = text(".env.example");
    text.lines()
        .filter_map(|line| line.strip_prefix("#: ")?.split_once(' '))
        .map(|(name, why)| (name.to_owned(), why.trim().to_owned()))
        .collect()
}

fn names<V>(map: &BTreeMap<String, V>) -> BTreeSet<String> {
    map.keys().cloned().collect()
}

#[test]
fn nothing_in_the_file_is_in_effect() {
    for line in text(".env.example").lines() {
        assert!(line.is_empty() || line.starts_with('#'), "{line}");
    }
}

#[test]
fn every_variable_of_every_service_has_a_line_and_every_line_a_variable() {
    let mut of_services: BTreeSet<String> = BTreeSet::new();
    for (_, binary) in BINARIES {
        of_services.extend(documented(binary).into_keys());
    }
    // Of databases and services, from which DB_URL is made or which have no service yet.
    for password in [
        "POSTGRES",
        "AUTH_DB",
        "STREAM_DB",
        "RECORDING_DB",
        "VOD_DB",
        "PLAYBACK_DB",
    ] {
        of_services.insert(format!("{password}_PASSWORD"));
    }
    of_services.extend(OF_COMPOSE.map(str::to_owned));

    let (settable, fixed) = (names(&settable()), names(&fixed()));
    let both: Vec<_> = settable.intersection(&fixed).collect();
    assert!(both.is_empty(), "{both:?} can be set and cannot");
    let listed: BTreeSet<String> = settable.union(&fixed).cloned().collect();
    let missing: Vec<_> = of_services.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&of_services).collect();
    assert!(missing.is_empty(), ".env.example lacks {missing:?}");
    assert!(unknown.is_empty(), "nothing reads {unknown:?}");
}

/// Compose passes a variable on, or has it in a `${NAME:-default}`, and gives no service one it does not know.
#[test]
fn what_can_be_set_reaches_the_services_that_have_it() {
    let compose = compose();
    let (settable, fixed) = (settable(), fixed());
    let mut reached: BTreeSet<String> = names(&interpolations());
    for service in ["secrets", "frontend", "broadcaster"] {
        let passed_on = compose.services[service].environment.iter();
        reached.extend(
            passed_on
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| name.clone()),
        );
    }
    for (service, binary) in BINARIES {
        let documented = documented(binary);
        let environment = &compose.services[service].environment;
        for (name, value) in environment {
            let variable = name.strip_suffix("_FILE").unwrap_or(name);
            assert!(documented.contains_key(variable), "{service} has no {name}");
            if value.is_none() {
                assert!(settable.contains_key(name), "{service}: {name}");
                reached.insert(name.clone());
            } else if !interpolated(value.as_ref().unwrap()) {
                let is_file = variable != name;
                assert!(
                    is_file || fixed.contains_key(name),
                    "{service}: {name} cannot be set"
                );
            }
        }
        for (name, about) in documented {
            let is_given = environment.contains_key(&name)
                || environment.contains_key(&format!("{name}_FILE"));
            assert!(
                is_given || fixed.contains_key(&name),
                "{service} is not told {name}"
            );
            assert!(
                !about.is_secret || name == "SRT_PASSPHRASE" || !environment.contains_key(&name),
                "{service}: {name} belongs into a file"
            );
        }
    }
    let unread: Vec<_> = names(&settable).difference(&reached).cloned().collect();
    assert!(
        unread.is_empty(),
        "docker-compose.yml does not read {unread:?}"
    );
    let unlisted: Vec<_> = reached.difference(&names(&settable)).cloned().collect();
    assert!(
        unlisted.is_empty(),
        ".env.example does not list {unlisted:?}"
    );
}

fn interpolated(value: &str) -> bool {
    value.contains("${")
}

#[test]
fn the_defaults_are_those_that_hold() {
    let compose = compose();
    let settable = settable();
    for (name, defaults) in interpolations() {
        let listed: BTreeSet<String> = [settable[&name].clone()].into();
        assert_eq!(defaults, listed, "{name}");
    }
    for (service, binary) in BINARIES {
        for (name, about) in documented(binary) {
            let value = compose.services[service].environment.get(&name);
            let default = about.default.unwrap_or_default();
            match value {
                Some(None) => assert_eq!(settable[&name], default, "{service}: {name}"),
                // Compose's own default stands in for the service's, which it has to be, if there is one.
                Some(Some(value)) if interpolated(value) && !default.is_empty() => {
                    assert!(
                        value.ends_with(&format!(":-{default}}}")),
                        "{service}: {name}={value}"
                    );
                }
                _ => {}
            }
        }
    }
}

/// The tables below "Variables" in docs/OPERATIONS.md: service and variable, with the default and whether it is a secret.
fn in_operations() -> BTreeMap<(String, String), Documented> {
    let text = text("docs/OPERATIONS.md");
    let section = text.split_once("\n## Variables\n").unwrap().1;
    let section = section.split_once("\n## ").map_or(section, |(it, _)| it);
    let mut found = BTreeMap::new();
    // Whose table it is; none: its second column says so.
    let mut owner: Option<String> = None;
    for line in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some((name, mark)) = cells[0].strip_prefix('`').and_then(|it| it.split_once('`'))
        else {
            let is_shared = cells[1] == "service";
            owner = (!is_shared).then(|| cells[0].to_owned());
            continue;
        };
        let (services, default): (Vec<&str>, &str) = match &owner {
            Some(owner) => (vec![owner], cells[1]),
            None if cells[1] == "all" => (BINARIES.map(|(_, binary)| binary).into(), cells[2]),
            None => (cells[1].split(", ").collect(), cells[2]),
        };
        for service in services {
            let documented = Documented {
                default: (default != "–").then(|| default.to_owned()),
                is_secret: mark.contains('🔑'),
            };
            let key = (service.to_owned(), name.to_owned());
            assert!(
                found.insert(key, documented).is_none(),
                "{service}: {name} twice"
            );
        }
    }
    found
}

#[test]
fn operations_has_a_row_for_every_variable_of_every_service_with_its_default() {
    let expected: BTreeMap<_, _> = BINARIES
        .iter()
        .flat_map(|(_, binary)| {
            documented(binary)
                .into_iter()
                .map(|(name, about)| (((*binary).to_owned(), name), about))
        })
        .collect();
    let found = in_operations();
    let missing: Vec<_> = expected
        .keys()
        .filter(|key| !found.contains_key(*key))
        .collect();
    let unknown: Vec<_> = found
        .keys()
        .filter(|key| !expected.contains_key(*key))
        .collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md lacks {missing:?}");
    assert!(unknown.is_empty(), "no service has {unknown:?}");
    for (key, about) in expected {
        assert_eq!(found[&key], about, "{key:?}");
    }
}

#[test]
fn what_cannot_be_set_is_what_docker_compose_yml_says() {
    let compose = compose();
    for (name, why) in fixed() {
        let values: BTreeSet<&str> = BINARIES
            .iter()
            .filter_map(|(service, _)| {
                compose.services[*service]
                    .environment
                    .get(&name)?
                    .as_deref()
            })
            .collect();
        if let Some(value) = values.first() {
            assert_eq!(values.len(), 1, "{name}");
            assert!(why.starts_with(value), "{name}: {value}, not {why}");
        }
    }
}

#[test]
fn the_examples_of_the_documents_are_the_same_for_compose() {
    let script = text("deploy/compose/secrets.sh");
    let source = text("crates/common/src/config/secret.rs");
    let known = source.split_once("PUBLISHED_EXAMPLES").unwrap().1;
    let known = known.split_once("];").unwrap().0;
    let examples: Vec<&str> = known.split('"').skip(1).step_by(2).collect();
    assert!(examples.len() > 3);
    assert!(
        script.contains(&format!("EXAMPLES=({})", examples.join(" "))),
        "{examples:?}"
    );
}
