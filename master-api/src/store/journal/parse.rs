//! Batches from bytes: strictly, one after the other, and as far as can be where they are damaged.

use std::io::{ErrorKind, Read};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const START_LENGTH: usize = 13;
const ITEM_LENGTH: usize = 21;
const END_LENGTH: usize = 13;
const TRAILER: &[u8] = b"FJL\x03";
/// A disk writes at least so many bytes at a time, or none of them.
const SECTOR: u64 = 512;
/// Numbers between two batches: the engine gives some to other things.
const SEQUENCES_MAX: u64 = 1 << 20;

/// Why a batch is none.
#[derive(Debug)]
pub enum Broken {
    /// It is not what a batch is.
    Odd,
    /// The file.
    Io(std::io::Error),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Odd,
            _ => Self::Io(error),
        }
    }
}

/// What is in front of an item's key.
struct ItemHead {
    compression: u8,
    key: usize,
    value: usize,
    stored: usize,
}

impl ItemHead {
    fn read(bytes: &[u8; ITEM_LENGTH]) -> Option<Self> {
        let [tag, kind, compression, rest @ ..] = bytes;
        let [_, _, _, _, _, _, _, _, k0, k1, v0, v1, v2, v3, s0, s1, s2, s3] = *rest;
        let wide = |bytes| usize::try_from(u32::from_le_bytes(bytes)).ok();
        let head = Self {
            compression: *compression,
            key: usize::from(u16::from_le_bytes([k0, k1])),
            value: wide([v0, v1, v2, v3])?,
            stored: wide([s0, s1, s2, s3])?,
        };
        let known = *tag == ITEM && *kind <= 2 && *compression <= 1;
        let fits = *compression == 1 || head.value == head.stored;
        (known && fits).then_some(head)
    }

    fn value(&self, stored: &[u8]) -> Option<Vec<u8>> {
        match self.compression {
            0 => Some(stored.to_vec()),
            _ => lz4_flex::decompress(stored, self.value).ok().filter(|v| v.len() == self.value),
        }
    }
}

/// A batch that is as it was written.
pub struct Whole {
    /// In bytes.
    pub length: u64,
    /// The engine's number of it. They grow.
    pub sequence: u64,
}

