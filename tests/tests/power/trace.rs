//! A program's system calls, as `strace -f -y -xx` writes them down.

use std::collections::HashMap;

/// A call, or the beginning of one that others came in between of.
#[derive(Debug)]
pub struct Call {
    /// The thread.
    pub thread: String,
    /// Its name.
    pub name: String,
    /// Its arguments and what it returned, as text.
    pub text: String,
    /// It begins here.
    pub begins: bool,
    /// It ends here, and `text` is whole.
    pub ends: bool,
}

/// All calls, in order; one that was interrupted twice: as it began, and as it ended.
pub fn calls(trace: &str) -> Vec<Call> {
    let (mut calls, mut begun) = (Vec::new(), HashMap::new());
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let (thread, rest) = (thread.to_owned(), rest.trim_start());
        if let Some(rest) = rest.strip_prefix("<... ") {
            let Some((name, end)) = rest.split_once(" resumed>") else { continue };
            let Some(start) = begun.remove(&thread) else { continue };
            let (name, text) = (name.to_owned(), format!("{start}{end}"));
            calls.push(Call { thread, name, text, begins: false, ends: true });
            continue;
        }
        let Some((name, _)) = rest.split_once('(') else { continue };
        let name = name.to_owned();
        match rest.strip_suffix("<unfinished ...>") {
            Some(start) => {
                begun.insert(thread.clone(), start.to_owned());
                let text = start.to_owned();
                calls.push(Call { thread, name, text, begins: true, ends: false });
            }
            None => {
                let text = rest.to_owned();
                calls.push(Call { thread, name, text, begins: true, ends: true });
            }
        }
    }
    calls
}

impl Call {
    /// What it returned; None: it failed.
    pub fn returned(&self) -> Option<u64> {
        let (_, value) = self.text.rsplit_once(") = ").or_else(|| {
            let at = self.text.rfind(" = ")?;
            Some(("", &self.text[at + 3..]))
        })?;
        let digits = value.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    }

    /// The file descriptor that it returned leads to this path.
    pub fn opened(&self) -> Option<String> {
        let (_, value) = self.text.rsplit_once(" = ")?;
        Some(path_in(value)?.0)
    }

    /// Its first argument, and the path it leads to.
    pub fn descriptor(&self) -> Option<(u64, String)> {
        let (_, arguments) = self.text.split_once('(')?;
        let (number, _) = arguments.split_once('<')?;
        Some((number.parse().ok()?, path_in(arguments)?.0))
    }

    /// All texts among its arguments.
    pub fn texts(&self) -> Vec<Vec<u8>> {
        self.text.split('"').skip(1).step_by(2).map(bytes).collect()
    }

    /// Paths among its arguments, made absolute.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut before = "";
        for (n, part) in self.text.split('"').enumerate() {
            if n % 2 == 0 {
                before = part;
                continue;
            }
            let path = String::from_utf8_lossy(&bytes(part)).into_owned();
            let base = before.rfind('<').and_then(|at| path_in(&before[at..]));
            paths.push(match base {
                Some((base, _)) if !path.starts_with('/') => format!("{base}/{path}"),
                _ => path,
            });
        }
        paths
    }

    /// The number after the last comma.
    pub fn last_number(&self) -> Option<u64> {
        let (arguments, _) = self.text.rsplit_once(')')?;
        arguments.rsplit_once(',')?.1.trim().parse().ok()
    }
}

fn path_in(text: &str) -> Option<(String, &str)> {
    let (_, rest) = text.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    let path = if path.starts_with("\\x") {
        String::from_utf8_lossy(&bytes(path)).into_owned()
    } else {
        path.to_owned()
    };
    Some((path, rest))
}

fn bytes(escaped: &str) -> Vec<u8> {
    let pieces = escaped.split("\\x").skip(1);
    pieces.filter_map(|piece| u8::from_str_radix(piece.get(..2)?, 16).ok()).collect()
}
