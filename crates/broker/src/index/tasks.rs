//! The tables of ended tasks. Why they are as they are is in `docs/adr/0002-history.md`.

use crate::index::seal::Part;
use crate::index::store::{Hashes, signed, unsigned};
use crate::index::table::{Counted, Sums, Table, astray};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, params, params_from_iter};
use std::borrow::Borrow;
use std::collections::BTreeSet;
use trunkline_engine::{EndedTask, Outcomes};
use trunkline_types::{Destination, MessageId, Sequence, TaskState, TenantId};

/// Tasks lie in the order in which they ended, so that the oldest are deleted from the front.
/// Names are hashed to 32 bits; who reads compares what is found with what is wanted. `sent_to` is
/// the agent that a task was sent to, unless that is the one that held it last. `ahead` and
/// `behind` say how far the time in a task's id may lie after and before its acceptance; they are there
/// twice and the larger counts, for the larger harms no list.
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

/// What was added with the checksums: the times once more.
pub(super) const TIMES_AGAIN: &str =
    "INSERT INTO task_times SELECT 2, ahead, behind FROM task_times WHERE one = 1;";

/// The table of ended tasks.
pub(super) const TASKS: Table =
    Table { rows: "tasks", sums: "task", rest: 200, by_tenant: "tasks_by_id" };

/// What a name stands for; the numbers are in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Tenant = 1,
    Agent = 2,
    Skill = 3,
    Context = 4,
    Root = 5,
    Inbox = 6,
}

/// Takes ended tasks in, those of one commit. A task that is there already stays; one of the same
/// id or the same place that is another task goes.
pub(super) fn insert<T: Borrow<EndedTask>>(
    connection: &Connection,
    hashes: Hashes,
    tasks: &[T],
) -> Result<(), Error> {
    const TIMES: &str = "UPDATE task_times SET ahead = max(ahead, ?1), behind = max(behind, ?2)";
    let (mut ahead, mut behind) = (0, 0);
    let mut sums = Sums::of(TASKS);
    let mut rows = Vec::new();
    for tasks in tasks.chunks(TOGETHER) {
        rows.resize_with(tasks.len(), Row::default);
        for (row, ended) in rows.iter_mut().zip(tasks) {
            let ended = ended.borrow();
            row.say(hashes, ended);
            let (made, accepted) = (ended.task.id.millis(), ended.task.created_at.0);
            ahead = ahead.max(made.saturating_sub(accepted));
            behind = behind.max(accepted.saturating_sub(made));
        }
        let is_one = rows.len() == TOGETHER && are_close(&rows);
        let done = if is_one { insert_new(connection, &rows)? } else { 0 };
        rows[..done].iter().for_each(|row| row.count(&mut sums));
        for row in &rows[done..] {
            insert_one(connection, row, &mut sums)?;
        }
    }
    sums.keep(connection)?;
    connection.prepare_cached(TIMES)?.execute([signed(ahead), signed(behind)])?;
    Ok(())
}

/// How many rows one statement takes where there are as many, and how many marks they may have in all.
/// It opens the table and all of its indexes once, and finds the ends of those where it has left
/// them; but each page that is changed and was there before it is copied, so that it can be undone.
const TOGETHER: usize = 64;
const MARKS: usize = TOGETHER / 4;

/// Whether rows go to few pages of the indexes: those of one mark lie together.
fn are_close(rows: &[Row]) -> bool {
    let (mut last, mut marks) = (None, BTreeSet::new());
    rows.iter().all(|row| {
        let of = row.columns.marks();
        if last.replace(of) != Some(of) {
            marks.extend(of.into_iter().flatten());
        }
        marks.len() <= MARKS
    })
}

/// Takes rows in with one statement, up to the first that is not new; how many it were. It keeps what
/// it has done then.
fn insert_new(connection: &Connection, rows: &[Row]) -> Result<usize, Error> {
    const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let insert = format!("INSERT OR FAIL INTO tasks VALUES {}", vec![ROW; rows.len()].join(", "));
    let mut insert = connection.prepare_cached(&insert)?;
    let mut next = 1..;
    for row in rows {
        for (value, place) in row.values().into_iter().zip(&mut next) {
            insert.raw_bind_parameter(place, value)?;
        }
    }
    match insert.raw_execute() {
        Ok(done) => Ok(done),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Ok(usize::try_from(connection.changes()).unwrap_or(0))
        }
        Err(error) => Err(error),
    }
}

