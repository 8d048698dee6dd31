//! The service of a broker that says what a test tells it to.

use crate::broker::{Conversation, Script};
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use trunkline_proto::v1::broker_server::Broker;
use trunkline_proto::{metadata, v1};
use trunkline_types::session::Hello;
use trunkline_types::{
    Counters, Gauges, InboxAddress, InboxEffective, InboxInfo, InboxSettings, InboxStats,
    MessageId, MessageStatus, ScheduleFilter, SchedulePage,
};

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// See the module.
pub(crate) struct Service {
    pub(crate) sender: UnboundedSender<Conversation>,
    pub(crate) script: Arc<Script>,
}

impl Service {
    fn note<T>(&self, request: &Request<T>) {
        let principal = request.metadata().get(metadata::PRINCIPAL);
        let principal = principal.map(|value| value.to_str().unwrap().to_owned());
        self.script.principals.lock().push(principal);
        let tenant = request.metadata().get(metadata::TENANT);
        self.script.tenants.lock().push(tenant.map(|value| value.to_str().unwrap().to_owned()));
    }
}

#[tonic::async_trait]
impl Broker for Service {
    type ConnectStream = Stream_<v1::ServerFrame>;
    type WatchTaskStream = Stream_<v1::TaskUpdate>;
    type WatchAgentsStream = Stream_<v1::AgentNews>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ClientFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        self.note(&request);
        let mut frames = request.into_inner();
        let hello = frames.message().await?.expect("a hello");
        let hello = Hello::try_from(hello).expect("the first frame is a hello");
        let (says, said) = mpsc::unbounded_channel();
        let _ = self.sender.send(Conversation { hello, frames, says });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(said))))
    }

    async fn send(
        &self,
        _: Request<v1::SendRequest>,
    ) -> Result<Response<v1::SendResponse>, Status> {
        no_part()
    }

    async fn request(&self, _: Request<v1::RequestRequest>) -> Result<Response<v1::Reply>, Status> {
        no_part()
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::TaskSnapshot>, Status> {
        self.note(&request);
        let (id, _) = <(MessageId, Option<u32>)>::try_from(request.into_inner()).unwrap();
        let mut tasks = self.script.tasks.lock();
        let answers = tasks.get_mut(&id).ok_or_else(|| {
            let message = format!("task {id} is unknown");
            let code = trunkline_types::RefusalCode::NotFound;
            trunkline_proto::status::from_refusal(&trunkline_types::Refusal::new(code, message))
        })?;
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.unwrap().map(Response::new)
    }

    async fn get_context(
        &self,
        request: Request<v1::GetContextRequest>,
    ) -> Result<Response<v1::ContextSnapshot>, Status> {
        let v1::GetContextRequest { id, history_length } = request.into_inner();
        let tasks = history_length.map_or(0, u64::from);
        Ok(Response::new(v1::ContextSnapshot { id, tasks, ..v1::ContextSnapshot::default() }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.note(&request);
        let filter = trunkline_types::TaskFilter::try_from(request.into_inner()).unwrap();
        let page = trunkline_types::TaskPage {
            tasks: Vec::new(),
            next: filter.before,
            ..Default::default()
        };
        Ok(Response::new(page.into()))
    }

    async fn watch_task(
        &self,
        request: Request<v1::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let watched = <(MessageId, u64)>::try_from(request.into_inner()).unwrap();
        self.script.watched.lock().push(watched);
        Ok(Response::new(Box::pin(futures_util::stream::empty())))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::MessageStatus>, Status> {
        let id = MessageId::try_from(request.into_inner()).unwrap();
        Ok(Response::new(message(id).into()))
    }

    async fn get_inbox(
        &self,
        request: Request<v1::GetInboxRequest>,
    ) -> Result<Response<v1::InboxInfo>, Status> {
        let address = InboxAddress::try_from(request.into_inner()).unwrap();
        Ok(Response::new(inbox(address).into()))
    }

    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Result<Response<v1::ListSchedulesResponse>, Status> {
        let filter = ScheduleFilter::try_from(request.into_inner()).unwrap();
        Ok(Response::new(SchedulePage { schedules: Vec::new(), next: filter.after }.into()))
    }

    async fn gather(
        &self,
        _: Request<v1::GatherRequest>,
    ) -> Result<Response<v1::Gathered>, Status> {
        no_part()
    }

    async fn cancel(&self, _: Request<v1::Cancel>) -> Result<Response<v1::CancelResponse>, Status> {
        no_part()
    }

    async fn continue_task(
        &self,
        _: Request<v1::ContinueTaskRequest>,
    ) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn set_agent(&self, _: Request<v1::SetAgent>) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn unregister(
        &self,
        _: Request<v1::Unregister>,
    ) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn add_a2a_agent(
        &self,
        _: Request<v1::AddA2aAgentRequest>,
    ) -> Result<Response<v1::A2aAgent>, Status> {
        no_part()
    }

    async fn list_a2a_agents(
        &self,
        _: Request<v1::ListA2aAgentsRequest>,
    ) -> Result<Response<v1::ListA2aAgentsResponse>, Status> {
        no_part()
    }

    async fn remove_a2a_agent(
        &self,
        _: Request<v1::RemoveA2aAgentRequest>,
    ) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn set_inbox(&self, _: Request<v1::SetInbox>) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn set_schedule(
        &self,
        _: Request<v1::Schedule>,
    ) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn remove_schedule(
        &self,
        _: Request<v1::RemoveSchedule>,
    ) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn redrive(&self, _: Request<v1::Redrive>) -> Result<Response<v1::SendResponse>, Status> {
        no_part()
    }

    async fn purge(&self, _: Request<v1::LetterAddress>) -> Result<Response<v1::Nothing>, Status> {
        no_part()
    }

    async fn watch_agents(
        &self,
        _: Request<v1::WatchAgents>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        no_part()
    }

    async fn list_agents(
        &self,
        _: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        Ok(Response::new(trunkline_types::AgentPage::default().into()))
    }

    async fn get_stats(
        &self,
        _: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::Stats>, Status> {
        let stats = trunkline_types::Stats { epoch: 7, ..Default::default() };
        Ok(Response::new(stats.into()))
    }

    async fn list_dead_letters(
        &self,
        _: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        Ok(Response::new(trunkline_types::DeadLetterPage::default().into()))
    }
}

fn no_part<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not part of these tests"))
}

/// What is answered about a message.
pub(crate) fn message(id: MessageId) -> MessageStatus {
    MessageStatus { id, kind: None, destination: None, accepted_at: None, copies: Vec::new() }
}

/// What is answered about an inbox.
pub(crate) fn inbox(address: InboxAddress) -> InboxInfo {
    let (counters, gauges) = (Counters::default(), Gauges::default());
    InboxInfo {
        settings: InboxSettings { limit: Some(3), ..InboxSettings::default() },
        effective: InboxEffective::default(),
        stats: InboxStats { address: Some(address), counters, gauges },
        waiting_outside: 1,
        servers: 2,
    }
}
