//! A disk that loses its power: what a completed sync covers is there, of the rest any 4 KiB piece
//! may be there or not. Names (creation, renaming, removal) are taken as durable at once.

use crate::trace::Call;
use contract::random::Random;
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
};

const PIECE: usize = 4096;

/// What of the writes that no sync covers is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// All: the process was killed, not the machine.
    All,
    /// Nothing.
    Nothing,
    /// Each piece, or not.
    Some,
}

#[derive(Debug, Clone)]
enum Op {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    open: Vec<Op>,
}

#[derive(Debug, Clone)]
struct Opened {
    file: usize,
    at: usize,
    appends: bool,
}

/// The files below a directory, call by call.
#[derive(Debug)]
pub struct Disk {
    root: String,
    files: Vec<File>,
    names: HashMap<String, usize>,
    directories: BTreeSet<String>,
    opened: HashMap<u64, Opened>,
    syncing: HashMap<String, (usize, usize)>,
}

impl Disk {
    /// Empty, for what lies below `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.display().to_string(),
            files: Vec::new(),
            names: HashMap::new(),
            directories: BTreeSet::new(),
            opened: HashMap::new(),
            syncing: HashMap::new(),
        }
    }

    /// Takes in a call; true: it changed something.
    pub fn take(&mut self, call: &Call) -> bool {
        if call.begins && is_sync(&call.name) {
            self.sync_begins(call);
        }
        let Some(returned) = call.returned().filter(|_| call.ends) else { return false };
        match call.name.as_str() {
            "open" | "openat" | "creat" => self.open(call, returned),
            "rename" | "renameat" | "renameat2" => self.rename(&call.paths()),
            "unlink" | "unlinkat" | "rmdir" => self.remove(&call.paths()),
            "mkdir" | "mkdirat" => {
                let below = |path: &String| path.starts_with(&self.root);
                let made: Vec<_> = call.paths().into_iter().filter(below).collect();
                self.directories.extend(made);
                true
            }
            _ => self.on_descriptor(call, returned),
        }
    }

    fn sync_begins(&mut self, call: &Call) {
        let file = call.descriptor().and_then(|(number, _)| self.opened.get(&number));
        if let Some(Opened { file, .. }) = file {
            let covered = self.files[*file].open.len();
            self.syncing.insert(call.thread.clone(), (*file, covered));
        }
    }

    fn open(&mut self, call: &Call, number: u64) -> bool {
        self.opened.remove(&number);
        let Some(path) = call.opened().filter(|path| path.starts_with(&self.root)) else {
            return false;
        };
        if call.text.contains("O_DIRECTORY") {
            return false;
        }
        let known = self.names.get(&path).copied();
        if known.is_none() && !call.text.contains("O_CREAT") {
            return false;
        }
        let file = known.unwrap_or_else(|| {
            self.files.push(File::default());
            self.names.insert(path, self.files.len() - 1);
            self.files.len() - 1
        });
        if call.text.contains("O_TRUNC") {
            self.files[file].change(Op::Length(0));
        }
        let appends = call.text.contains("O_APPEND");
        self.opened.insert(number, Opened { file, at: 0, appends });
        true
    }

    fn rename(&mut self, paths: &[String]) -> bool {
        let [from, to] = paths else { return false };
        let moved: Vec<_> =
            self.names.keys().filter(|name| is_below(name, from)).cloned().collect();
        for name in moved {
            if let Some(file) = self.names.remove(&name) {
                self.names.insert(name.replacen(from, to, 1), file);
            }
        }
        true
    }

    fn remove(&mut self, paths: &[String]) -> bool {
        for path in paths {
            self.names.remove(path);
            self.directories.remove(path);
        }
        true
    }

    fn on_descriptor(&mut self, call: &Call, returned: u64) -> bool {
        let Some((number, _)) = call.descriptor() else { return false };
        let Some(opened) = self.opened.get_mut(&number) else { return false };
        let file = &mut self.files[opened.file];
        let size = usize::try_from(returned).unwrap_or(0);
        match call.name.as_str() {
            "close" => _ = self.opened.remove(&number),
            "dup" | "dup2" | "fcntl" if call.name != "fcntl" || call.text.contains("F_DUPFD") => {
                let copy = opened.clone();
                self.opened.insert(returned, copy);
            }
            "lseek" => opened.at = size,
            "read" => opened.at += size,
            "write" | "writev" => {
                let mut bytes = call.texts().concat();
                bytes.truncate(size);
                let at = if opened.appends { file.now.len() } else { opened.at };
                opened.at = at + bytes.len();
                file.change(Op::Write { at, bytes });
                return true;
            }
            "pwrite64" | "pwritev" => {
                let mut bytes = call.texts().concat();
                bytes.truncate(size);
                let at = usize::try_from(call.last_number().expect("a place")).expect("it fits");
                file.change(Op::Write { at, bytes });
                return true;
            }
            "ftruncate" => {
                let length = call.last_number().expect("a length");
                file.change(Op::Length(usize::try_from(length).expect("it fits")));
                return true;
            }
            name if is_sync(name) => {
                if let Some((file, covered)) = self.syncing.remove(&call.thread) {
                    self.files[file].sync(covered);
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// Writes the files as a crash may leave them.
    pub fn crash(&self, to: &Path, left: Left, random: &dyn Random) {
        let place = |name: &str| to.join(name[self.root.len()..].trim_start_matches('/'));
        for directory in &self.directories {
            fs::create_dir_all(place(directory)).unwrap();
        }
        for (name, file) in &self.names {
            let path = place(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, self.files[*file].after(left, random)).unwrap();
        }
    }

    /// The files that are not as they really are: the model would be wrong.
    pub fn differences(&self) -> Vec<String> {
        let wrong = |(name, file): &(&String, &usize)| {
            fs::read(name).map_or(true, |bytes| bytes != self.files[**file].now)
        };
        self.names.iter().filter(wrong).map(|(name, _)| name.clone()).collect()
    }
}

impl File {
    fn change(&mut self, op: Op) {
        apply(&mut self.now, &op);
        self.open.push(op);
    }

    fn sync(&mut self, covered: usize) {
        let covered = covered.min(self.open.len());
        for op in self.open.drain(..covered) {
            apply(&mut self.durable, &op);
        }
    }

    fn after(&self, left: Left, random: &dyn Random) -> Vec<u8> {
        let mut bytes = match left {
            Left::All => return self.now.clone(),
            Left::Nothing => return self.durable.clone(),
            Left::Some => self.durable.clone(),
        };
        for op in &self.open {
            match op {
                Op::Write { at, bytes: written } => {
                    let mut from = 0;
                    while from < written.len() {
                        let to = (from + PIECE - (at + from) % PIECE).min(written.len());
                        if survives(random) {
                            let piece = written[from..to].to_vec();
                            apply(&mut bytes, &Op::Write { at: at + from, bytes: piece });
                        }
                        from = to;
                    }
                }
                Op::Length(_) if survives(random) => apply(&mut bytes, op),
                Op::Length(_) => {}
            }
        }
        bytes
    }
}

fn survives(random: &dyn Random) -> bool {
    let mut dice = [0];
    random.fill(&mut dice);
    dice[0] % 2 == 0
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { at, bytes: written } => {
            let end = at + written.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(written);
        }
        Op::Length(length) => bytes.resize(*length, 0),
    }
}

fn is_sync(name: &str) -> bool {
    matches!(name, "fsync" | "fdatasync")
}

fn is_below(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
