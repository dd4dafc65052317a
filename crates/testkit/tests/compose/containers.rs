//! Names, order, networks, limits and confinement of the containers.

use std::collections::BTreeSet;

use crate::files::{Service, compose, overlay};

/// The platform's own services, in which ours run until they are told to stop.
const SERVICES: [&str; 5] = [
    "api-gateway",
    "auth-service",
    "proxy",
    "stream-service",
    "transcoder",
];
const SERVERS: [&str; 4] = ["kafka", "minio", "postgres", "redis"];
const ONE_SHOTS: [&str; 3] = ["accounts", "databases", "secrets"];

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

fn of_network(network: &str) -> BTreeSet<String> {
    compose()
        .services
        .into_iter()
        .filter(|(_, service)| service.networks.contains(network))
        .map(|(name, _)| name)
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn services_have_their_documented_names() {
    let compose = compose();
    let mut expected: Vec<&str> = [&SERVICES[..], &SERVERS, &ONE_SHOTS].concat();
    expected.extend(["broadcaster", "frontend"]);
    expected.sort_unstable();
    let found: Vec<&str> = compose.services.keys().map(String::as_str).collect();
    assert_eq!(found, expected);

    let container = |service: &str| compose.services[service].container_name.clone().unwrap();
    assert_eq!(container("redis"), "pay-per-view-redis");
    assert_eq!(container("proxy"), "pay-per-view-openresty");
}

#[test]
fn only_the_broadcaster_has_to_be_asked_for() {
    for (name, service) in compose().services {
        let expected: &[&str] = if name == "broadcaster" {
            &["broadcast"]
        } else {
            &[]
        };
        assert_eq!(service.profiles, expected, "{name}");
    }
}

#[test]
fn what_runs_is_watched_and_started_again() {
    for (name, service) in compose().services {
        if ONE_SHOTS.contains(&name.as_str()) {
            assert!(service.runs_once(), "{name}");
            assert!(service.healthcheck.is_none(), "{name}");
        } else {
            assert_eq!(service.restart.as_deref(), Some("unless-stopped"), "{name}");
            assert!(service.healthcheck.is_some(), "{name} has no health check");
        }
    }
}

#[test]
fn our_services_are_asked_by_their_own_binaries() {
    let compose = compose();
    for name in SERVICES {
        let service = &compose.services[name];
        let target = &service.build.as_ref().unwrap().target;
        assert_eq!(
            service.healthcheck.as_ref().unwrap().test,
            ["CMD", target, "health"],
            "{name}"
        );
    }
}

/// `docker compose up --wait` waits for a one-shot only if something else does.
#[test]
fn each_one_shot_is_waited_for_until_it_succeeded() {
    let compose = compose();
    for one_shot in ONE_SHOTS {
        let waits = |service: &Service| {
            service
                .depends_on
                .get(one_shot)
                .is_some_and(|on| on.condition == "service_completed_successfully")
        };
        assert!(compose.services.values().any(waits), "{one_shot}");
    }
}

#[test]
fn a_dependency_is_healthy_or_done() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (on, dependency) in &service.depends_on {
            let expected = if compose.services[on].runs_once() {
                "service_completed_successfully"
            } else {
                "service_healthy"
            };
            assert_eq!(dependency.condition, expected, "{name} on {on}");
        }
    }
}

#[test]
fn nothing_starts_before_the_secrets_are_judged() {
    let compose = compose();
    for name in compose.services.keys().filter(|name| *name != "secrets") {
        let mut reached = BTreeSet::new();
        let mut next = vec![name.as_str()];
        while let Some(name) = next.pop() {
            if reached.insert(name) {
                next.extend(compose.services[name].depends_on.keys().map(String::as_str));
            }
        }
        assert!(reached.contains("secrets"), "{name}");
    }
}

