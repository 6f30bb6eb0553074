//! A bar for long work: on a terminal only.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar that shows what is being done and how much of it.
pub struct Bar {
    bar: ProgressBar,
    counted: ProgressStyle,
}

/// Shows a bar.
pub fn bar(what: &'static str) -> Result<Bar> {
    let spinner = ProgressStyle::with_template("{spinner} {msg} {human_pos}, {elapsed}")?;
    let counted =
        ProgressStyle::with_template("{wide_bar} {msg} {human_pos}/{human_len}, {eta} left")?;
    let bar = ProgressBar::new_spinner().with_style(spinner).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(Bar { bar, counted })
}

impl Bar {
    /// `done` of `all` is done; `all` 0: how much there is, is not known.
    pub fn tell(&self, what: &'static str, done: u64, all: u64) {
        self.bar.set_message(what);
        if all > 0 && self.bar.length() != Some(all) {
            self.bar.set_style(self.counted.clone());
            self.bar.set_length(all);
        }
        self.bar.set_position(done);
    }

    /// Takes it off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
