//! Questions about many tasks: the engine answers for those in memory, and the index for those that
//! have left it, outside of the engine's turn.

use crate::index::Lists;
use std::sync::Arc;
use trunkline_engine::{merge_context, merge_tasks};
use trunkline_types::{
    Answer, ContextId, ContextSnapshot, Query, Refusal, RefusalCode, Sequence, TaskFilter, TenantId,
};

/// How many tasks of a conversation are looked at, as its snapshot's docs say.
const TASKS: usize = 1000;

/// A question that the index must be asked too.
#[derive(Debug)]
pub(crate) struct Listing {
    lists: Arc<Lists>,
    question: Question,
}

#[derive(Debug)]
enum Question {
    Tasks(TaskFilter),
    Context(ContextId, Option<u32>),
}

impl Listing {
    /// What is to be asked of the index for a question, if anything.
    pub(crate) fn of(lists: Arc<Lists>, query: &Query) -> Option<Self> {
        let question = match query {
            Query::Tasks(filter) => Question::Tasks(filter.clone()),
            Query::Context { id, history_length } => Question::Context(id.clone(), *history_length),
            _ => return None,
        };
        Some(Self { lists, question })
    }

    /// Completes the engine's answer with the tasks of records before a place. What ends meanwhile
    /// ended at or behind it, so that the answer is of the one moment at which the engine gave it.
    pub(crate) async fn complete(
        self,
        tenant: TenantId,
        known: Result<Answer, Refusal>,
        ended_from: Sequence,
    ) -> Result<Answer, Refusal> {
        // It waits for the disk.
        let read = move || self.read(&tenant, known, ended_from);
        let done = tokio::task::spawn_blocking(read).await;
        done.unwrap_or_else(|error| {
            let message = format!("tasks that ended cannot be listed: {error}");
            Err(Refusal::new(RefusalCode::Unavailable, message))
        })
    }

    fn read(
        self,
        tenant: &TenantId,
        known: Result<Answer, Refusal>,
        ended_from: Sequence,
    ) -> Result<Answer, Refusal> {
        match (self.question, known) {
            (Question::Tasks(filter), Ok(Answer::Tasks(page))) => {
                let past = self.lists.tasks(tenant, &filter, ended_from)?;
                Ok(Answer::Tasks(merge_tasks(&filter, page, past)))
            }
            (Question::Context(id, length), Ok(Answer::Context(known))) => {
                let past = (&*self.lists, tenant, ended_from);
                context(past, &id, Ok(*known), length)
            }
            (Question::Context(id, length), Err(refusal))
                if refusal.code == RefusalCode::NotFound =>
            {
                context((&*self.lists, tenant, ended_from), &id, Err(refusal), length)
            }
            (_, known) => known,
        }
    }
}

fn context(
    (lists, tenant, before): (&Lists, &TenantId, Sequence),
    id: &ContextId,
    known: Result<ContextSnapshot, Refusal>,
    length: Option<u32>,
) -> Result<Answer, Refusal> {
    let tasks = known.as_ref().map_or(0, |known| known.tasks);
    let most = TASKS.saturating_sub(usize::try_from(tasks).unwrap_or(TASKS));
    let (past, more) = lists.context(tenant, id, before, most, length != Some(0))?;
    let merged = merge_context(id, known, &past, more, length)?;
    Ok(Answer::Context(Box::new(merged)))
}
