//! The tables of ended tasks. Why they are as they are is in `docs/adr/0002-history.md`.

use crate::index::store::{Hashes, signed, unsigned};
use rusqlite::{Connection, Error, OptionalExtension, params};
use trunkline_engine::{EndedTask, Outcomes};
use trunkline_types::{Destination, MessageId, Sequence, TaskState, TenantId, WallTime};

/// Tasks lie in the order in which they ended, so that the oldest are deleted from the front.
/// Names are hashed to 32 bits; who reads compares what is found with what is wanted. `sent_to` is
/// the agent that a task was sent to, unless that is the one that held it last. `ahead` and
/// `behind` say how far the time in a task's id may lie after and before its acceptance.
pub(super) const TABLES: &str = "
    CREATE TABLE tasks (
        place INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant INTEGER NOT NULL,
        state INTEGER NOT NULL, skill INTEGER, agent INTEGER, sent_to INTEGER, context INTEGER,
        root INTEGER, ended INTEGER NOT NULL, head BLOB NOT NULL, rest BLOB NOT NULL
    );
    CREATE UNIQUE INDEX tasks_by_id ON tasks (tenant, id);
    CREATE INDEX tasks_by_agent ON tasks (agent, id, state, skill) WHERE agent IS NOT NULL;
    CREATE INDEX tasks_by_sent_to ON tasks (sent_to, id, state, skill) WHERE sent_to IS NOT NULL;
    CREATE INDEX tasks_by_skill ON tasks (skill, id, state) WHERE skill IS NOT NULL;
    CREATE INDEX tasks_by_context ON tasks (context, id, state, skill) WHERE context IS NOT NULL;
    CREATE INDEX tasks_by_root ON tasks (root, id, state, skill) WHERE root IS NOT NULL;
    CREATE INDEX tasks_not_completed ON tasks (tenant, id, state, skill) WHERE state <> 5;
    CREATE TABLE task_sums (tenant INTEGER PRIMARY KEY, tasks INTEGER NOT NULL, bytes INTEGER NOT NULL);
    CREATE TABLE task_times (one INTEGER PRIMARY KEY, ahead INTEGER NOT NULL, behind INTEGER NOT NULL);
    INSERT INTO task_times VALUES (1, 0, 0);";

/// What a task needs besides its own bytes, as measured: its row's other fields and its entries in
/// the indexes.
pub(super) const REST: u64 = 200;

/// What a name stands for; the numbers are in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Tenant = 1,
    Agent = 2,
    Skill = 3,
    Context = 4,
    Root = 5,
}

/// When tasks are deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// Those that ended at this time or before.
    pub(crate) until: WallTime,
    /// The oldest of them while there are more bytes than this.
    pub(crate) bytes: u64,
}

