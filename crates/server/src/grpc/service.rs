//! The broker's service: each call decodes, asks the broker and encodes its answer.

use super::caller::caller;
use super::connect::{self, SessionStream};
use super::deadline::{time_left, within};
use super::repeat::reply_to_first;
use super::watch::{WatchStream, watch};
use crate::hub::Hub;
use crate::session::Requested;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use trunkline_proto::status::from_refusal;
use trunkline_proto::v1::broker_server::Broker;
use trunkline_proto::{DecodeError, v1};
use trunkline_types::session::Operation;
use trunkline_types::{
    AgentFilter, Answer, DeadLetterFilter, MessageId, Query, Refusal, TaskFilter,
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
        within(time_left, async { connector.query(query).await.map_err(refused) }).await
    }

    /// Has an operation done for the caller.
    async fn operate<T>(&self, request: Request<T>) -> Answered<v1::Nothing>
    where
        Operation: TryFrom<T, Error = DecodeError>,
    {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let operation = Operation::try_from(request.into_inner()).map_err(invalid)?;
        let done = async {
            let session = self.hub.calls(principal).await?;
            session.get()?.operate(operation).await
        };
        within(time_left, async { done.await.map_err(refused) }).await?;
        Ok(Response::new(v1::Nothing {}))
    }
}

#[tonic::async_trait]
impl Broker for BrokerService {
    type ConnectStream = SessionStream;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ClientFrame>>,
    ) -> Answered<SessionStream> {
        let principal = caller(request.metadata()).map_err(refused)?;
        connect::open(&self.hub, principal, request.into_inner()).await.map(Response::new)
    }

    async fn send(&self, request: Request<v1::SendRequest>) -> Answered<v1::SendResponse> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let publish =
            request.into_inner().into_publish(|| self.hub.ids.message()).map_err(invalid)?;
        let sent = async {
            let session = self.hub.calls(principal).await?;
            session.get()?.publish(publish).await
        };
        let accepted = within(time_left, async { sent.await.map_err(refused) }).await?;
        Ok(Response::new(accepted.into()))
    }

    async fn request(&self, request: Request<v1::RequestRequest>) -> Answered<v1::Reply> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let publish =
            request.into_inner().into_publish(|| self.hub.ids.message()).map_err(invalid)?;
        let answered = async {
            let session = self.hub.calls(principal.clone()).await?;
            match session.get()?.request(publish).await? {
                Requested::Reply(reply) => Ok(reply),
                Requested::Repeat(first) => {
                    let connector = self.hub.connector(principal)?;
                    reply_to_first(&self.hub, connector.as_ref(), first).await
                }
            }
        };
        let reply = within(time_left, async { answered.await.map_err(refused) }).await?;
        Ok(Response::new(reply.into()))
    }

    async fn get_task(&self, request: Request<v1::GetTaskRequest>) -> Answered<v1::TaskSnapshot> {
        match self.ask(request, |request| MessageId::try_from(request).map(Query::Task)).await? {
            Answer::Task(task) => Ok(Response::new((*task).into())),
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

    type WatchTaskStream = WatchStream;

    async fn watch_task(&self, request: Request<v1::WatchTaskRequest>) -> Answered<WatchStream> {
        let time_left = time_left(request.metadata());
        let principal = caller(request.metadata()).map_err(refused)?;
        let wanted = <(MessageId, u64)>::try_from(request.into_inner()).map_err(invalid)?;
        let connector = self.hub.connector(principal).map_err(refused)?;
        let watched = watch(&self.hub, connector.as_ref(), wanted, time_left).await;
        watched.map(Response::new).map_err(refused)
    }

    async fn cancel_task(&self, request: Request<v1::CancelTaskRequest>) -> Answered<v1::Nothing> {
        self.operate(request).await
    }

    async fn continue_task(
        &self,
        request: Request<v1::ContinueTaskRequest>,
    ) -> Answered<v1::Nothing> {
        self.operate(request).await
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
