//! deploy/Dockerfile: every stage is there that somebody asks for, and nobody's is left.

use std::collections::{BTreeMap, BTreeSet};

use marquee_testkit::infra::workspace_root;

use crate::files::{compose, text};

const DOCKERFILE: &str = "deploy/Dockerfile";

/// An instruction, continued lines joined: its word and what follows.
type Instruction = (String, String);

/// `FROM image AS name` and what comes until the next one.
struct Stage {
    name: String,
    from: String,
    instructions: Vec<Instruction>,
}

impl Stage {
    fn all(&self, word: &str) -> impl Iterator<Item = &str> {
        self.instructions
            .iter()
            .filter(move |(it, _)| it == word)
            .map(|(_, rest)| rest.as_str())
    }
}

fn instructions() -> Vec<Instruction> {
    let text = text(DOCKERFILE);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap();
            (word.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

fn stages() -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (word, rest) in instructions() {
        if word == "FROM" {
            let (from, name) = rest.split_once(" AS ").expect("a stage has a name");
            stages.push(Stage {
                name: name.to_owned(),
                from: from.to_owned(),
                instructions: Vec::new(),
            });
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push((word, rest));
        }
    }
    stages
}

/// Names after `from=` in an instruction.
fn taken_from(rest: &str) -> impl Iterator<Item = &str> {
    rest.split([' ', ',']).filter_map(|word| {
        word.strip_prefix("--from=")
            .or_else(|| word.strip_prefix("from="))
    })
}

#[test]
fn it_is_written_for_buildkit() {
    assert!(text(DOCKERFILE).starts_with("# syntax=docker/dockerfile:1\n"));
}

#[test]
fn every_stage_is_used_and_every_one_used_is_there() {
    let stages = stages();
    let there: BTreeSet<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(there.len(), stages.len(), "two stages of one name");

    let compose = compose();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for service in compose.services.values() {
        if let Some(build) = &service.build {
            assert_eq!(
                (build.context.as_str(), build.dockerfile.as_str()),
                (".", DOCKERFILE)
            );
            used.insert(&build.target);
        }
    }
    for stage in &stages {
        for (_, rest) in &stage.instructions {
            used.extend(taken_from(rest));
        }
        if !stage.from.starts_with('$') {
            used.insert(&stage.from);
        }
    }
    assert_eq!(used, there);
}

#[test]
fn every_base_image_is_a_variable_that_compose_sets() {
    let defaults: BTreeMap<String, String> = instructions()
        .into_iter()
        .take_while(|(word, _)| word != "FROM")
        .filter(|(word, _)| word == "ARG")
        .map(|(_, rest)| {
            let (name, image) = rest.split_once('=').unwrap();
            (name.to_owned(), image.to_owned())
        })
        .collect();
    let mut used = BTreeSet::new();
    for stage in stages() {
        if let Some(name) = stage.from.strip_prefix("${") {
            used.insert(name.strip_suffix('}').unwrap().to_owned());
        }
    }
    assert_eq!(used, defaults.keys().cloned().collect());

    let expected: BTreeMap<String, String> = defaults
        .into_iter()
        .map(|(name, image)| (name.clone(), format!("${{{name}:-{image}}}")))
        .collect();
    for (name, service) in compose().services {
        if let Some(build) = service.build {
            assert_eq!(build.args, expected, "{name}");
        }
    }
}

#[test]
fn what_is_copied_is_there_and_not_ignored() {
    let allowed: Vec<String> = text(".dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .collect();
    for stage in stages() {
        for copy in stage.all("COPY").filter(|copy| !copy.contains("--from=")) {
            let words: Vec<&str> = copy.split_whitespace().collect();
            for source in &words[..words.len() - 1] {
                assert!(workspace_root().join(source).exists(), "{source}");
                let is_allowed = allowed
                    .iter()
                    .any(|path| source == path || source.starts_with(&format!("{path}/")));
                assert!(is_allowed, ".dockerignore keeps {source} out");
            }
        }
    }
}

#[test]
fn nothing_of_ours_runs_as_root() {
    for service in compose().services.into_values() {
        let Some(target) = service.build.map(|build| build.target) else {
            continue;
        };
        // It writes into volumes that belong to root, without a network or a capability.
        if target == "secrets" {
            continue;
        }
        let stages = stages();
        let mut name = target.clone();
        let user = loop {
            let stage = stages.iter().find(|stage| stage.name == name);
            let stage = stage.unwrap_or_else(|| panic!("{target} runs as root"));
            if let Some(user) = stage.all("USER").last() {
                break user.to_owned();
            }
            name.clone_from(&stage.from);
        };
        assert_ne!(user, "root", "{target}");
    }
}

#[test]
fn a_service_says_itself_whether_it_is_healthy() {
    let stages = stages();
    for service in ["auth", "gateway", "proxy", "stream", "transcoder"] {
        let stage = stages.iter().find(|stage| stage.name == service).unwrap();
        let check = stage.all("HEALTHCHECK").next().unwrap();
        assert!(
            check.ends_with(&format!(r#"CMD ["{service}", "health"]"#)),
            "{check}"
        );
        assert_eq!(
            stage.all("CMD").collect::<Vec<_>>(),
            [format!(r#"["{service}"]"#)]
        );
    }
}

#[test]
fn only_the_transcoder_and_the_test_broadcaster_have_ffmpeg() {
    let stages = stages();
    let with_ffmpeg: Vec<&str> = stages
        .iter()
        .filter(|stage| {
            stage.from == "ffmpeg" || stage.all("RUN").any(|run| run.contains(" ffmpeg"))
        })
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(with_ffmpeg, ["ffmpeg", "transcoder", "broadcaster"]);
}

/// Every binary that a stage takes out of the build is asked for, and built.
#[test]
fn one_build_makes_all_binaries() {
    let stages = stages();
    let rust = stages.iter().find(|stage| stage.name == "rust").unwrap();
    let packages = rust
        .all("ENV")
        .find(|env| env.starts_with("PACKAGES="))
        .unwrap();
    let mut taken = BTreeSet::new();
    for stage in &stages {
        for copy in stage
            .all("COPY")
            .filter(|copy| copy.contains("--from=build"))
        {
            let path = copy.split_whitespace().nth(1).unwrap();
            taken.insert(path.strip_prefix("/out/").unwrap().to_owned());
        }
    }
    let built: BTreeSet<String> = packages
        .split("--package marquee-")
        .skip(1)
        .map(|name| name.trim_matches([' ', '"']).to_owned())
        .collect();
    assert_eq!(taken, built);
}