/// Takes ended tasks in, those of one commit. A task that is there already stays; one of the same
/// id or the same place that is another task goes.
pub(super) fn insert(
    connection: &Connection,
    hashes: Hashes,
    tasks: &[EndedTask],
) -> Result<(), Error> {
    const INSERT: &str = "INSERT OR IGNORE INTO tasks VALUES
        (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    const TIMES: &str = "UPDATE task_times SET ahead = max(ahead, ?1), behind = max(behind, ?2)";
    let mut insert = connection.prepare_cached(INSERT)?;
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    let (mut ahead, mut behind) = (0, 0);
    let mut sums = Sums::default();
    for ended in tasks {
        let task = &ended.task;
        let (skill, to) = match &task.destination {
            Destination::Skill(skill) => (Some(skill.as_str()), None),
            Destination::Agent(agent) => (None, Some(agent)),
            _ => (None, None),
        };
        let mark = |name, text: &str| hashes.mark(name, &ended.tenant, text);
        let (tenant, id) = (mark(Name::Tenant, ""), task.id.to_bytes());
        head.clear();
        rest.clear();
        ended.encode_head(&mut head);
        ended.encode_rest(&mut rest);
        let values = params![
            signed(ended.place.0),
            id,
            tenant,
            task.state.number(),
            skill.map(|skill| mark(Name::Skill, skill)),
            task.agent.as_ref().map(|agent| mark(Name::Agent, agent.as_str())),
            to.filter(|&to| task.agent.as_ref() != Some(to))
                .map(|to| mark(Name::Agent, to.as_str())),
            task.context_id.as_ref().map(|context| mark(Name::Context, context.as_str())),
            task.root_id
                .filter(|root| *root != task.id)
                .map(|root| mark(Name::Root, &root.to_string())),
            signed(task.updated_at.0),
            head,
            rest,
        ];
        if insert.execute(values)? == 0 {
            if is_there(connection, ended.place, &id)? {
                continue;
            }
            sums.subtract(connection, "NOT INDEXED WHERE place = ?1", &[&signed(ended.place.0)])?;
            let same = "INDEXED BY tasks_by_id WHERE tenant = ?1 AND id = ?2";
            sums.subtract(connection, same, &[&tenant, &id])?;
            insert.execute(values)?;
        }
        sums.add(tenant, (head.len() + rest.len()) as u64);
        let (made, accepted) = (task.id.millis(), task.created_at.0);
        ahead = ahead.max(made.saturating_sub(accepted));
        behind = behind.max(accepted.saturating_sub(made));
    }
    sums.keep(connection)?;
    connection.prepare_cached(TIMES)?.execute([signed(ahead), signed(behind)])?;
    Ok(())
}

/// Deletes the oldest tasks that are out of bounds, at most so many; how many it were.
pub(super) fn expire(connection: &Connection, bounds: Bounds, most: usize) -> Result<usize, Error> {
    const OLDEST: &str = "SELECT place, ended, length(head) + length(rest) FROM tasks
        ORDER BY place LIMIT ?1";
    let (mut total, mut last, mut count) = (bytes(connection)?, None, 0);
    {
        let mut oldest = connection.prepare_cached(OLDEST)?;
        let mut rows = oldest.query([i64::try_from(most).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            let ended = unsigned(row.get(1)?);
            if ended > bounds.until.0 && total <= bounds.bytes {
                break;
            }
            total = total.saturating_sub(unsigned(row.get(2)?) + REST);
            last = Some(row.get::<_, i64>(0)?);
            count += 1;
        }
    }
    let Some(last) = last else { return Ok(0) };
    let mut sums = Sums::default();
    sums.subtract(connection, "NOT INDEXED WHERE place <= ?1", &[&last])?;
    sums.keep(connection)?;
    Ok(count)
}

/// Deletes the tasks that were ended by records behind a place.
pub(super) fn cut(connection: &Connection, last: Sequence) -> Result<(), Error> {
    let mut sums = Sums::default();
    sums.subtract(connection, "NOT INDEXED WHERE place > ?1", &[&signed(last.0)])?;
    sums.keep(connection)
}

/// When the oldest task ended.
pub(super) fn oldest(connection: &Connection) -> Result<Option<WallTime>, Error> {
    const OLDEST: &str = "SELECT ended FROM tasks ORDER BY place LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| row.get(0).map(|at| WallTime(unsigned(at)));
    connection.prepare_cached(OLDEST)?.query_row([], read).optional()
}

/// About how many bytes all tasks need.
pub(super) fn bytes(connection: &Connection) -> Result<u64, Error> {
    const SUM: &str = "SELECT coalesce(sum(bytes), 0) FROM task_sums";
    connection.prepare_cached(SUM)?.query_row([], |row| row.get(0)).map(unsigned)
}

/// A tenant's task.
pub(super) fn find(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    id: MessageId,
) -> Result<Option<Box<EndedTask>>, Error> {
    const FIND: &str = "SELECT place, head, rest FROM tasks WHERE tenant = ?1 AND id = ?2";
    let values = params![hashes.mark(Name::Tenant, tenant, ""), id.to_bytes()];
    let found = connection.prepare_cached(FIND)?.query_row(values, whole).optional()?;
    Ok(found.filter(|found| found.tenant == *tenant).map(Box::new))
}

/// How many tasks of a tenant there are that ended before a place. Those that ended later are
/// looked at one by one: there are few, for memory has them too.
pub(super) fn count(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    before: Sequence,
) -> Result<u64, Error> {
    const ALL: &str = "SELECT coalesce(sum(tasks), 0) FROM task_sums WHERE tenant = ?1";
    const LATER: &str = "SELECT count(*) FROM tasks NOT INDEXED
        WHERE place >= ?2 AND tenant = ?1";
    let tenant = hashes.mark(Name::Tenant, tenant, "");
    let all = connection.prepare_cached(ALL)?.query_row([tenant], |row| row.get(0));
    let place = signed(before.0);
    let later = connection.prepare_cached(LATER)?.query_row([tenant, place], |row| row.get(0));
    Ok(unsigned(all?).saturating_sub(unsigned(later?)))
}

/// How the tasks of a tenant ended that ended before a place.
pub(super) fn outcomes(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    before: Sequence,
) -> Result<Outcomes, Error> {
    const OTHERS: &str = "SELECT state, count(*) FROM tasks INDEXED BY tasks_not_completed
        WHERE tenant = ?1 AND state <> 5 AND place < ?2 GROUP BY state";
    let mut outcomes = Outcomes::default();
    let mut completed = count(connection, hashes, tenant, before)?;
    let mut others = connection.prepare_cached(OTHERS)?;
    let mut rows = others.query([hashes.mark(Name::Tenant, tenant, ""), signed(before.0)])?;
    while let Some(row) = rows.next()? {
        let (state, count): (u8, i64) = (row.get(0)?, row.get(1)?);
        completed = completed.saturating_sub(unsigned(count));
        // Of a state that is not known nothing is said.
        if let Some(state) = TaskState::from_number(state) {
            outcomes.add(state, unsigned(count));
        }
    }
    outcomes.add(TaskState::Completed, completed);
    Ok(outcomes)
}

/// A row of place, head and rest as the task that it is.
pub(super) fn whole(row: &rusqlite::Row<'_>) -> Result<EndedTask, Error> {
    let mut task = head(row)?;
    task.decode_rest(row.get_ref(2)?.as_blob()?).map_err(|error| malformed(2, error))?;
    Ok(task)
}

/// A row of place and head as the task that it is, without its messages and events.
pub(super) fn head(row: &rusqlite::Row<'_>) -> Result<EndedTask, Error> {
    let place = Sequence(unsigned(row.get(0)?));
    EndedTask::decode_head(place, row.get_ref(1)?.as_blob()?).map_err(|error| malformed(1, error))
}

/// A state's number where it is the usual one, which has no index of its own.
pub(super) const COMPLETED: u8 = TaskState::Completed.number();

fn malformed(column: usize, error: trunkline_engine::DecodeError) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
}

fn is_there(connection: &Connection, place: Sequence, id: &[u8; 16]) -> Result<bool, Error> {
    const THERE: &str = "SELECT 1 FROM tasks WHERE place = ?1 AND id = ?2";
    let found = connection.prepare_cached(THERE)?.exists(params![signed(place.0), id])?;
    Ok(found)
}

/// What comes and goes of each tenant in one commit.
#[derive(Debug, Default)]
struct Sums(std::collections::BTreeMap<i64, (i64, i64)>);

impl Sums {
    fn add(&mut self, tenant: i64, bytes: u64) {
        let sum = self.0.entry(tenant).or_default();
        sum.0 += 1;
        sum.1 += signed(bytes + REST);
    }

    /// Deletes tasks. How they are found is said with which ones: left to itself, SQLite may go over
    /// all tasks of a tenant for a few.
    fn subtract(
        &mut self,
        connection: &Connection,
        which: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<(), Error> {
        let sum = format!(
            "SELECT tenant, count(*), sum(length(head) + length(rest)) FROM tasks {which}
             GROUP BY tenant"
        );
        let mut gone = connection.prepare_cached(&sum)?;
        let mut rows = gone.query(values)?;
        while let Some(row) = rows.next()? {
            let (tasks, bytes): (i64, i64) = (row.get(1)?, row.get(2)?);
            let sum = self.0.entry(row.get(0)?).or_default();
            sum.0 -= tasks;
            sum.1 -= bytes + tasks * signed(REST);
        }
        let delete = format!("DELETE FROM tasks {which}");
        connection.prepare_cached(&delete)?.execute(values)?;
        Ok(())
    }

    fn keep(self, connection: &Connection) -> Result<(), Error> {
        const KEEP: &str = "INSERT INTO task_sums VALUES (?1, ?2, ?3) ON CONFLICT (tenant)
            DO UPDATE SET tasks = tasks + ?2, bytes = bytes + ?3";
        let mut keep = connection.prepare_cached(KEEP)?;
        for (tenant, (tasks, bytes)) in self.0 {
            keep.execute([tenant, tasks, bytes])?;
        }
        Ok(())
    }
}
