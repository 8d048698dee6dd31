//! What a session asks a broker and has it do, besides sending.

use crate::outgoing::{Origin, look_up};
use crate::{RedriveBuilder, Reply, RequestError, Session};
use trunkline_content::ContentError;
use trunkline_types::session::{CANCELED_AT_ONCE, Connector, LetterAddress, Operation};
use trunkline_types::{
    AgentChange, AgentFilter, AgentId, AgentPage, Answer, ContextId, ContextSnapshot,
    DeadLetterFilter, DeadLetterPage, InboxAddress, InboxChange, InboxInfo, MessageId,
    MessageStatus, Payload, Query, Refusal, RefusalCode, Schedule, ScheduleFilter, ScheduleName,
    SchedulePage, Stats, TaskFilter, TaskPage, TaskSnapshot,
};

impl Session {
    /// Calls a message off, whatever its kind: every copy that has not ended. Whoever works on
    /// one is told.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such message, or it has ended.
    pub async fn cancel(&self, id: MessageId, reason: impl Into<String>) -> Result<(), Refusal> {
        let reason = reason.into();
        self.core().ask(Operation::Cancel { id, reason, descendants: false }).await
    }

    /// Calls a message off like [`Session::cancel`], and with it every task that was made while
    /// it, or a descendant of it, was handled; see [`Operation::Cancel`]. That the message itself
    /// has ended is in the way only if none of them goes on. Returns how many messages were called
    /// off: fewer than that if the connection broke meanwhile, for what was done before is not
    /// counted again.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such message, or it has ended and so has all that it
    /// led to.
    pub async fn cancel_with_descendants(
        &self,
        id: MessageId,
        reason: impl Into<String>,
    ) -> Result<u64, Refusal> {
        let (reason, mut messages) = (reason.into(), 0);
        loop {
            let reason = reason.clone();
            let cancel = Operation::Cancel { id, reason, descendants: true };
            match self.core().count(cancel).await {
                Ok(more) => {
                    messages += u64::from(more);
                    if more < CANCELED_AT_ONCE {
                        return Ok(messages);
                    }
                }
                // The rest has ended by itself.
                Err(refusal) if messages > 0 && refusal.code == RefusalCode::WrongState => {
                    return Ok(messages);
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Waits for the result of a task that was sent earlier, by whomever, and that has ended or
    /// will. Over a lost connection it goes on with the next.
    ///
    /// # Errors
    /// The broker's refusal, such as that there is no such task, or how the task ended without an
    /// answer.
    pub async fn wait(&self, task: MessageId) -> Result<Reply, RequestError> {
        snapshot(&*self.connector, task).await?;
        look_up(&Origin::Session(self.clone()), task).await
    }

    /// Answers what a paused task waits for.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such task, or it waits for nothing.
    pub async fn continue_task(
        &self,
        task: MessageId,
        payload: impl Into<Payload>,
    ) -> Result<(), Refusal> {
        self.core().ask(Operation::Continue { task, payload: payload.into() }).await
    }

    /// Changes what is set about an agent: its weight, its health, whether it drains.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such agent, or the weight is out of range.
    pub async fn set_agent(&self, agent: AgentId, change: AgentChange) -> Result<(), Refusal> {
        self.core().ask(Operation::SetAgent { agent, change }).await
    }

    /// Takes an agent out of the directory: its sessions end, its subscriptions go, what waits
    /// in its own inbox is parked.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such agent, or it is another principal's.
    pub async fn unregister(&self, agent: AgentId) -> Result<(), Refusal> {
        self.core().ask(Operation::Unregister { agent }).await
    }

    /// Changes how an inbox is run.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that a setting is out of range.
    pub async fn set_inbox(&self, inbox: InboxAddress, change: InboxChange) -> Result<(), Refusal> {
        self.core().ask(Operation::SetInbox { inbox, change: Box::new(change) }).await
    }

    /// Has something published whenever it is due, in place of a schedule of the same name.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as a cron expression that never fires.
    pub async fn set_schedule(&self, schedule: Schedule) -> Result<(), Refusal> {
        self.core().ask(Operation::SetSchedule(Box::new(schedule))).await
    }

    /// Has a schedule forgotten.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that there is none of this name.
    pub async fn remove_schedule(&self, name: ScheduleName) -> Result<(), Refusal> {
        self.core().ask(Operation::RemoveSchedule { name }).await
    }

    /// Sends a dead letter again, edited or not. Awaiting the builder gives the id of the new
    /// message.
    pub fn redrive(&self, letter: impl Into<LetterAddress>) -> RedriveBuilder {
        RedriveBuilder::new(self.clone(), letter.into())
    }

    /// Deletes a dead letter.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: it is gone, or there are several and the inbox is not named.
    pub async fn purge(&self, letter: impl Into<LetterAddress>) -> Result<(), Refusal> {
        self.core().ask(Operation::Purge(letter.into())).await
    }

    /// Asks the broker something.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn query(&self, query: Query) -> Result<Answer, Refusal> {
        self.connector.query(query).await
    }

    /// A message of any kind as it stands.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that it knows no such message.
    pub async fn message(&self, id: MessageId) -> Result<MessageStatus, Refusal> {
        match self.query(Query::Message(id)).await? {
            Answer::Message(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// A task as it stands.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that there is no such task, or that its result is more
    /// than [`SessionOptions::max_decompressed`](crate::SessionOptions::max_decompressed).
    pub async fn task(&self, id: MessageId) -> Result<TaskSnapshot, Refusal> {
        let mut task = snapshot(&*self.connector, id).await?;
        self.unpack(task.result.as_mut())?;
        Ok(task)
    }

    /// A task as it stands with its latest messages: at most `history_length`, as many as are kept
    /// for `None`. See [`TaskSnapshot::history`].
    ///
    /// # Errors
    /// As of [`Session::task`].
    pub async fn task_with_history(
        &self,
        id: MessageId,
        history_length: Option<u32>,
    ) -> Result<TaskSnapshot, Refusal> {
        let mut task = match self.query(Query::Task { id, history_length }).await? {
            Answer::Task(task) => *task,
            other => return Err(unexpected(&other)),
        };
        self.unpack(task.result.as_mut())?;
        self.unpack(task.history.messages.iter_mut().map(|message| &mut message.payload))?;
        Ok(task)
    }

    /// A conversation as it stands with the latest messages of its tasks: at most
    /// `history_length`, as many as are kept for `None`.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that no task of it is kept, or that a message is more than
    /// [`SessionOptions::max_decompressed`](crate::SessionOptions::max_decompressed).
    pub async fn context(
        &self,
        id: ContextId,
        history_length: Option<u32>,
    ) -> Result<ContextSnapshot, Refusal> {
        let mut context = match self.query(Query::Context { id, history_length }).await? {
            Answer::Context(context) => *context,
            other => return Err(unexpected(&other)),
        };
        self.unpack(context.history.messages.iter_mut().map(|message| &mut message.payload))?;
        Ok(context)
    }

    fn unpack<'a>(
        &self,
        payloads: impl IntoIterator<Item = &'a mut Payload>,
    ) -> Result<(), Refusal> {
        let mut payloads = payloads.into_iter();
        payloads.try_for_each(|payload| {
            self.core().content.unpack(payload).map_err(|error| unreadable(&error))
        })
    }

    /// Tasks, newest first, with their results as they were sent.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, Refusal> {
        match self.query(Query::Tasks(filter)).await? {
            Answer::Tasks(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Agents in order of their ids.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn agents(&self, filter: AgentFilter) -> Result<AgentPage, Refusal> {
        match self.query(Query::Agents(filter)).await? {
            Answer::Agents(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// An inbox as it stands.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that there is no such inbox.
    pub async fn inbox(&self, inbox: InboxAddress) -> Result<InboxInfo, Refusal> {
        match self.query(Query::Inbox(inbox)).await? {
            Answer::Inbox(info) => Ok(*info),
            other => Err(unexpected(&other)),
        }
    }

    /// Schedules in order of their names.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn schedules(&self, filter: ScheduleFilter) -> Result<SchedulePage, Refusal> {
        match self.query(Query::Schedules(filter)).await? {
            Answer::Schedules(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Dead letters, newest first.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn dead_letters(&self, filter: DeadLetterFilter) -> Result<DeadLetterPage, Refusal> {
        match self.query(Query::DeadLetters(filter)).await? {
            Answer::DeadLetters(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// The broker's figures.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn stats(&self) -> Result<Stats, Refusal> {
        match self.query(Query::Stats).await? {
            Answer::Stats(stats) => Ok(*stats),
            other => Err(unexpected(&other)),
        }
    }
}

pub(crate) async fn snapshot(
    connector: &dyn Connector,
    id: MessageId,
) -> Result<TaskSnapshot, Refusal> {
    match connector.query(Query::task(id)).await? {
        Answer::Task(task) => Ok(*task),
        other => Err(unexpected(&other)),
    }
}

/// The refusal to hand over something that cannot be decompressed.
pub(crate) fn unreadable(error: &ContentError) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, error.to_string())
}

fn unexpected(answer: &Answer) -> Refusal {
    let what = match answer {
        Answer::Task(_) => "one task",
        Answer::Context(_) => "one conversation",
        Answer::Tasks(_) => "tasks",
        Answer::Agents(_) => "agents",
        Answer::DeadLetters(_) => "dead letters",
        Answer::Message(_) => "one message",
        Answer::Inbox(_) => "one inbox",
        Answer::Schedules(_) => "schedules",
        Answer::Stats(_) => "figures",
    };
    Refusal::new(RefusalCode::Unavailable, format!("the broker answered another question: {what}"))
}
