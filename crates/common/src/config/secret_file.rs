//! `NAME_FILE` beside `NAME`, for every variable that holds a secret: what a process is told by its environment
//! is shown by `docker inspect` and inherited by its children; a mounted file is not.
//!
//! The convention is that of Docker's official images: `JWT_SECRET_KEY_FILE=/run/secrets/jwt` stands for the
//! content of that file, without the newline that an editor puts at its end. A variable is a secret here when its
//! value is hidden in `--help` (`hide_env_values`).

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::Path,
};

use clap::{Arg, Command, Parser, error::ErrorKind};

/// Longest secret that is read. A database URL is the longest one there is.
const MAX_BYTES: u64 = 16 * 1024;

/// Why a secret could not be had from its file. Shows the variable only: the content is a secret, and so is what
/// somebody wrote where the path belongs.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Which of the two is meant?
    #[error("{0} and {0}_FILE are both set, set one of them")]
    BothSet(String),
    /// Missing, or not for this user.
    #[error("{variable}_FILE: the file cannot be read: {source}")]
    Unreadable {
        /// The variable without `_FILE`.
        variable: String,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, a pipe, a device: reading it could take for ever.
    #[error("{0}_FILE: not a regular file")]
    NotAFile(String),
    /// Hardly a secret.
    #[error("{0}_FILE: the file is larger than {MAX_BYTES} bytes")]
    TooLarge(String),
    /// Not UTF-8.
    #[error("{0}_FILE: the file is not text (UTF-8)")]
    NotText(String),
    /// Nothing in it.
    #[error("{0}_FILE: the file is empty")]
    Empty(String),
}

/// `command` with a word about `NAME_FILE` in its help, if it has a secret.
pub fn documented(command: Command) -> Command {
    let names: Vec<String> = secrets(&command)
        .map(|(_, variable)| format!("{variable}_FILE"))
        .collect();
    if names.is_empty() {
        return command;
    }
    command.after_help(format!(
        "A secret may stand in a file that a variable names instead: {}",
        names.join(", ")
    ))
}

/// `args` (program name first) with the secrets that stand in files: as arguments, which exist in this process's
/// memory alone, since nothing may change a running process's environment.
pub fn with_secrets(
    command: &Command,
    args: Vec<OsString>,
) -> Result<Vec<OsString>, Vec<SecretFileError>> {
    expand(command, args, |name| {
        std::env::var_os(name).filter(|value| !value.is_empty())
    })
}

/// `C` as `args` (program name first), the environment and its files say.
pub fn parse_from<C: Parser>(args: impl Iterator<Item = OsString>) -> Result<C, clap::Error> {
    let mut command = documented(C::command());
    // Completes the arguments, which are looked up below.
    command.build();
    let args = with_secrets(&command, args.collect()).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        command.error(ErrorKind::ValueValidation, lines.join("\n"))
    })?;
    let matches = command.try_get_matches_from(args)?;
    C::from_arg_matches(&matches)
}

/// The variable by which `variable` was given: itself, or `…_FILE`.
pub fn given_as(variable: &str) -> String {
    let file = format!("{variable}_FILE");
    match std::env::var_os(&file) {
        Some(path) if !path.is_empty() => file,
        _ => variable.to_owned(),
    }
}

/// [`with_secrets`] with an environment of the caller's: what a variable holds, if that is not empty.
fn expand(
    command: &Command,
    mut args: Vec<OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, Vec<SecretFileError>> {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for (arg, variable) in secrets(command) {
        let Some(path) = environment(&format!("{variable}_FILE")) else {
            continue;
        };
        let Some(long) = arg.get_long() else {
            continue;
        };
        if environment(&variable).is_some() {
            errors.push(SecretFileError::BothSet(variable));
        } else if !is_given(&args, long) {
            match read(&variable, Path::new(&path)) {
                Ok(secret) => found.push(OsString::from(format!("--{long}={secret}"))),
                Err(error) => errors.push(error),
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // In front of everything, where no subcommand takes them for its own.
    let at = args.len().min(1);
    args.splice(at..at, found);
    Ok(args)
}

fn secrets(command: &Command) -> impl Iterator<Item = (&Arg, String)> {
    command
        .get_arguments()
        .filter(|arg| arg.is_hide_env_values_set())
        .filter_map(|arg| Some((arg, arg.get_env()?.to_string_lossy().into_owned())))
}

fn is_given(args: &[OsString], long: &str) -> bool {
    let flag = format!("--{long}");
    args.iter()
        .map(|arg| arg.to_string_lossy())
        .any(|arg| arg.split('=').next() == Some(&flag))
}

fn read(variable: &str, path: &Path) -> Result<String, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable {
        variable: variable.to_owned(),
        source,
    };
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretFileError::NotAFile(variable.to_owned()));
    }
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content))
        .map_err(unreadable)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(SecretFileError::TooLarge(variable.to_owned()));
    }
    let text =
        String::from_utf8(content).map_err(|_| SecretFileError::NotText(variable.to_owned()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return Err(SecretFileError::Empty(variable.to_owned()));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests;
