//! The folder of a stack: pid files, logs, data, ports and secrets. Whoever has the folder can find
//! and stop the stack, without a daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    error::{Result, StackError},
    ports::Ports,
    process::{Record, Spec, kill_marked_except},
    state_file::{read_json, remove_file, wait_for_lock, write_json},
};

/// A stack's folder.
#[derive(Clone, Debug)]
pub struct StackDir {
    root: PathBuf,
}

impl StackDir {
    /// Opens the folder, making it where it is not there.
    pub fn open(path: &Path) -> Result<Self> {
        for part in ["run", "log", "data"] {
            let dir = path.join(part);
            fs::create_dir_all(&dir).map_err(StackError::io(&dir))?;
        }
        let root = path.canonicalize().map_err(StackError::io(path))?;
        Ok(Self { root })
    }

    /// Opens the folder only if a stack was ever there.
    pub fn existing(path: &Path) -> Option<Self> {
        let root = path.canonicalize().ok()?;
        root.join("run").is_dir().then_some(Self { root })
    }

    /// The folder itself: also the marker of its processes.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a server keeps its data.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name)
    }

    /// A process's log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// What tells scripts and tests where everything is.
    pub fn stack_file(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    /// What the caller of `stack up` decided.
    pub(crate) fn options_file(&self) -> PathBuf {
        self.root.join("options.json")
    }

    /// The remembered ports.
    pub fn ports(&self) -> Ports {
        Ports::at(&self.root.join("ports.json"))
    }

    /// Keeps other launchers out of this folder while the returned file is open.
    pub fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(StackError::io(&path))?;
        file.try_lock().map_err(|_| {
            StackError::Refused(format!(
                "another `stack` command is at work in {}; wait for it or end it",
                self.root.display()
            ))
        })?;
        Ok(file)
    }

    /// Waits for its turn to start something here: what is started and not recorded yet looks like a
    /// stray to others. Unlike [`Self::lock`], which a demo holds as long as it runs.
    pub async fn turn(&self) -> Result<File> {
        wait_for_lock(&self.root.join("turn")).await
    }

    /// A secret of this stack by name: made once, 43 characters (256 bits), kept for the owner alone.
    pub fn secret(&self, name: &str) -> Result<String> {
        let path = self.root.join("secrets.json");
        let mut secrets: BTreeMap<String, String> = read_json(&path)?.unwrap_or_default();
        if let Some(secret) = secrets.get(name) {
            return Ok(secret.clone());
        }
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        secrets.insert(name.to_owned(), secret.clone());
        write_json(&path, &secrets)?;
        Ok(secret)
    }

    /// The TCP port `name` of the process `owner`: the one it has while it runs, else see
    /// [`Ports::tcp`].
    pub fn tcp_port(&self, owner: &str, name: &str, documented: Option<u16>) -> Result<u16> {
        match self.port_in_use(owner, name)? {
            Some(port) => Ok(port),
            None => self.ports().tcp(name, documented),
        }
    }

    /// The same for UDP.
    pub fn udp_port(&self, owner: &str, name: &str, documented: Option<u16>) -> Result<u16> {
        match self.port_in_use(owner, name)? {
            Some(port) => Ok(port),
            None => self.ports().udp(name, documented),
        }
    }

    fn port_in_use(&self, owner: &str, name: &str) -> Result<Option<u16>> {
        match self.running(owner)? {
            Some(_) => self.ports().remembered(name),
            None => Ok(None),
        }
    }

    /// Makes sure that this very process runs: one that was started otherwise, or from a program
    /// file that has been replaced since, is stopped first.
    pub async fn ensure(&self, spec: &Spec) -> Result<Record> {
        if let Some(record) = self.running(&spec.name)? {
            if record.spec == *spec && !record.is_outdated() {
                return Ok(record);
            }
            record.stop().await;
        }
        self.spawn(spec)
    }

    /// Ends what a launcher that was killed has left half done (an `initdb`, say) and what killed
    /// processes have left behind: members of this stack that no pid file leads to.
    pub fn end_strays(&self) -> Result<()> {
        let known: BTreeSet<i32> = self
            .records()?
            .iter()
            .filter(|record| record.alive())
            .map(|record| record.pid)
            .collect();
        kill_marked_except(&self.root, &known);
        Ok(())
    }

    /// Starts a process and writes its pid file.
    pub fn spawn(&self, spec: &Spec) -> Result<Record> {
        let record = spec.spawn(&self.root)?;
        write_json(&self.run_file(&spec.name), &record)?;
        Ok(record)
    }

    /// The process that was started under this name, running or not.
    pub fn record(&self, name: &str) -> Result<Option<Record>> {
        read_json(&self.run_file(name))
    }

    /// The process of this name, if it runs.
    pub fn running(&self, name: &str) -> Result<Option<Record>> {
        Ok(self.record(name)?.filter(Record::alive))
    }

    /// Every process that was started and not stopped by `down`, in the order of their starts.
    pub fn records(&self) -> Result<Vec<Record>> {
        let dir = self.root.join("run");
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(StackError::io(&dir))? {
            let path = entry.map_err(StackError::io(&dir))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && let Some(record) = read_json::<Record>(&path)?
            {
                found.push(record);
            }
        }
        found.sort_by_key(|record| (record.start_ticks, record.pid));
        Ok(found)
    }

    /// Forgets a process.
    pub fn forget(&self, name: &str) -> Result<()> {
        remove_file(&self.run_file(name))
    }

    /// Writes a file that only its owner reads, whole or not at all.
    pub fn write(&self, path: &Path, value: &impl serde::Serialize) -> Result<()> {
        write_json(path, value)
    }

    fn run_file(&self, name: &str) -> PathBuf {
        self.root.join("run").join(format!("{name}.json"))
    }
}
