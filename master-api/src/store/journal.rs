//! The engine's journals, read as they lie there. Opening a store cuts a journal off where it does
//! not read, or refuses it whole; so whoever opens one looks first, and tells a write that a crash
//! cut short, which nobody was told of, from damage.
//!
//! # The format (of the engine, fjall 3; a store of another version is refused by it)
//! A journal `N.jnl` is a row of batches, then zeros. A batch is `1`, number of items (`u32`),
//! sequence (`u64`); items; `3`, XXH3-64 of all bytes of the items (`u64`), and `FJL\x03`. An item
//! is `2`, kind (0 value, 1 and 2 tombstones), compression (0 none, 1 LZ4), table number (`u64`),
//! length of the key (`u16`), of the value (`u32`), of the value as it is stored (`u32`); key;
//! value. Numbers are little-endian.

mod parse;

use parse::{Broken, analyse};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 << 10;
static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// What the journals of a store are like.
#[derive(Debug, Default)]
pub struct Survey {
    /// Batches that are whole.
    pub batches: u64,
    /// What was whole once and is not any more.
    pub damages: Vec<Damage>,
    /// The last write, where it was cut short.
    pub torn: Option<Torn>,
    /// The last value of the key that was asked for, in a whole batch.
    pub found: Option<Vec<u8>>,
    /// The engine's number of the last whole batch.
    last: Option<u64>,
}

/// A stretch of a journal that does not read.
#[derive(Debug, Clone)]
pub struct Damage {
    /// The journal.
    pub journal: PathBuf,
    /// Where it begins, in bytes.
    pub from: u64,
    /// Where the journal reads again, or ends.
    pub to: u64,
    /// Rows that could still be made out. Any of them may be the damaged one.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where the last write begins, which a crash cut short.
#[derive(Debug, Clone)]
pub struct Torn {
    /// The journal, the last one.
    pub journal: PathBuf,
    /// Where it is to be cut.
    pub at: u64,
}

impl Torn {
    /// Cuts it off, in the copy of the store in `directory`.
    pub fn cut(&self, directory: &Path) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).open(in_copy(&self.journal, directory))?;
        file.set_len(self.at)?;
        file.sync_all()
    }
}

impl Damage {
    /// Where it is.
    pub fn place(&self) -> String {
        format!("{}, bytes {} to {}", self.journal.display(), self.from, self.to)
    }
}

/// Looks at all journals of the store in `directory`, in the order in which they were written, and
/// for the last value of `key` in them. Changes nothing.
pub fn survey(directory: &Path, key: &[u8]) -> std::io::Result<Survey> {
    let mut survey = Survey::default();
    let journals = journals(directory)?;
    for (number, journal) in journals.iter().enumerate() {
        let is_last = number + 1 == journals.len();
        one(journal, is_last, key, &mut survey)?;
    }
    Ok(survey)
}

fn one(journal: &Path, is_last: bool, key: &[u8], survey: &mut Survey) -> std::io::Result<()> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(journal)?);
    let (mut from, mut scratch) = (0, Vec::new());
    loop {
        let mut found = None;
        let read = parse::batch(&mut input, survey.last, &mut scratch, &mut |seen, value| {
            if seen == key {
                found = Some(value.to_vec());
            }
        });
        match read {
            Ok(Some(whole)) => {
                from += whole.length;
                survey.last = Some(whole.sequence);
                survey.batches += 1;
                survey.found = found.or(survey.found.take());
                continue;
            }
            Ok(None) => return Ok(()),
            Err(Broken::Io(error)) => return Err(error),
            Err(Broken::Odd) => {}
        }
        let Some(rest) = rest(&mut input, from)? else { return Ok(()) };
        let analysed = analyse(&rest, from, survey.last);
        if analysed.is_torn && is_last {
            survey.torn = Some(Torn { journal: journal.to_owned(), at: from });
            return Ok(());
        }
        let end = from + u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let to = analysed.resumes.map_or(end, |offset| from + offset);
        survey.damages.push(Damage { journal: journal.to_owned(), from, to, rows: analysed.rows });
        if analysed.resumes.is_none() {
            return Ok(());
        }
        from = to;
        input.seek(SeekFrom::Start(from))?;
    }
}

/// All bytes from `from` on without the zeros at the end; None: there are only zeros.
fn rest(input: &mut BufReader<File>, from: u64) -> std::io::Result<Option<Vec<u8>>> {
    input.seek(SeekFrom::Start(from))?;
    let (mut rest, mut zeros, mut piece) = (Vec::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let length = input.read(&mut piece)?;
        let read = piece.get(..length).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        if ZEROS.starts_with(read) {
            zeros += length;
            continue;
        }
        match read.iter().rposition(|byte| *byte != 0) {
            None => zeros += length,
            Some(last) => {
                rest.resize(rest.len() + zeros, 0);
                rest.extend_from_slice(read.get(..=last).unwrap_or_default());
                zeros = length - last - 1;
            }
        }
    }
    Ok((!rest.is_empty()).then_some(rest))
}

/// Takes the damaged stretches out of the copy of the store in `directory`, so that it opens with
/// all batches that are whole.
pub fn excise(damages: &[Damage], directory: &Path) -> std::io::Result<()> {
    let mut journals: Vec<_> = damages.iter().map(|damage| &damage.journal).collect();
    journals.dedup();
    for journal in journals {
        let copy = in_copy(journal, directory);
        let beside = copy.with_extension("tmp");
        let (mut from, mut to) = (File::open(&copy)?, File::create(&beside)?);
        let mut at = 0;
        for damage in damages.iter().filter(|damage| damage.journal == *journal) {
            from.seek(SeekFrom::Start(at))?;
            std::io::copy(&mut Read::by_ref(&mut from).take(damage.from - at), &mut to)?;
            at = damage.to;
        }
        from.seek(SeekFrom::Start(at))?;
        std::io::copy(&mut from, &mut to)?;
        to.flush()?;
        to.sync_all()?;
        fs::rename(beside, copy)?;
    }
    Ok(())
}

fn in_copy(journal: &Path, directory: &Path) -> PathBuf {
    directory.join(journal.file_name().unwrap_or_default())
}

/// The journals, oldest first.
fn journals(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (true, Some(number)) = (is_journal, number) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests;