/// Reads a whole batch that may follow the one numbered `last`, and shows its keys and its
/// uncompressed values; None: the input ends. `scratch` is memory to use. The number is not under
/// the checksum, so it is looked at here.
pub fn batch(
    input: &mut impl Read,
    last: Option<u64>,
    scratch: &mut Vec<u8>,
    see: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<Option<Whole>, Broken> {
    let mut start = [0; START_LENGTH];
    if input.by_ref().take(1).read(&mut start)? == 0 {
        return Ok(None);
    }
    let [tag, rest @ ..] = &mut start;
    input.read_exact(rest)?;
    let [c0, c1, c2, c3, sequence @ ..] = *rest;
    let (count, sequence) = (u32::from_le_bytes([c0, c1, c2, c3]), u64::from_le_bytes(sequence));
    let follows = last.is_none_or(|last| sequence > last && sequence - last <= SEQUENCES_MAX);
    if *tag != START || !follows {
        return Err(Broken::Odd);
    }
    let (mut hash, mut length) = (Xxh3::new(), START_LENGTH + END_LENGTH);
    for _ in 0..count {
        let mut bytes = [0; ITEM_LENGTH];
        input.read_exact(&mut bytes)?;
        let head = ItemHead::read(&bytes).ok_or(Broken::Odd)?;
        scratch.clear();
        let size = head.key + head.stored;
        let wanted = u64::try_from(size).unwrap_or(u64::MAX);
        if input.by_ref().take(wanted).read_to_end(scratch)? < size {
            return Err(Broken::Odd);
        }
        hash.update(&bytes);
        hash.update(scratch);
        let (key, value) = scratch.split_at_checked(head.key).ok_or(Broken::Odd)?;
        if head.compression == 0 {
            see(key, value);
        }
        length += ITEM_LENGTH + size;
    }
    let mut end = [0; END_LENGTH];
    input.read_exact(&mut end)?;
    let [tag, found @ .., t0, t1, t2, t3] = end;
    let whole = tag == END && [t0, t1, t2, t3] == TRAILER && found == hash.digest().to_le_bytes();
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if whole { Ok(Some(Whole { length, sequence })) } else { Err(Broken::Odd) }
}

/// What follows a place where no batch reads.
pub struct Analysed {
    /// It is a write that did not get through.
    pub is_torn: bool,
    /// Where the next whole batch begins.
    pub resumes: Option<u64>,
    /// Rows that can be made out in front of it.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Looks at the bytes up to the last that is not zero; they begin at `at` of the file.
pub fn analyse(rest: &[u8], at: u64, last: Option<u64>) -> Analysed {
    let Lenient { rows, end, is_sound } = lenient(rest);
    let after_trailers =
        rest.windows(TRAILER.len()).enumerate().filter(|(_, bytes)| *bytes == TRAILER);
    let candidates = end.into_iter().chain(after_trailers.map(|(n, _)| n + TRAILER.len()));
    let mut scratch = Vec::new();
    let resumes = candidates.filter(|place| *place < rest.len()).find(|place| {
        let mut input = rest.get(*place..).unwrap_or_default();
        matches!(batch(&mut input, last, &mut scratch, &mut |_, _| ()), Ok(Some(_)))
    });
    // Written to the end: no crash cut it short, unless a piece in it never reached the disk.
    let is_complete = rest.ends_with(TRAILER) || is_sound;
    let is_torn = resumes.is_none() && (!is_complete || has_hole(rest, at));
    Analysed { is_torn, resumes: resumes.and_then(|place| u64::try_from(place).ok()), rows }
}

struct Lenient {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the batch ends, if its form holds up to there.
    end: Option<usize>,
    /// Its items are as they were written; what is damaged is around them.
    is_sound: bool,
}

/// The rows of a batch as far as its form holds, whatever its checksum says.
fn lenient(bytes: &[u8]) -> Lenient {
    let (mut rows, mut at) = (Vec::new(), START_LENGTH);
    let mut hash = Xxh3::new();
    while let Some((head, key, stored)) = item(bytes, at) {
        let size = ITEM_LENGTH + head.key + head.stored;
        hash.update(bytes.get(at..at + size).unwrap_or_default());
        if let Some(value) = head.value(stored) {
            rows.push((key.to_vec(), value));
        }
        at += size;
    }
    let end = bytes.get(at..).and_then(<[u8]>::first_chunk::<END_LENGTH>);
    let is_sound = end.is_some_and(|end| {
        let [_, found @ .., _, _, _, _] = *end;
        found == hash.digest().to_le_bytes()
    });
    Lenient { rows, end: end.map(|_| at + END_LENGTH), is_sound }
}

fn item(bytes: &[u8], at: usize) -> Option<(ItemHead, &[u8], &[u8])> {
    let bytes = bytes.get(at..)?;
    let head = ItemHead::read(bytes.first_chunk()?)?;
    let (key, rest) = bytes.get(ITEM_LENGTH..)?.split_at_checked(head.key)?;
    let stored = rest.get(..head.stored)?;
    Some((head, key, stored))
}

/// Is there a sector of nothing but zeros?
fn has_hole(rest: &[u8], at: u64) -> bool {
    let sector = usize::try_from(SECTOR).unwrap_or(usize::MAX);
    let first = usize::try_from(at.next_multiple_of(SECTOR) - at).unwrap_or(usize::MAX);
    let sectors = rest.get(first..).unwrap_or_default().chunks_exact(sector);
    sectors.into_iter().any(|sector| sector.iter().all(|byte| *byte == 0))
}
