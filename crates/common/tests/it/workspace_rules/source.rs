//! Source files, with code, comments and strings told apart.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// A Rust file.
pub struct Source {
    /// Below the root, `/`-separated.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// The text with comments and the insides of strings blanked out.
    pub code: String,
    /// The insides of the strings.
    pub strings: Vec<String>,
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let (code, strings) = split(&text);
        Self {
            path: file.strip_prefix(root).unwrap().display().to_string(),
            text,
            code,
            strings,
        }
    }

    /// `src/…` of a service: its name and the path below `src/`.
    pub fn in_service(&self) -> Option<(&str, &str)> {
        let (service, rest) = self.path.strip_prefix("services/")?.split_once('/')?;
        Some((service, rest.strip_prefix("src/")?))
    }

    /// The module at the top of a service's `src` that this file belongs to: `routes/live.rs` is
    /// of `routes`.
    pub fn top_module(&self) -> Option<&str> {
        let (_, path) = self.in_service()?;
        let first = path.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

/// Every Rust file under `crates/` and `services/`.
pub fn all() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["crates", "services"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    files.iter().map(|file| Source::read(&root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Code without comments and strings, and the strings.
fn split(text: &str) -> (String, Vec<String>) {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        if rest.starts_with(&['/', '/']) {
            at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
        } else if rest.starts_with(&['/', '*']) {
            at += comment_len(rest);
        } else if let Some((inside, len)) = raw_string(rest, chars[..at].last()) {
            strings.push(inside);
            code.push_str("\"\"");
            at += len;
        } else if rest[0] == '"' {
            let (inside, len) = string(rest);
            strings.push(inside);
            code.push_str("\"\"");
            at += len;
        } else if let Some(len) = char_literal(rest) {
            code.push_str("' '");
            at += len;
        } else {
            code.push(rest[0]);
            at += 1;
        }
    }
    (code, strings)
}

fn comment_len(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// `r"…"`, `r#"…"#` and so on.
fn raw_string(rest: &[char], before: Option<&char>) -> Option<(String, usize)> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() && *c != 'b' || *c == '_');
    if rest[0] != 'r' || in_word {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let begin = 2 + hashes;
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let len = rest[begin..]
        .windows(end.len())
        .position(|window| window == end)?;
    let inside = rest[begin..begin + len].iter().collect();
    Some((inside, begin + len + end.len()))
}

fn string(rest: &[char]) -> (String, usize) {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    let end = at.min(rest.len());
    (rest[1..end].iter().collect(), at + 1)
}

/// `'x'`, `'\n'`, `'\u{1f600}'`; not the lifetime `'a`.
fn char_literal(rest: &[char]) -> Option<usize> {
    if rest[0] != '\'' {
        return None;
    }
    if rest.get(1) == Some(&'\\') {
        let end = rest[3..].iter().position(|c| *c == '\'')?;
        return Some(end + 4);
    }
    (rest.get(2) == Some(&'\'')).then_some(3)
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let text = r#"let a = "unsafe \" {"; // unsafe
        /* unsafe /* nested */ */ let b = r"SELECT x"; let c = '"'; fn f<'a>() {}"#;
    let (code, strings) = split(text);
    assert!(
        !code.contains("unsafe") && code.contains("fn f<'a>()"),
        "{code}"
    );
    assert_eq!(strings, [r#"unsafe \" {"#, "SELECT x"]);
}