/// Takes a row in that may be there already.
fn insert_one(connection: &Connection, row: &Row, sums: &mut Sums) -> Result<(), Error> {
    const INSERT: &str = "INSERT OR IGNORE INTO tasks VALUES
        (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let mut insert = connection.prepare_cached(INSERT)?;
    let Row { place, columns: Columns { id, tenant, .. }, .. } = row;
    if insert.execute(params_from_iter(row.values()))? == 0 {
        if is_there(connection, *place, id)? {
            return Ok(());
        }
        sums.subtract(connection, "NOT INDEXED WHERE place = ?1", &[&signed(place.0)])?;
        let same = "INDEXED BY tasks_by_id WHERE tenant = ?1 AND id = ?2";
        sums.subtract(connection, same, &[tenant, id])?;
        insert.execute(params_from_iter(row.values()))?;
    }
    row.count(sums);
    Ok(())
}

/// A row of the table.
#[derive(Default)]
struct Row {
    place: Sequence,
    columns: Columns,
    head: Vec<u8>,
    rest: Vec<u8>,
}

impl Row {
    /// Becomes that of a task, in the memory that it has.
    fn say(&mut self, hashes: Hashes, ended: &EndedTask) {
        let Self { place, columns, head, rest } = self;
        (*place, *columns) = (ended.place, Columns::of(hashes, ended));
        Part::TaskHead.seal(*place, head, |out| ended.encode_head(out));
        Part::TaskRest.seal(*place, rest, |out| ended.encode_rest(out));
    }

    /// What is in each column.
    fn values(&self) -> [ToSqlOutput<'_>; 12] {
        let Self { place, columns, head, rest } = self;
        let Columns { id, tenant, state, skill, agent, sent_to, context, root, ended } = columns;
        let number = |number: i64| ToSqlOutput::Owned(number.into());
        let mark = |mark: Option<i64>| ToSqlOutput::Owned(mark.into());
        let blob = |bytes| ToSqlOutput::Borrowed(ValueRef::Blob(bytes));
        [
            number(signed(place.0)),
            blob(id),
            number(*tenant),
            number(i64::from(*state)),
            mark(*skill),
            mark(*agent),
            mark(*sent_to),
            mark(*context),
            mark(*root),
            number(*ended),
            blob(head),
            blob(rest),
        ]
    }

    fn count(&self, sums: &mut Sums) {
        let Columns { tenant, agent, sent_to, state, .. } = self.columns;
        sums.add(tenant, (self.head.len() + self.rest.len()) as u64);
        sums.add_agents([agent, sent_to], state);
    }
}

/// What the columns of a row say again of the task in it, for the indexes and for the deletion of
/// what is past its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Columns {
    id: [u8; 16],
    tenant: i64,
    state: u8,
    skill: Option<i64>,
    agent: Option<i64>,
    sent_to: Option<i64>,
    context: Option<i64>,
    root: Option<i64>,
    ended: i64,
}

impl Columns {
    /// What they are for a task.
    pub(super) fn of(hashes: Hashes, ended: &EndedTask) -> Self {
        let task = &ended.task;
        let (skill, to) = match &task.destination {
            Destination::Skill(skill) => (Some(skill.as_str()), None),
            Destination::Agent(agent) => (None, Some(agent)),
            _ => (None, None),
        };
        let mark = |name, text: &str| hashes.mark(name, &ended.tenant, text);
        Self {
            id: task.id.to_bytes(),
            tenant: mark(Name::Tenant, ""),
            state: task.state.number(),
            skill: skill.map(|skill| mark(Name::Skill, skill)),
            agent: task.agent.as_ref().map(|agent| mark(Name::Agent, agent.as_str())),
            sent_to: to
                .filter(|&to| task.agent.as_ref() != Some(to))
                .map(|to| mark(Name::Agent, to.as_str())),
            context: task.context_id.as_ref().map(|context| mark(Name::Context, context.as_str())),
            root: task
                .root_id
                .filter(|root| *root != task.id)
                .map(|root| mark(Name::Root, &root.to_string())),
            ended: signed(task.updated_at.0),
        }
    }

    /// What stands for names in them.
    fn marks(&self) -> [Option<i64>; 6] {
        let Self { tenant, skill, agent, sent_to, context, root, .. } = *self;
        [Some(tenant), skill, agent, sent_to, context, root]
    }

