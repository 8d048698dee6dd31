//! What the thread does about damage: it looks through the file, and takes out what does not fit.

use super::{AGAIN, TELL, Worker, is_busy};
use crate::index::feed::{MOST_BAD, Suspicion};
use crate::index::heal::Unhealed;
use crate::index::kinds::Kind;
use crate::index::room;
use crate::index::store;
use rusqlite::Error;
use std::time::Instant;

/// How often the indexes within the file are made again before it is held for damaged.
const MOST_ORDERED: u32 = 3;

impl Worker {
    /// Looks through the file after an unclean stop.
    pub(super) fn look_through(&mut self) {
        let file = self.store.path().display().to_string();
        match self.store.count_again() {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(%file, "what the index counts was damaged; it is counted again");
            }
            Err(error) => {
                tracing::warn!(%error, %file, "what the index counts cannot be looked at");
            }
        }
        if !self.unclean {
            return;
        }
        match self.check() {
            Ok(None) => {}
            Ok(Some(what)) => self.give_up(&what),
            Err(error) if store::is_damage(&error) => self.give_up(&error.to_string()),
            Err(error) => tracing::debug!(%error, "the index was not looked through"),
        }
    }

    /// What is wrong with the structure of the file, if something is.
    pub(super) fn check(&self) -> Result<Option<String>, Error> {
        let handle = self.store.connection().get_interrupt_handle();
        if !self.feed.set_check(Some(handle)) {
            let over = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
            return Err(Error::SqliteFailure(over, None));
        }
        let found = self.store.look_through();
        self.feed.set_check(None);
        found
    }

    /// The file is damaged.
    pub(super) fn give_up(&self, what: &str) {
        let file = self.store.path().display();
        tracing::error!(%what, %file, "the index is damaged");
        self.feed.note_damage();
    }

    /// Looks at some more rows, unless all were looked at. While some that were bad cannot be taken
    /// out it waits, so that none is passed over.
    pub(super) fn look(&mut self) {
        if !self.bad.is_empty() {
            return;
        }
        if self.scrub.is_over() {
            self.unclean = false;
            return;
        }
        let mut bad = Vec::new();
        let looked = self.scrub.look(&self.store, &mut bad);
        self.feed.note_rows(bad);
        match looked {
            Ok(()) => {}
            Err(error) if store::is_damage(&error) => self.feed.suspect(&error.to_string()),
            Err(error) => tracing::debug!(%error, "some rows of the index were not looked at"),
        }
    }

    /// Adds some of what an older file lacks, while nothing waits.
    pub(super) fn add_part(&mut self) {
        let waits = self.added.is_some_and(|added| added.elapsed() < TELL);
        if !self.lacks || waits || self.feed.waiting() > 0 {
            return;
        }
        let handle = self.store.connection().get_interrupt_handle();
        if !self.feed.set_check(Some(handle)) {
            return;
        }
        let added = self.store.add_part();
        self.feed.set_check(None);
        match added {
            Ok(added) => self.lacks = added,
            Err(error) => {
                // The disk may be full: a list that needs it looks at all tasks meanwhile.
                self.added = Some(Instant::now());
                self.tell(&error, "the index cannot be brought up to this version yet");
            }
        }
    }

    /// Takes out what others have met that does not fit.
    pub(super) fn heal(&mut self) {
        let Suspicion { rows, order, sums } = self.feed.take_suspicion();
        if sums && let Err(error) = self.store.count_again() {
            self.tell(&error, "what the index counts is damaged and cannot be counted again yet");
        }
        if let Some(what) = order {
            self.order(&what);
        }
        let room = MOST_BAD.saturating_sub(self.bad.len());
        self.bad.extend(rows.into_iter().take(room));
        let waits = self.tried.is_some_and(|tried| tried.elapsed() < AGAIN);
        if !self.bad.is_empty() && !waits && !self.feed.is_damaged() {
            self.take_out();
        }
    }

    /// Makes the indexes within the file again if its structure is sound; else it is damaged. Whether
    /// they were made again.
    pub(super) fn order(&mut self, what: &str) -> bool {
        let found = match self.check() {
            Ok(found) => found,
            Err(error) if store::is_damage(&error) => Some(error.to_string()),
            Err(error) => {
                self.tell(&error, "the index cannot be looked through");
                return false;
            }
        };
        if found.is_some() || self.ordered == MOST_ORDERED {
            self.give_up(found.as_deref().unwrap_or(what));
            return false;
        }
        match self.store.order_again() {
            Ok(()) => {
                self.ordered += 1;
                self.fill_filter();
                self.again = false;
                self.scrub.again();
                let file = self.store.path().display();
                tracing::warn!(%what, %file, "the index was made again from its own tables");
                return true;
            }
            Err(error) if room::is_full(&error) || is_busy(&error) => {
                self.tell(&error, "the index cannot be made again from its own tables yet");
            }
            Err(error) => self.give_up(&error.to_string()),
        }
        false
    }

    /// Takes bad rows out. Those that cannot be stay in mind.
    fn take_out(&mut self) {
        self.tried = Some(Instant::now());
        match self.store.take_out(&self.bad, &mut self.copied) {
            Ok(lost) => {
                self.feed.note_lost(lost);
                if self.bad.iter().any(|row| row.kind == Kind::Key) {
                    self.fill_filter();
                }
                self.again = false;
                self.tried = None;
                let file = self.store.path().display();
                for row in std::mem::take(&mut self.bad) {
                    tracing::warn!(%file, "the index has a damaged row: {row}; it is in quarantine, \
                        and made again at the next start if the log still tells of it");
                }
            }
            Err(Unhealed::Copy(error)) => {
                self.tell(&error, "damaged rows of the index cannot be copied, and stay");
            }
            Err(Unhealed::Index(error)) if store::is_damage(&error) => {
                self.order(&error.to_string());
            }
            Err(Unhealed::Index(error)) => {
                self.tell(&error, "damaged rows of the index cannot be taken out yet");
            }
        }
    }

    /// Reads what keys the file has. Where that cannot be done each key is looked for in it, until it
    /// can.
    pub(super) fn fill_filter(&mut self) {
        self.filled = Instant::now();
        let handle = self.store.connection().get_interrupt_handle();
        if self.feed.is_damaged() || !self.feed.set_check(Some(handle)) {
            return;
        }
        let filled = self.store.fill_filter();
        self.feed.set_check(None);
        if let Err(error) = filled {
            if store::is_damage(&error) {
                self.feed.suspect(&error.to_string());
            }
            self.tell(&error, "what keys the index has cannot be read; each is looked for in it");
        }
    }

    /// Does so again where it could not be done.
    pub(super) fn fill_filter_again(&mut self) {
        if !self.store.filter().is_complete() && self.filled.elapsed() >= TELL {
            self.fill_filter();
        }
    }

    /// Says what cannot be done, now and then.
    pub(super) fn tell(&mut self, error: &dyn std::fmt::Display, what: &str) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            let file = self.store.path().display();
            tracing::warn!(%error, %file, "{what}");
        }
    }
}
