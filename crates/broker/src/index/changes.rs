//! Lists of ended tasks by their latest change, which is their end, and how many there are.
//!
//! The orders were added to files that were there, which takes long where there are many tasks; until
//! they have them a list looks at all tasks that it might show.

use crate::index::lists::{BYTES, COST, DEFAULT, List, READ};
use crate::index::seal::{BadRow, sound};
use crate::index::store::{signed, unsigned};
use crate::index::table::{Agents, Counted, Table, astray};
use crate::index::tasks::{self, Name, TASKS};
use rusqlite::{Connection, Error, params, params_from_iter};
use std::fmt::Write as _;
use trunkline_engine::merge_changes;
use trunkline_types::{
    AgentId, Change, MessageId, Sequence, TaskFilter, TaskPage, TaskState, WallTime,
};

/// What is added to the tables for such lists, by its names.
pub(super) const PARTS: [(&str, &str); 5] = [
    ("tasks_changed", "CREATE INDEX tasks_changed ON tasks (tenant, ended, id, state)"),
    (
        "tasks_changed_by_agent",
        "CREATE INDEX tasks_changed_by_agent ON tasks (agent, ended, id, state)
         WHERE agent IS NOT NULL",
    ),
    (
        "tasks_changed_by_sent_to",
        "CREATE INDEX tasks_changed_by_sent_to ON tasks (sent_to, ended, id, state)
         WHERE sent_to IS NOT NULL",
    ),
    (
        "tasks_changed_by_context",
        "CREATE INDEX tasks_changed_by_context ON tasks (context, ended, id, state)
         WHERE context IS NOT NULL",
    ),
    (
        COUNTS,
        "CREATE TABLE task_counts (
            mark INTEGER NOT NULL, state INTEGER NOT NULL, tasks INTEGER NOT NULL,
            sum INTEGER NOT NULL, PRIMARY KEY (mark, state)
         ) WITHOUT ROWID",
    ),
];

/// The table of how many tasks of each state an agent had or was sent.
pub(super) const COUNTS: &str = "task_counts";

/// Which order is read, and for which mark.
#[derive(Clone, Copy)]
struct Order {
    field: &'static str,
    name: &'static str,
    mark: i64,
}

