//! How ffmpeg and ffprobe are started.

use tokio::process::Command;

/// Where they are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command for one of ffmpeg's programs.
///
/// They decode what strangers send, so they inherit nothing: no secret from our environment. Own
/// process group: a Ctrl-C at the terminal must reach us alone, or no encoder would be left to
/// flush. They never outlive the handle.
pub(crate) fn media_program(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .env("AV_LOG_FORCE_NOCOLOR", "1")
        .process_group(0)
        .kill_on_drop(true);
    command
}
