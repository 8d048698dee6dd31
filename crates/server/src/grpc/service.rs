//! The broker's service: each call decodes, asks the broker and encodes its answer.

use super::caller::caller;
use super::deadline::{time_left, within};
use super::repeat::reply_to_first;
use super::watch::WatchStream;
use super::watch_agents::{FollowedAgents, watch_agents};
use super::watch_task::{FollowedTask, watch_task};
use crate::hub::Hub;
use crate::proxy::check_tenant;
use crate::push::hide;
use crate::session::{
    self, CallSession, Ended, More, Requested, SessionStream, check_operation, check_publish,
};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use trunkline_proto::status::from_refusal;
use trunkline_proto::v1::broker_server::Broker;
use trunkline_proto::{DecodeError, v1};
use trunkline_types::session::{Accepted, Operation, Redrive};
use trunkline_types::{
    A2aAgentSettings, AgentFilter, AgentId, Answer, ContextId, DeadLetterFilter, InboxAddress,
    MessageId, Publish, Query, Refusal, RefusalCode, ScheduleFilter, TaskFilter,
};

/// The service of one server.
pub(crate) struct BrokerService {
    hub: Arc<Hub>,
}

type Answered<T> = Result<Response<T>, Status>;

impl BrokerService {
    /// The service in front of the broker of `hub`.
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Asks the broker something for the caller.
    async fn ask<T>(
        &self,
        request: Request<T>,
        question: impl FnOnce(T) -> Result<Query, DecodeError>,
    ) -> Result<Answer, Status> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let query = question(request.into_inner()).map_err(invalid)?;
        let connector = self.hub.connector(principal).map_err(refused)?;
        let asked = async { connector.query(query).await.map_err(refused) };
        let mut answer = within(time_left, asked).await?;
        hide(&mut answer);
        Ok(answer)
    }

    /// Does something in the session of the caller's unary calls.
    async fn call<T, R>(
        &self,
        request: Request<T>,
        decode: impl FnOnce(T) -> Result<R, DecodeError>,
        work: impl AsyncFnOnce(&CallSession, R) -> Result<Accepted, Refusal>,
    ) -> Result<Accepted, Status> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let wanted = decode(request.into_inner()).map_err(invalid)?;
        let done = async {
            let session = self.hub.calls(principal).await?;
            work(session.get()?, wanted).await
        };
        within(time_left, async { done.await.map_err(refused) }).await
    }

    /// Has an operation done for the caller.
    async fn done<T>(
        &self,
        request: Request<T>,
        decode: impl FnOnce(T) -> Result<Operation, DecodeError>,
    ) -> Result<More, Status> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let operation = decode(request.into_inner()).map_err(invalid)?;
        let done = async {
            let connector = self.hub.connector(principal.clone())?;
            check_operation(connector.as_ref(), &operation).await?;
            let session = self.hub.calls(principal).await?;
            session.get()?.operate(operation).await
        };
        within(time_left, async { done.await.map_err(refused) }).await
    }

    /// Has an operation done for the caller of which there is no more to say.
    async fn operate<T>(
        &self,
        request: Request<T>,
        decode: impl FnOnce(T) -> Result<Operation, DecodeError>,
    ) -> Answered<v1::Nothing> {
        self.done(request, decode).await?;
        Ok(Response::new(v1::Nothing {}))
    }

    /// Has a request carried for the caller and waits for its end.
    async fn ended<T>(
        &self,
        request: Request<T>,
        decode: impl FnOnce(T) -> Result<Arc<Publish>, DecodeError>,
        gathers: bool,
    ) -> Result<Ended, Status> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let publish = decode(request.into_inner()).map_err(invalid)?;
        check_publish(&publish).map_err(refused)?;
        if publish.options.gather.is_some() != gathers {
            let message = "the options say that answers of several agents are gathered; that is \
                           what the call Gather does";
            return Err(refused(Refusal::new(RefusalCode::Invalid, message)));
        }
        let ended = async {
            let session = self.hub.calls(principal.clone()).await?;
            match session.get()?.request(publish).await? {
                Requested::Ended(end) => Ok(end),
                Requested::Repeat(first) if gathers => Err(Refusal::new(
                    RefusalCode::KeyReused,
                    format!(
                        "request {first} had the idempotency key before; what it gathered went to \
                         its sender"
                    ),
                )),
                Requested::Repeat(first) => {
                    let connector = self.hub.connector(principal)?;
                    reply_to_first(&self.hub, connector.as_ref(), first).await.map(Ended::Reply)
                }
            }
        };
        within(time_left, async { ended.await.map_err(refused) }).await
    }
}

