//! Lists of ended tasks, read outside of the engine's turn over connections of their own.
//!
//! Every order of the tables lists tasks newest first, so a page is read from where the one before
//! ended until it is full. What the filter wants besides is told by the state and the skill, which
//! lie in the order itself, and by the task, which costs more to read. A page looks at a bounded
//! number of tasks.

use crate::index::feed::Feed;
use crate::index::letters;
use crate::index::pool::Pool;
use crate::index::seal::{BadRow, sound};
use crate::index::store::{self, Hashes, signed, unsigned};
use crate::index::table::astray;
use crate::index::tasks::{self, COMPLETED, Name, TASKS};
use rusqlite::{Connection, Error, params};
use std::path::Path;
use std::sync::Arc;
use trunkline_engine::{EndedTask, InMemory, LetterList, merge_tasks};
use trunkline_types::{
    ContextId, DeadLetterFilter, MessageId, Partition, Refusal, RefusalCode, Sequence, TaskFilter,
    TaskPage, TenantId,
};

/// How much one page may cost: what it takes to look at so many tasks in their order.
pub(super) const COST: u32 = 10_000;

/// How many times as much it costs to read a task.
pub(super) const READ: u32 = 6;

/// How many bytes of tasks one page has, unless its first alone has more.
pub(super) const BYTES: usize = 4 << 20;

/// How many bytes of messages and events are read for one conversation; what is older shows as
/// more.
const TALK: usize = 64 << 20;

/// How many tasks a page has when nobody says.
pub(super) const DEFAULT: u32 = 100;

/// Reads lists.
#[derive(Debug)]
pub(crate) struct Lists {
    pool: Pool,
    /// Told of damage, so that nothing more goes in.
    feed: Arc<Feed>,
}

/// A task as it lies in an order.
struct Seen {
    id: MessageId,
    place: i64,
    state: u8,
    skill: Option<i64>,
}

impl Seen {
    /// The order does not fit the table.
    fn astray(&self) -> Error {
        astray(TASKS.rows, Sequence(unsigned(self.place)))
    }
}

impl Lists {
    pub(crate) fn open(path: &Path, feed: Arc<Feed>) -> Result<Self, Error> {
        Ok(Self { pool: Pool::open(path)?, feed })
    }

    /// A page of a tenant's tasks that ended before a place.
    pub(crate) fn tasks(
        &self,
        tenant: &TenantId,
        filter: &TaskFilter,
        before: Sequence,
    ) -> Result<TaskPage, Refusal> {
        let hashes = self.pool.hashes;
        let mut bad = Vec::new();
        let page = self.pool.read(|connection| {
            let list = List { connection, hashes, tenant, filter, before };
            if filter.by_change { list.changes(&mut bad) } else { list.page(&mut bad) }
        });
        self.feed.note_rows(bad);
        page.map_err(|error| self.refusal(&error))
    }

    /// The newest tasks of a conversation that ended before a place, with all that was said in
    /// them if that is wanted, and whether there are more.
    pub(crate) fn context(
        &self,
        tenant: &TenantId,
        context: &ContextId,
        before: Sequence,
        most: usize,
        whole: bool,
    ) -> Result<(Vec<EndedTask>, bool), Refusal> {
        const LATEST: &str = "SELECT place, head, rest FROM tasks INDEXED BY tasks_by_context
            WHERE context = ?1 AND place < ?2 ORDER BY id DESC";
        let mut bad = Vec::new();
        let mark = self.pool.hashes.mark(Name::Context, tenant, context.as_str());
        let found = self.pool.read(|connection| {
            let mut latest = connection.prepare_cached(LATEST)?;
            let mut rows = latest.query([mark, signed(before.0)])?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let Some(mut task) = sound(tasks::head(row), &mut bad)? else { continue };
                if task.tenant != *tenant || task.task.context_id.as_ref() != Some(context) {
                    continue;
                }
                if found.len() >= most || bytes > TALK {
                    return Ok((found, true));
                }
                if whole {
                    let Some(found) = sound(tasks::whole(row), &mut bad)? else { continue };
                    bytes += row.get_ref(2)?.as_blob().map_or(0, <[u8]>::len);
                    task = found;
                }
                found.push(task);
            }
            Ok((found, false))
        });
        self.feed.note_rows(bad);
        found.map_err(|error| self.refusal(&error))
    }

    /// A page of a tenant's dead letters that were not in memory.
    pub(crate) fn letters(
        &self,
        tenant: &TenantId,
        filter: &DeadLetterFilter,
        known: &InMemory,
    ) -> Result<LetterList, Refusal> {
        let mut bad = Vec::new();
        let hashes = self.pool.hashes;
        let list = self
            .pool
            .read(|connection| letters::list(connection, hashes, tenant, filter, known, &mut bad));
        self.feed.note_rows(bad);
        list.map_err(|error| self.refusal(&error))
    }

    fn refusal(&self, error: &Error) -> Refusal {
        let file = self.pool.path().display();
        if store::is_damage(error) {
            self.feed.suspect(&error.to_string());
        }
        tracing::error!(%error, %file, "the index cannot be read; some ended tasks or dead letters \
            cannot be listed until that is made again or the broker is started again");
        let message = format!(
            "what has left memory cannot be listed, for the index {file} cannot be read: {error}; \
             try again, and if that does not help start the broker again"
        );
        Refusal::new(RefusalCode::StoreFailed, message)
    }
}