    /// What they are in a row, from its third column on. `None` if they are none.
    fn read(row: &rusqlite::Row<'_>) -> Option<Self> {
        Some(Self {
            id: row.get(3).ok()?,
            tenant: row.get(4).ok()?,
            state: row.get(5).ok()?,
            skill: row.get(6).ok()?,
            agent: row.get(7).ok()?,
            sent_to: row.get(8).ok()?,
            context: row.get(9).ok()?,
            root: row.get(10).ok()?,
            ended: row.get(11).ok()?,
        })
    }
}

/// How many tasks of a tenant there are in each state but the usual one that ended before a place.
pub(super) fn not_completed(
    connection: &Connection,
    tenant: i64,
    before: Sequence,
) -> Result<Vec<(u8, u64)>, Error> {
    const OTHERS: &str = "SELECT state, count(*) FROM tasks INDEXED BY tasks_not_completed
        WHERE tenant = ?1 AND state <> 5 AND place < ?2 GROUP BY state";
    let mut others = connection.prepare_cached(OTHERS)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, unsigned(row.get(1)?)));
    others.query_map([tenant, signed(before.0)], read)?.collect()
}

/// A row of all columns in the order of [`EVERYTHING`] as the task that it is, if all of it fits.
pub(super) fn checked(hashes: Hashes, row: &rusqlite::Row<'_>) -> Result<EndedTask, Error> {
    let task = whole(row)?;
    if Columns::read(row) == Some(Columns::of(hashes, &task)) {
        return Ok(task);
    }
    Err(Part::TaskHead.bad(task.place, "is two things in one".to_owned()))
}

/// All columns of a row, those first that are more than a repetition.
pub(super) const EVERYTHING: &str =
    "place, head, rest, id, tenant, state, skill, agent, sent_to, context, root, ended";

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
    match found {
        Some(found) if found.task.id != id => Err(astray(TASKS.rows, found.place)),
        found => Ok(found.filter(|found| found.tenant == *tenant).map(Box::new)),
    }
}

/// How the tasks of a tenant ended that ended before a place.
pub(super) fn outcomes(
    connection: &Connection,
    hashes: Hashes,
    tenant: &TenantId,
    before: Sequence,
) -> Result<(Outcomes, Counted), Error> {
    let mut outcomes = Outcomes::default();
    let mark = hashes.mark(Name::Tenant, tenant, "");
    let counted = TASKS.count(connection, mark, before)?;
    let mut completed = counted.rows;
    for (state, count) in not_completed(connection, mark, before)? {
        completed = completed.saturating_sub(count);
        // Of a state that is not known nothing is said.
        if let Some(state) = TaskState::from_number(state) {
            outcomes.add(state, count);
        }
    }
    outcomes.add(TaskState::Completed, completed);
    Ok((outcomes, counted))
}

/// A row of place, head and rest as the task that it is.
pub(super) fn whole(row: &rusqlite::Row<'_>) -> Result<EndedTask, Error> {
    let mut task = head(row)?;
    let place = task.place;
    let rest = Part::TaskRest.open(place, row.get_ref(2))?;
    task.decode_rest(rest).map_err(|error| Part::TaskRest.malformed(place, &error))?;
    Ok(task)
}

/// A row of place and head as the task that it is, without its messages and events.
pub(super) fn head(row: &rusqlite::Row<'_>) -> Result<EndedTask, Error> {
    head_of(row, row.get(0)?, 1)
}

/// A task at a place whose head is in a column of a row, likewise.
pub(super) fn head_of(
    row: &rusqlite::Row<'_>,
    place: i64,
    column: usize,
) -> Result<EndedTask, Error> {
    let place = Sequence(unsigned(place));
    let head = Part::TaskHead.open(place, row.get_ref(column))?;
    EndedTask::decode_head(place, head).map_err(|error| Part::TaskHead.malformed(place, &error))
}

/// A state's number where it is the usual one, which has no index of its own.
pub(super) const COMPLETED: u8 = TaskState::Completed.number();

fn is_there(connection: &Connection, place: Sequence, id: &[u8; 16]) -> Result<bool, Error> {
    const THERE: &str = "SELECT 1 FROM tasks WHERE place = ?1 AND id = ?2";
    let found = connection.prepare_cached(THERE)?.exists(params![signed(place.0), id])?;
    Ok(found)
}