#[test]
fn networks_are_apart() {
    let compose = compose();
    let is_internal = |name: &str| {
        compose.networks[name]
            .as_ref()
            .is_some_and(|network| network.internal)
    };
    assert!(is_internal("services") && is_internal("data") && !is_internal("edge"));
    assert_eq!(compose.networks.len(), 3);

    assert_eq!(
        of_network("edge"),
        names(&[
            "api-gateway",
            "broadcaster",
            "frontend",
            "proxy",
            "transcoder"
        ])
    );
    let mut services = names(&SERVICES);
    services.insert("frontend".to_owned());
    assert_eq!(of_network("services"), services);
    for server in SERVERS {
        assert_eq!(
            compose.services[server].networks,
            names(&["data"]),
            "{server}"
        );
    }
    let secrets = &compose.services["secrets"];
    assert_eq!(secrets.network_mode.as_deref(), Some("none"));
}

#[test]
fn only_the_edge_is_published() {
    let mut published = Vec::new();
    for (name, service) in compose().services {
        published.extend(service.ports.into_iter().map(|port| (name.clone(), port)));
    }
    let expected = [
        ("api-gateway", "127.0.0.1:${GATEWAY_PORT:-8080}:8080"),
        ("frontend", "${EDGE_PORT:-80}:80"),
        ("transcoder", "${SRT_PORT:-8890}:8890/udp"),
        ("transcoder", "${RTMP_PORT:-1935}:1935"),
    ];
    assert_eq!(
        published,
        expected.map(|(name, port)| (name.to_owned(), port.to_owned()))
    );
    for (name, service) in overlay().services {
        assert!(service.ports.is_empty(), "{name}");
    }
}

#[test]
fn nobody_can_become_root_or_write_where_nothing_is_mounted() {
    for (name, service) in compose().services {
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert!(service.cap_add.is_empty() && !service.privileged, "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        // Kafka's image writes its configuration beside its programs.
        assert_eq!(service.read_only, name != "kafka", "{name}");
    }
}

#[test]
fn nothing_grows_without_bound() {
    let compose = compose();
    for (name, service) in &compose.services {
        assert!(service.mem_limit.is_some(), "{name}: memory");
        assert!(service.pids_limit.is_some(), "{name}: processes");
        let log = &service.logging.as_ref().expect("logging").options;
        assert!(
            log.contains_key("max-size") && log.contains_key("max-file"),
            "{name}"
        );
    }
    for (name, service) in &compose.services {
        for (volume, ..) in service.mounts() {
            assert!(
                compose.volumes.contains_key(volume),
                "{name}: {volume} is no named volume"
            );
        }
    }
}

#[test]
fn encoders_leave_the_processor_to_the_others() {
    for (name, service) in compose().services {
        let encodes = ["broadcaster", "transcoder"].contains(&name.as_str());
        assert_eq!(service.cpu_shares.is_some(), encodes, "{name}");
        // 1024 is what a container has that says nothing.
        assert!(
            service.cpu_shares.is_none_or(|shares| shares < 1024),
            "{name}"
        );
    }
}

#[test]
fn a_service_has_longer_to_stop_than_it_takes() {
    let compose = compose();
    for name in SERVICES {
        let service = &compose.services[name];
        let drain = service.environment["SHUTDOWN_GRACE_S"].as_ref().unwrap();
        let drain: u64 = drain.parse().unwrap();
        let grace = seconds(service.stop_grace_period.as_ref().unwrap());
        assert!(grace >= drain + 5, "{name}: {grace} s for {drain} s");
    }
}

#[test]
fn production_changes_what_it_has_to_and_no_more() {
    let overlay = overlay();
    let changed: Vec<&str> = overlay.services.keys().map(String::as_str).collect();
    assert_eq!(changed, ["accounts", "secrets"]);
    let command = |name: &str| overlay.services[name].command.clone().unwrap();
    assert_eq!(command("secrets"), serde_json::json!(["secrets", "check"]));
    assert_eq!(command("accounts"), serde_json::json!(["none"]));
}
