//! Who follows the log, and how far each has come. Cursors ride on the next batch.

use contract::{Error, ErrorCode, Result, id::Sequence, limits::LOG_FOLLOWERS_MAX};
use std::collections::BTreeMap;

/// Cursors of followers that moved since the start.
#[derive(Debug, Default)]
pub struct Followers(BTreeMap<String, Cursor>);

#[derive(Debug)]
struct Cursor {
    at: Sequence,
    /// Not in any batch yet.
    moved: bool,
}

impl Followers {
    /// How far one has come since the start; None: not at all.
    pub fn cursor(&self, follower: &str) -> Option<Sequence> {
        self.0.get(follower).map(|cursor| cursor.at)
    }

    /// Moves a cursor forward from where it was stored; never back.
    ///
    /// Errors: `invalid_request` when there are too many followers.
    pub fn advance(
        &mut self,
        follower: &str,
        stored: Option<Sequence>,
        to: Sequence,
    ) -> Result<()> {
        if let Some(cursor) = self.0.get_mut(follower) {
            if to > cursor.at {
                *cursor = Cursor { at: to, moved: true };
            }
            return Ok(());
        }
        if self.0.len() >= LOG_FOLLOWERS_MAX {
            let text = format!("the log has {LOG_FOLLOWERS_MAX} followers: no more are allowed");
            return Err(Error::new(ErrorCode::InvalidRequest, text));
        }
        let moved = stored.is_none_or(|stored| to > stored);
        let at = stored.map_or(to, |stored| stored.max(to));
        self.0.insert(follower.to_owned(), Cursor { at, moved });
        Ok(())
    }

    /// Takes in a cursor that somebody else has written.
    pub fn follow(&mut self, follower: &str, to: Sequence) {
        if let Some(cursor) = self.0.get_mut(follower)
            && to >= cursor.at
        {
            *cursor = Cursor { at: to, moved: false };
        }
    }

    /// These moved cursors were not written after all.
    pub fn not_written(&mut self, followers: &[String]) {
        for follower in followers {
            if let Some(cursor) = self.0.get_mut(follower) {
                cursor.moved = true;
            }
        }
    }

    /// Cursors that moved since this was last asked.
    pub fn take_moved(&mut self) -> Vec<(String, Sequence)> {
        let taken = |(follower, cursor): (&String, &mut Cursor)| {
            std::mem::take(&mut cursor.moved).then(|| (follower.clone(), cursor.at))
        };
        self.0.iter_mut().filter_map(taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_move_forward_only_and_are_written_once() {
        let mut followers = Followers::default();
        followers.advance("a", Some(Sequence(7)), Sequence(5)).unwrap();
        assert_eq!(followers.cursor("a"), Some(Sequence(7)));
        assert_eq!(followers.take_moved(), []);
        followers.advance("a", None, Sequence(9)).unwrap();
        followers.advance("b", None, Sequence(0)).unwrap();
        let moved = [("a".to_owned(), Sequence(9)), ("b".to_owned(), Sequence(0))];
        assert_eq!(followers.take_moved(), moved);
        assert_eq!(followers.take_moved(), []);
    }

    #[test]
    fn what_others_wrote_is_not_written_again_and_what_failed_is() {
        let mut followers = Followers::default();
        followers.follow("a", Sequence(3));
        assert_eq!(followers.cursor("a"), None, "whoever asks reads the store");
        followers.advance("a", None, Sequence(5)).unwrap();
        followers.follow("a", Sequence(4));
        let moved = [("a".to_owned(), Sequence(5))];
        assert_eq!(followers.take_moved(), moved);
        followers.not_written(&["a".to_owned(), "gone".to_owned()]);
        assert_eq!(followers.take_moved(), moved);
        followers.not_written(&["a".to_owned()]);
        followers.follow("a", Sequence(7));
        assert_eq!(followers.cursor("a"), Some(Sequence(7)));
        assert_eq!(followers.take_moved(), []);
    }

    #[test]
    fn followers_are_bounded() {
        let mut followers = Followers::default();
        for n in 0..LOG_FOLLOWERS_MAX {
            followers.advance(&n.to_string(), None, Sequence(1)).unwrap();
        }
        assert!(followers.advance("one more", None, Sequence(1)).is_err());
        assert!(followers.advance("0", None, Sequence(2)).is_ok());
    }
}