#[tonic::async_trait]
impl Broker for BrokerService {
    type ConnectStream = SessionStream<Streaming<v1::ClientFrame>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ClientFrame>>,
    ) -> Answered<Self::ConnectStream> {
        let principal = caller(request.metadata()).map_err(refused)?;
        let mut inbound = request.into_inner();
        let opened = session::open(&self.hub, principal, &mut inbound).await?;
        Ok(Response::new(opened.stream(inbound, false)))
    }

    async fn send(&self, request: Request<v1::SendRequest>) -> Answered<v1::SendResponse> {
        let decode = |sent: v1::SendRequest| sent.into_publish(|| self.hub.ids.message());
        let work = async |session: &CallSession, publish: Arc<Publish>| {
            check_publish(&publish)?;
            session.publish(publish).await
        };
        Ok(Response::new(self.call(request, decode, work).await?.into()))
    }

    async fn request(&self, request: Request<v1::RequestRequest>) -> Answered<v1::Reply> {
        let decode = |asked: v1::RequestRequest| asked.into_publish(|| self.hub.ids.message());
        match self.ended(request, decode, false).await? {
            Ended::Reply(reply) => Ok(Response::new(reply.into())),
            Ended::Gathered(_) => Err(mismatch()),
        }
    }

    async fn gather(&self, request: Request<v1::GatherRequest>) -> Answered<v1::Gathered> {
        let decode = |asked: v1::GatherRequest| asked.into_publish(|| self.hub.ids.message());
        match self.ended(request, decode, true).await? {
            Ended::Gathered(gathered) => Ok(Response::new(gathered.into())),
            Ended::Reply(_) => Err(mismatch()),
        }
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Answered<v1::MessageStatus> {
        let question = |request| MessageId::try_from(request).map(Query::Message);
        match self.ask::<v1::GetMessageRequest>(request, question).await? {
            Answer::Message(status) => Ok(Response::new((*status).into())),
            _ => Err(mismatch()),
        }
    }

    async fn cancel(&self, request: Request<v1::Cancel>) -> Answered<v1::CancelResponse> {
        let messages = match self.done(request, Operation::try_from).await? {
            More::Canceled(messages) => Some(messages),
            More::Nothing | More::Accepted(_) => None,
        };
        Ok(Response::new(v1::CancelResponse { messages }))
    }

    async fn get_task(&self, request: Request<v1::GetTaskRequest>) -> Answered<v1::TaskSnapshot> {
        let question = |request| {
            let (id, history_length) = <(MessageId, Option<u32>)>::try_from(request)?;
            Ok(Query::Task { id, history_length })
        };
        match self.ask::<v1::GetTaskRequest>(request, question).await? {
            Answer::Task(task) => Ok(Response::new((*task).into())),
            _ => Err(mismatch()),
        }
    }

    async fn get_context(
        &self,
        request: Request<v1::GetContextRequest>,
    ) -> Answered<v1::ContextSnapshot> {
        let question = |request| {
            let (id, history_length) = <(ContextId, Option<u32>)>::try_from(request)?;
            Ok(Query::Context { id, history_length })
        };
        match self.ask::<v1::GetContextRequest>(request, question).await? {
            Answer::Context(context) => Ok(Response::new((*context).into())),
            _ => Err(mismatch()),
        }
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answered<v1::ListTasksResponse> {
        match self.ask(request, |request| TaskFilter::try_from(request).map(Query::Tasks)).await? {
            Answer::Tasks(page) => Ok(Response::new(page.into())),
            _ => Err(mismatch()),
        }
    }

    type WatchTaskStream = WatchStream<FollowedTask>;

    async fn watch_task(
        &self,
        request: Request<v1::WatchTaskRequest>,
    ) -> Answered<Self::WatchTaskStream> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let wanted = <(MessageId, u64)>::try_from(request.into_inner()).map_err(invalid)?;
        let connector = self.hub.connector(principal).map_err(refused)?;
        let watched = watch_task(&self.hub, connector.as_ref(), wanted, time_left).await;
        watched.map(Response::new).map_err(refused)
    }

    async fn continue_task(
        &self,
        request: Request<v1::ContinueTaskRequest>,
    ) -> Answered<v1::Nothing> {
        self.operate(request, Operation::try_from).await
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Answered<v1::ListAgentsResponse> {
        match self.ask(request, |request| AgentFilter::try_from(request).map(Query::Agents)).await?
        {
            Answer::Agents(page) => Ok(Response::new(page.into())),
            _ => Err(mismatch()),
        }
    }

    type WatchAgentsStream = WatchStream<FollowedAgents>;

    async fn watch_agents(
        &self,
        request: Request<v1::WatchAgents>,
    ) -> Answered<Self::WatchAgentsStream> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let filter = AgentFilter::try_from(request.into_inner()).map_err(invalid)?;
        let connector = self.hub.connector(principal).map_err(refused)?;
        let watched = watch_agents(&self.hub, connector.as_ref(), filter, time_left).await;
        watched.map(Response::new).map_err(refused)
    }

    async fn set_agent(&self, request: Request<v1::SetAgent>) -> Answered<v1::Nothing> {
        self.operate(request, Operation::try_from).await
    }

    async fn unregister(&self, request: Request<v1::Unregister>) -> Answered<v1::Nothing> {
        self.operate(request, Operation::try_from).await
    }

    async fn add_a2a_agent(
        &self,
        request: Request<v1::AddA2aAgentRequest>,
    ) -> Answered<v1::A2aAgent> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        check_tenant(&principal).map_err(refused)?;
        let settings = A2aAgentSettings::try_from(request.into_inner()).map_err(invalid)?;
        let hub = self.hub.clone();
        // Begun is done: who stops waiting does not leave half an agent behind.
        let adding = tokio::spawn(async move { hub.proxies.add(&hub, settings).await });
        let added = async {
            adding.await.map_err(|error| Status::internal(error.to_string()))?.map_err(refused)
        };
        within(time_left, added).await.map(|agent| Response::new(agent.into()))
    }

    async fn list_a2a_agents(
        &self,
        request: Request<v1::ListA2aAgentsRequest>,
    ) -> Answered<v1::ListA2aAgentsResponse> {
        let principal = caller(request.metadata()).map_err(refused)?;
        check_tenant(&principal).map_err(refused)?;
        Ok(Response::new(self.hub.proxies.list().into()))
    }

    async fn remove_a2a_agent(
        &self,
        request: Request<v1::RemoveA2aAgentRequest>,
    ) -> Answered<v1::Nothing> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        check_tenant(&principal).map_err(refused)?;
        let id = AgentId::try_from(request.into_inner()).map_err(invalid)?;
        let hub = self.hub.clone();
        let removing = tokio::spawn(async move { hub.proxies.remove(&hub, &id).await });
        let removed = async {
            removing.await.map_err(|error| Status::internal(error.to_string()))?.map_err(refused)
        };
        within(time_left, removed).await?;
        Ok(Response::new(v1::Nothing {}))
    }

    async fn get_inbox(&self, request: Request<v1::GetInboxRequest>) -> Answered<v1::InboxInfo> {
        let question = |request| InboxAddress::try_from(request).map(Query::Inbox);
        match self.ask::<v1::GetInboxRequest>(request, question).await? {
            Answer::Inbox(info) => Ok(Response::new((*info).into())),
            _ => Err(mismatch()),
        }
    }

    async fn set_inbox(&self, request: Request<v1::SetInbox>) -> Answered<v1::Nothing> {
        self.operate(request, Operation::try_from).await
    }

    async fn set_schedule(&self, request: Request<v1::Schedule>) -> Answered<v1::Nothing> {
        let decode = |schedule: v1::Schedule| {
            let schedule = schedule.into_schedule(|| self.hub.ids.message())?;
            Ok(Operation::SetSchedule(Box::new(schedule)))
        };
        self.operate(request, decode).await
    }

    async fn remove_schedule(&self, request: Request<v1::RemoveSchedule>) -> Answered<v1::Nothing> {
        self.operate(request, Operation::try_from).await
    }

    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Answered<v1::ListSchedulesResponse> {
        let question = |request| ScheduleFilter::try_from(request).map(Query::Schedules);
        match self.ask::<v1::ListSchedulesRequest>(request, question).await? {
            Answer::Schedules(page) => Ok(Response::new(page.into())),
            _ => Err(mismatch()),
        }
    }

    async fn get_stats(&self, request: Request<v1::GetStatsRequest>) -> Answered<v1::Stats> {
        match self.ask(request, |v1::GetStatsRequest {}| Ok(Query::Stats)).await? {
            Answer::Stats(stats) => Ok(Response::new((*stats).into())),
            _ => Err(mismatch()),
        }
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Answered<v1::ListDeadLettersResponse> {
        match self
            .ask(request, |request| DeadLetterFilter::try_from(request).map(Query::DeadLetters))
            .await?
        {
            Answer::DeadLetters(page) => Ok(Response::new(page.into())),
            _ => Err(mismatch()),
        }
    }

    async fn redrive(&self, request: Request<v1::Redrive>) -> Answered<v1::SendResponse> {
        let decode = |redrive: v1::Redrive| redrive.into_redrive(|| self.hub.ids.message());
        let principal = caller(request.metadata()).map_err(refused)?;
        let work = async |session: &CallSession, redrive: Redrive| {
            let connector = self.hub.connector(principal)?;
            let operation = Operation::Redrive(Box::new(redrive.clone()));
            check_operation(connector.as_ref(), &operation).await?;
            session.redrive(redrive).await
        };
        Ok(Response::new(self.call(request, decode, work).await?.into()))
    }

    async fn purge(&self, request: Request<v1::LetterAddress>) -> Answered<v1::Nothing> {
        self.operate(request, |letter| letter.try_into().map(Operation::Purge)).await
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used where errors are mapped")]
fn refused(refusal: Refusal) -> Status {
    from_refusal(&refusal)
}

fn invalid(error: DecodeError) -> Status {
    from_refusal(&error.into())
}

/// An answer to another question than the one asked would be a defect of the broker.
fn mismatch() -> Status {
    Status::internal("the broker's answer does not fit the question")
}