impl List<'_> {
    /// A page by latest change.
    pub(super) fn changes(self, bad: &mut Vec<BadRow>) -> Result<TaskPage, Error> {
        let mut page = TaskPage::default();
        for order in self.orders() {
            let more = self.scan_changes(order, bad)?;
            page = merge_changes(self.filter, page, more);
        }
        page.total = self.total()?;
        Ok(page)
    }

    /// The orders that have what is wanted, each task in one of them.
    fn orders(self) -> Vec<Order> {
        let mark = |name, text: &str| self.hashes.mark(name, self.tenant, text);
        if let Some(context) = &self.filter.context_id {
            let mark = mark(Name::Context, context.as_str());
            return vec![Order { field: "context", name: "tasks_changed_by_context", mark }];
        }
        if let Some(agent) = &self.filter.agent {
            return self.orders_of(agent).to_vec();
        }
        vec![Order { field: "tenant", name: "tasks_changed", mark: mark(Name::Tenant, "") }]
    }

    /// The orders that have what an agent held or was sent.
    fn orders_of(self, agent: &AgentId) -> [Order; 2] {
        let mark = self.hashes.mark(Name::Agent, self.tenant, agent.as_str());
        [
            Order { field: "agent", name: "tasks_changed_by_agent", mark },
            Order { field: "sent_to", name: "tasks_changed_by_sent_to", mark },
        ]
    }

    fn scan_changes(self, order: Order, bad: &mut Vec<BadRow>) -> Result<TaskPage, Error> {
        const READ_TASK: &str = "SELECT head FROM tasks WHERE place = ?1";
        let TaskFilter { states, changed_since, changed_before, limit, .. } = self.filter;
        let Order { field, name, mark } = order;
        let is_there = has(self.connection, name)?;
        // Without the order all are sorted, and what is shown of them is read afterwards.
        let tells = !states.is_empty() || !is_there;
        let (by, head) = (
            if is_there { format!("INDEXED BY {name}") } else { "NOT INDEXED".to_owned() },
            if tells { "" } else { ", head" },
        );
        let scan = format!(
            "SELECT ended, id, place, state{head} FROM tasks {by}
             WHERE {field} = ?1 AND (ended, id) < (?2, ?3) AND ended >= ?4
             ORDER BY ended DESC, id DESC"
        );
        let limit = if *limit == 0 { DEFAULT } else { *limit } as usize;
        let before = changed_before.map_or((i64::MAX, [u8::MAX; 16]), |Change { at, task }| {
            (signed(at.0.min(i64::MAX as u64)), task.to_bytes())
        });
        let since = changed_since.map_or(0, |since| signed(since.0.min(i64::MAX as u64)));
        let mut scan = self.connection.prepare_cached(&scan)?;
        let mut read = self.connection.prepare_cached(READ_TASK)?;
        let mut rows = scan.query(params![mark, before.0, before.1, since])?;
        let (mut page, mut cost, mut bytes, mut last) = (TaskPage::default(), 0, 0, None);
        while let Some(row) = rows.next()? {
            if cost > COST || page.tasks.len() >= limit || bytes > BYTES {
                page.next_change = last;
                break;
            }
            let place: i64 = row.get(2)?;
            let wrong = || astray(TASKS.rows, Sequence(unsigned(place)));
            let id: Option<MessageId> = row.get(1).ok().and_then(MessageId::from_bytes);
            let (Some(id), Ok(state)) = (id, row.get::<_, u8>(3)) else { return Err(wrong()) };
            cost += 1;
            last = Some(Change { at: WallTime(unsigned(row.get(0)?)), task: id });
            let may_be = states.is_empty() || states.iter().any(|wanted| wanted.number() == state);
            if !may_be
                || place >= signed(self.before.0)
                || self.filter.before.is_some_and(|before| id >= before)
            {
                continue;
            }
            cost += READ;
            let sized = |row: &rusqlite::Row<'_>, column| {
                let task = tasks::head_of(row, place, column)?;
                Ok((task, row.get_ref(column)?.as_blob().map_or(0, <[u8]>::len)))
            };
            let found =
                if tells { read.query_row([place], |row| sized(row, 0)) } else { sized(row, 4) };
            let found = match found {
                Err(Error::QueryReturnedNoRows) => return Err(wrong()),
                found => sound(found, bad)?,
            };
            let Some((task, size)) = found else { continue };
            if Some(Change::of(&task.task)) != last {
                return Err(wrong());
            }
            if task.is_wanted(self.tenant, self.filter) {
                bytes += size;
                page.tasks.push(task.task);
            }
        }
        Ok(page)
    }

    /// How many tasks a filter fits; `None` for one by skill, root or time of acceptance.
    fn total(self) -> Result<Option<u64>, Error> {
        let TaskFilter { skill, root_id, since, until, before, .. } = self.filter;
        let TaskFilter { agent, context_id, except, .. } = self.filter;
        if skill.is_some() || root_id.is_some() || before.is_some() || since.or(*until).is_some() {
            return Ok(None);
        }
        let (mut all, mut out, mut twice) = (0, 0, 0);
        if context_id.is_some() || agent.as_ref().is_some_and(|agent| except.contains(agent)) {
            // A conversation has few tasks, and of what is left out as a whole there is nothing.
            for order in self.orders() {
                all += self.counted(order, true)?;
            }
        } else {
            all += match agent {
                Some(agent) => self.counted_of(agent)?,
                None => self.counted_of_all()?,
            };
            // A task is at two agents at most: the one that it was sent to, the one that had it.
            for (at, except) in except.iter().enumerate() {
                let Some(agent) = agent else {
                    out += self.counted_of(except)?;
                    for other in &self.filter.except[..at] {
                        twice += self.both(except, other)?;
                    }
                    continue;
                };
                out += self.both(agent, except)?;
            }
        }
        let all = (all + twice).saturating_sub(out);
        Ok(Some(all.saturating_sub(self.still_in_memory()?)))
    }

    /// How many of an agent's tasks are wanted, whatever else they are.
    fn counted_of(self, agent: &AgentId) -> Result<u64, Error> {
        let orders = self.orders_of(agent);
        if self.filter.changed_since.is_none()
            && let Some(kept) = kept(self.connection, orders[0].mark, &self.filter.states)?
        {
            return Ok(kept);
        }
        Ok(self.counted(orders[0], false)? + self.counted(orders[1], false)?)
    }

    /// How many of all tasks are wanted.
    fn counted_of_all(self) -> Result<u64, Error> {
        let TaskFilter { states, changed_since, .. } = self.filter;
        let order = Order {
            field: "tenant",
            name: "tasks_changed",
            mark: self.hashes.mark(Name::Tenant, self.tenant, ""),
        };
        if changed_since.is_some() {
            return self.counted(order, false);
        }
        let everything = Sequence(i64::MAX as u64);
        if states.is_empty() {
            let Counted { rows, .. } = TASKS.count(self.connection, order.mark, everything)?;
            return Ok(rows);
        }
        let mut all = 0;
        let mut others = 0;
        for (state, count) in tasks::not_completed(self.connection, order.mark, everything)? {
            others += count;
            let is_wanted = states.iter().any(|wanted| wanted.number() == state);
            all += if is_wanted { count } else { 0 };
        }
        if states.iter().any(|wanted| wanted.number() == tasks::COMPLETED) {
            let Counted { rows, .. } = TASKS.count(self.connection, order.mark, everything)?;
            all += rows.saturating_sub(others);
        }
        Ok(all)
    }

    /// How many entries of an order are wanted, counted one by one; if that is said, without those of
    /// the agents whose tasks are left out.
    fn counted(self, order: Order, without: bool) -> Result<u64, Error> {
        let TaskFilter { changed_since, except, .. } = self.filter;
        let Order { field, name, mark } = order;
        let by =
            if has(self.connection, name)? { format!("INDEXED BY {name}") } else { String::new() };
        let mut sql = format!(
            "SELECT count(*) FROM tasks {by} WHERE {field} = ?1 AND ended >= ?2{}",
            self.of_states()
        );
        let since = changed_since.map_or(0, |since| signed(since.0.min(i64::MAX as u64)));
        let mut values = vec![mark, since];
        for except in except.iter().filter(|_| without) {
            let place = values.len() + 1;
            // Writing to a text does not fail.
            _ = write!(sql, " AND agent IS NOT ?{place} AND sent_to IS NOT ?{place}");
            values.push(self.hashes.mark(Name::Agent, self.tenant, except.as_str()));
        }
        let mut count = self.connection.prepare_cached(&sql)?;
        count.query_row(params_from_iter(values), |row| row.get(0)).map(unsigned)
    }

    /// How many wanted tasks were sent to one of two agents and held by the other.
    fn both(self, one: &AgentId, other: &AgentId) -> Result<u64, Error> {
        let sql = format!(
            "SELECT count(*) FROM tasks INDEXED BY tasks_by_sent_to
             WHERE sent_to = ?1 AND agent = ?2 AND ended >= ?3{}",
            self.of_states()
        );
        let since =
            self.filter.changed_since.map_or(0, |since| signed(since.0.min(i64::MAX as u64)));
        let mark = |agent: &AgentId| self.hashes.mark(Name::Agent, self.tenant, agent.as_str());
        let (one, other) = (mark(one), mark(other));
        let mut both = self.connection.prepare_cached(&sql)?;
        let mut sum = 0;
        for values in [[one, other, since], [other, one, since]] {
            sum += both.query_row(values, |row| row.get(0).map(unsigned))?;
        }
        Ok(sum)
    }

    fn of_states(self) -> String {
        let states = &self.filter.states;
        if states.is_empty() {
            return String::new();
        }
        let numbers: Vec<_> = states.iter().map(|state| state.number().to_string()).collect();
        format!(" AND state IN ({})", numbers.join(", "))
    }

    /// How many wanted tasks are in memory as well, which are counted there. They are looked at one
    /// by one, for there are few.
    fn still_in_memory(self) -> Result<u64, Error> {
        const LATER: &str = "SELECT place, head FROM tasks NOT INDEXED WHERE place >= ?1";
        let mut later = self.connection.prepare_cached(LATER)?;
        let mut rows = later.query([signed(self.before.0.min(i64::MAX as u64))])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let task = sound(tasks::head(row), &mut Vec::new())?;
            let is_wanted = task.is_some_and(|task| task.is_wanted(self.tenant, self.filter));
            count += u64::from(is_wanted);
        }
        Ok(count)
    }
}