/// A list that is being made.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) connection: &'a Connection,
    pub(super) hashes: Hashes,
    pub(super) tenant: &'a TenantId,
    pub(super) filter: &'a TaskFilter,
    pub(super) before: Sequence,
}

impl List<'_> {
    /// A page, by the order that looks at the fewest tasks.
    fn page(self, bad: &mut Vec<BadRow>) -> Result<TaskPage, Error> {
        let filter = self.filter;
        let mark = |name, text: &str| self.hashes.mark(name, self.tenant, text);
        if let Some(root) = filter.root_id {
            let below =
                self.scan("root", "tasks_by_root", mark(Name::Root, &root.to_string()), bad)?;
            return Ok(merge_tasks(filter, below, self.one(root, bad)?));
        }
        if let Some(context) = &filter.context_id {
            let context = mark(Name::Context, context.as_str());
            return self.scan("context", "tasks_by_context", context, bad);
        }
        if let Some(agent) = &filter.agent {
            let agent = mark(Name::Agent, agent.as_str());
            let held = self.scan("agent", "tasks_by_agent", agent, bad)?;
            let sent = self.scan("sent_to", "tasks_by_sent_to", agent, bad)?;
            return Ok(merge_tasks(filter, held, sent));
        }
        if let Some(skill) = &filter.skill {
            return self.scan("skill", "tasks_by_skill", mark(Name::Skill, skill.as_str()), bad);
        }
        let tenant = mark(Name::Tenant, "");
        let is_completed = |state: &trunkline_types::TaskState| state.number() == COMPLETED;
        if filter.states.is_empty() || filter.states.iter().any(is_completed) {
            self.scan("tenant", "tasks_by_id", tenant, bad)
        } else {
            self.scan("state <> 5 AND tenant", "tasks_not_completed", tenant, bad)
        }
    }

    /// The page that has nothing but one task, if that is wanted.
    fn one(self, id: MessageId, bad: &mut Vec<BadRow>) -> Result<TaskPage, Error> {
        let mut page = TaskPage::default();
        let found = tasks::find(self.connection, self.hashes, self.tenant, id);
        let found = sound(found, bad)?.flatten();
        let wanted = found.filter(|found| {
            found.place < self.before
                && self.filter.before.is_none_or(|before| id < before)
                && found.is_wanted(self.tenant, self.filter)
        });
        page.tasks.extend(wanted.map(|found| found.task));
        Ok(page)
    }

    /// A page from one order.
    fn scan(
        self,
        field: &str,
        order: &str,
        mark: i64,
        bad: &mut Vec<BadRow>,
    ) -> Result<TaskPage, Error> {
        const READ_TASK: &str = "SELECT head FROM tasks WHERE place = ?1";
        // By the order of ids alone what is not in it would be read with the task.
        let columns = if order == "tasks_by_id" { "5, NULL" } else { "state, skill" };
        // Where the order tells nothing that is asked for, every task is read, and one statement
        // for all of them costs less than one for each.
        let TaskFilter { states, skill, .. } = self.filter;
        let tells = order != "tasks_by_id"
            && (!states.is_empty() || (skill.is_some() && order != "tasks_by_skill"));
        let head = if tells { "" } else { ", head" };
        let scan = format!(
            "SELECT id, place, {columns}{head} FROM tasks INDEXED BY {order}
             WHERE {field} = ?1 AND id < ?2 ORDER BY id DESC"
        );
        let limit = if self.filter.limit == 0 { DEFAULT } else { self.filter.limit } as usize;
        let (until, since) = self.ids()?;
        let mut scan = self.connection.prepare_cached(&scan)?;
        let mut read = self.connection.prepare_cached(READ_TASK)?;
        let mut rows = scan.query(params![mark, until.to_bytes()])?;
        let (mut page, mut cost, mut bytes, mut last) = (TaskPage::default(), 0, 0, None);
        while let Some(row) = rows.next()? {
            let seen = seen(row)?;
            if seen.id.millis() < since {
                break;
            }
            if cost > COST || page.tasks.len() >= limit || bytes > BYTES {
                page.next = last;
                break;
            }
            cost += 1;
            last = Some(seen.id);
            if !self.may_be_wanted(&seen, order) || seen.place >= signed(self.before.0) {
                continue;
            }
            cost += READ;
            let sized = |row: &rusqlite::Row<'_>, column| {
                let task = tasks::head_of(row, seen.place, column)?;
                Ok((task, row.get_ref(column)?.as_blob().map_or(0, <[u8]>::len)))
            };
            let found = if tells {
                read.query_row([seen.place], |row| sized(row, 0))
            } else {
                sized(row, 4)
            };
            let found = match found {
                Err(Error::QueryReturnedNoRows) => return Err(seen.astray()),
                found => sound(found, bad)?,
            };
            let Some((task, size)) = found else { continue };
            if task.task.id != seen.id {
                return Err(seen.astray());
            }
            if task.is_wanted(self.tenant, self.filter) {
                bytes += size;
                page.tasks.push(task.task);
            }
        }
        Ok(page)
    }

    /// Whether a task may be wanted, from what its order tells of it.
    fn may_be_wanted(self, seen: &Seen, order: &str) -> bool {
        if order == "tasks_by_id" {
            return true;
        }
        let TaskFilter { states, skill, .. } = self.filter;
        let skill = skill.as_ref();
        (states.is_empty() || states.iter().any(|state| state.number() == seen.state))
            && skill.is_none_or(|skill| {
                seen.skill == Some(self.hashes.mark(Name::Skill, self.tenant, skill.as_str()))
            })
    }

    /// Before which id a page begins, and from which time of ids on it goes. Ids tell when they
    /// were made, by their makers' clocks; how far that has been from the acceptance is known.
    fn ids(self) -> Result<(MessageId, u64), Error> {
        const TIMES: &str = "SELECT max(ahead), max(behind) FROM task_times";
        let TaskFilter { since, until, before, .. } = self.filter;
        let times = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (ahead, behind): (i64, i64) =
            self.connection.prepare_cached(TIMES)?.query_row([], times)?;
        let highest = MessageId::from_parts(u64::MAX, Partition::MAX, u64::MAX);
        let first = until.map_or(highest, |until| {
            let millis = until.0.saturating_add(unsigned(ahead)).saturating_add(1);
            MessageId::from_parts(millis.min((1 << 48) - 1), Partition(0), 0)
        });
        let first = before.map_or(first, |before| before.min(first));
        Ok((first, since.map_or(0, |since| since.0.saturating_sub(unsigned(behind)))))
    }
}

fn seen(row: &rusqlite::Row<'_>) -> Result<Seen, Error> {
    let place: i64 = row.get(1)?;
    let read = || {
        let id = MessageId::from_bytes(row.get(0).ok()?)?;
        Some(Seen { id, place, state: row.get(2).ok()?, skill: row.get(3).ok()? })
    };
    read().ok_or_else(|| astray(TASKS.rows, Sequence(unsigned(place))))
}
