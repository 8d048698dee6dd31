//! Questions about many tasks or dead letters: the engine answers for those in memory, and the index
//! for those that have left it, outside of the engine's turn.

use crate::index::Lists;
use std::sync::Arc;
use trunkline_engine::{InMemory, merge_changes, merge_context, merge_letters, merge_tasks};
use trunkline_types::{
    Answer, ContextId, ContextSnapshot, DeadLetterFilter, Query, Refusal, RefusalCode, Sequence,
    TaskFilter, TenantId,
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
    Letters(DeadLetterFilter),
}

impl Listing {
    /// What is to be asked of the index for a question, if anything.
    pub(crate) fn of(lists: Arc<Lists>, query: &Query) -> Option<Self> {
        let question = match query {
            Query::Tasks(filter) => Question::Tasks(filter.clone()),
            Query::Context { id, history_length } => Question::Context(id.clone(), *history_length),
            Query::DeadLetters(filter) => Question::Letters(filter.clone()),
            _ => return None,
        };
        Some(Self { lists, question })
    }

    /// Completes the engine's answer with what had left memory then. What ends meanwhile ends behind
    /// that, so that the answer is of the one moment at which the engine gave it.
    pub(crate) async fn complete(
        self,
        tenant: TenantId,
        answer: Result<Answer, Refusal>,
        known: Box<InMemory>,
    ) -> Result<Answer, Refusal> {
        // It waits for the disk.
        let read = move || self.read(&tenant, answer, &known);
        let done = tokio::task::spawn_blocking(read).await;
        done.unwrap_or_else(|error| {
            let message = format!("what has left memory cannot be listed: {error}");
            Err(Refusal::new(RefusalCode::Unavailable, message))
        })
    }

    fn read(
        self,
        tenant: &TenantId,
        answer: Result<Answer, Refusal>,
        known: &InMemory,
    ) -> Result<Answer, Refusal> {
        let (lists, from) = (&*self.lists, known.tasks_from);
        match (self.question, answer) {
            (Question::Tasks(filter), Ok(Answer::Tasks(page))) => {
                let past = lists.tasks(tenant, &filter, from)?;
                let merge = if filter.by_change { merge_changes } else { merge_tasks };
                Ok(Answer::Tasks(merge(&filter, page, past)))
            }
            (Question::Context(id, length), Ok(Answer::Context(context))) => {
                self::context((lists, tenant, from), &id, Ok(*context), length)
            }
            (Question::Context(id, length), Err(refusal))
                if refusal.code == RefusalCode::NotFound =>
            {
                context((lists, tenant, from), &id, Err(refusal), length)
            }
            (Question::Letters(filter), Ok(Answer::DeadLetters(page))) => {
                let past = lists.letters(tenant, &filter, known)?;
                Ok(Answer::DeadLetters(merge_letters(&filter, page, known, past)))
            }
            (_, answer) => answer,
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