/// Whether something is in the file.
pub(super) fn has(connection: &Connection, name: &str) -> Result<bool, Error> {
    connection.prepare_cached("SELECT 1 FROM sqlite_master WHERE name = ?1")?.exists([name])
}

/// Whether all that such lists need is in the file.
pub(super) fn has_all(connection: &Connection) -> Result<bool, Error> {
    PARTS.iter().try_fold(true, |all, (name, _)| Ok(all && has(connection, name)?))
}

/// How many tasks in some states are counted for an agent. `None` if that is not there or does not
/// fit its checksum.
fn kept(connection: &Connection, mark: i64, states: &[TaskState]) -> Result<Option<u64>, Error> {
    const KEPT: &str = "SELECT mark, state, tasks, sum FROM task_counts WHERE mark = ?1";
    if !has(connection, COUNTS)? {
        return Ok(None);
    }
    let mut kept = connection.prepare_cached(KEPT)?;
    let mut rows = kept.query([mark])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let Some(((_, state), tasks)) = count_of(row) else { return Ok(None) };
        let is_wanted = |wanted: &TaskState| i64::from(wanted.number()) == state;
        if states.is_empty() || states.iter().any(is_wanted) {
            count += unsigned(tasks);
        }
    }
    Ok(Some(count))
}

/// Whether all that is counted for agents fits its checksums.
pub(super) fn counts_are_sound(connection: &Connection) -> Result<bool, Error> {
    Ok(!has(connection, COUNTS)? || counts(connection)?.is_some())
}

