//! What the sources say.

use super::source::{Source, all, root};

/// `files` that break a rule, as the failure shows them.
fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn services() -> Vec<Source> {
    let mut sources = all();
    sources.retain(|source| source.in_service().is_some());
    sources
}

fn paths(sources: &[Source], breaks: impl Fn(&Source) -> bool) -> Vec<String> {
    sources
        .iter()
        .filter(|source| breaks(source))
        .map(|source| source.path.clone())
        .collect()
}

fn is_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        boundary(code[..at].chars().next_back()) && boundary(code[at + word.len()..].chars().next())
    })
}

fn has_any(code: &str, paths: &[&str]) -> bool {
    paths.iter().any(|path| is_word(code, path))
}

/// Modules of a service that speak HTTP: the rest are rules, stores and workers.
const HTTP_MODULES: [&str; 5] = ["main", "lib", "app", "routes", "error"];
/// Modules of a service that know the database; `admin` is the command line beside `app`.
const SQL_MODULES: [&str; 6] = ["main", "lib", "app", "admin", "store", "error"];

#[test]
fn only_routes_and_what_joins_them_know_axum() {
    // The streaming routes of the gateway, the proxy and the live edge are HTTP to the core.
    let http_services = ["gateway", "proxy"];
    let broken = paths(&services(), |source| {
        let (service, _) = source.in_service().unwrap();
        !http_services.contains(&service)
            && !HTTP_MODULES.contains(&source.top_module().unwrap())
            && is_word(&source.code, "axum")
    });
    assert_none("imports axum outside routes", &broken);
}

#[test]
fn only_the_store_holds_sql() {
    let statements = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "CREATE ",
    ];
    let broken = paths(&services(), |source| {
        if source.top_module() == Some("store") {
            return false;
        }
        let runs = [
            "query",
            "query_as",
            "query_scalar",
            "raw_sql",
            "QueryBuilder",
        ]
        .iter()
        .any(|call| source.code.contains(&format!("sqlx::{call}")));
        let holds = source.strings.iter().any(|text| {
            let text = text.trim_start_matches([' ', '\n', '\\']);
            statements
                .iter()
                .any(|statement| text.starts_with(statement))
        });
        runs || holds
    });
    assert_none("holds SQL outside store", &broken);
}

#[test]
fn only_the_store_and_what_joins_it_know_sqlx() {
    let broken = paths(&services(), |source| {
        !SQL_MODULES.contains(&source.top_module().unwrap()) && is_word(&source.code, "sqlx")
    });
    assert_none("imports sqlx outside store", &broken);
}

#[test]
fn the_store_knows_no_route() {
    let broken = paths(&services(), |source| {
        source.top_module() == Some("store")
            && has_any(
                &source.code,
                &["crate::routes", "crate::app", "super::routes"],
            )
    });
    assert_none("store imports routes", &broken);
}

#[test]
fn only_those_who_join_it_know_the_routes() {
    let joins = ["main", "lib", "app", "routes"];
    let broken = paths(&services(), |source| {
        !joins.contains(&source.top_module().unwrap()) && is_word(&source.code, "crate::routes")
    });
    assert_none("imports routes", &broken);
}

#[test]
fn only_config_reads_the_environment() {
    let reads = ["env::var", "env::var_os", "env::vars", "env::vars_os"];
    let broken = paths(&services(), |source| {
        source.top_module() != Some("config")
            && (has_any(&source.code, &reads) || source.code.contains(", env = \"\""))
    });
    assert_none("reads the environment outside config", &broken);
}

#[test]
fn a_service_migrates_its_own_database_alone() {
    let broken = paths(&services(), |source| {
        let (service, _) = source.in_service().unwrap();
        let own = format!("../../migrations/{service}");
        source
            .strings
            .iter()
            .any(|text| text.starts_with("../../migrations/") && *text != own)
    });
    assert_none("migrates another's database", &broken);
}

#[test]
fn the_contract_is_pure() {
    let pure = [
        "std", "core", "serde", "uuid", "time", "utoipa", "super", "crate", "self",
    ];
    let mut sources = all();
    sources.retain(|source| source.path.starts_with("crates/common/src/contract"));
    assert!(sources.len() > 1);
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|source| source.code.lines().map(move |line| (source, line.trim())))
        .filter(|(_, line)| line.starts_with("use ") || line.starts_with("pub use "))
        .filter(|(source, line)| {
            let path = line.trim_start_matches("pub ").trim_start_matches("use ");
            let first = path.split(['{', ':', ';']).next().unwrap().trim();
            // `contract.rs` exports its own modules.
            let own_module = source.path.ends_with("contract.rs") && line.starts_with("pub use");
            !pure.contains(&first) && !own_module
        })
        .map(|(source, line)| format!("{}: {line}", source.path))
        .collect();
    assert_none("imports more than plain data", &broken);
}

#[test]
fn only_srt_is_unsafe() {
    let broken = paths(&all(), |source| {
        !source.path.starts_with("crates/srt/")
            && [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe extern",
                "unsafe trait",
            ]
            .iter()
            .any(|code| source.code.contains(code))
    });
    assert_none("is unsafe", &broken);
}

#[test]
fn every_module_says_why_it_exists() {
    let broken = paths(&all(), |source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty());
        !first.is_some_and(|line| line.starts_with("//!"))
    });
    assert_none("does not begin with //!", &broken);
}

#[test]
fn files_are_named_for_what_they_hold() {
    let vague = [
        "mod", "utils", "util", "helpers", "helper", "manager", "misc",
    ];
    let broken = paths(&all(), |source| {
        let mut parts = source
            .path
            .split('/')
            .map(|part| part.trim_end_matches(".rs"));
        parts.any(|part| vague.contains(&part))
    });
    assert_none("has a vague name", &broken);
}

#[test]
fn a_main_is_dull() {
    let broken = paths(&services(), |source| {
        source.top_module() == Some("main") && source.text.lines().count() > 30
    });
    assert_none("is longer than 30 lines", &broken);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file does not find itself.
    let marks = ["TODO", "FIXME", "XXX"].map(|mark| format!("{mark}:"));
    let calls = ["todo!", "unimplemented!", "#[ignore"];
    let broken = paths(&all(), |source| {
        marks.iter().any(|mark| source.text.contains(mark))
            || calls.iter().any(|call| source.code.contains(call))
    });
    assert_none("leaves work undone", &broken);
}

#[test]
fn every_migration_is_in_a_services_folder() {
    for entry in std::fs::read_dir(root().join("migrations")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = [
            "auth",
            "stream",
            "recording",
            "vod",
            "playback",
            "bootstrap",
        ];
        assert!(known.contains(&name.as_str()), "migrations/{name}");
    }
}