/// Whether it is what the rows say.
pub(super) fn counts_fit(connection: &Connection) -> Result<bool, Error> {
    Ok(!has(connection, COUNTS)? || counts(connection)? == Some(Table::of_agents(connection)?))
}

/// All that is counted for agents. `None` if something of it does not fit its checksum.
fn counts(connection: &Connection) -> Result<Option<Agents>, Error> {
    let mut all = connection.prepare("SELECT mark, state, tasks, sum FROM task_counts")?;
    all.query_map([], |row| Ok(count_of(row)))?.collect()
}

/// Adds what is missing in a file for such lists, one part at a time: each takes as long as there are
/// tasks. Whether one was added.
pub(super) fn add_part(connection: &Connection) -> Result<bool, Error> {
    for (name, make) in PARTS {
        if has(connection, name)? {
            continue;
        }
        connection.execute_batch(make)?;
        if name == COUNTS {
            Table::count_agents(connection)?;
        }
        return Ok(true);
    }
    Ok(false)
}

/// How many tasks of an agent are in a state, if that fits its checksum.
pub(super) fn count_of(row: &rusqlite::Row<'_>) -> Option<((i64, i64), i64)> {
    let (mark, state, tasks) = (row.get(0).ok()?, row.get(1).ok()?, row.get(2).ok()?);
    let fits = row.get(3) == Ok(crate::index::table::checksum(mark, state, tasks));
    fits.then_some(((mark, state), tasks))
}
