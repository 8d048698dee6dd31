//! What `agent` does with a delivery: it runs the command, and gives what that writes as a reply or
//! as an artifact.

use std::time::Duration;
use trunkline_agent::exec::Exec;
use trunkline_agent::{Handler, HandlerError, HandlerFuture, Task};
use trunkline_types::Outcome;

/// The handler of an agent. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) exec: Exec,
    /// The artifact that the reply to a task becomes.
    pub(super) artifact: Option<String>,
}

impl Handler for Work {
    fn handle(&self, task: Task) -> HandlerFuture {
        let run = self.exec.handle(task.clone());
        let name = self.artifact.clone().filter(|_| task.is_task());
        let Some(name) = name else { return run };
        Box::pin(async move {
            match run.await {
                Outcome::Complete { reply: Some(reply) } if !reply.data.is_empty() => {
                    match task.artifact(&name, reply, false, true).await {
                        Ok(()) => Outcome::Complete { reply: None },
                        Err(refusal) => HandlerError::from(refusal).into_outcome(),
                    }
                }
                other => other,
            }
        })
    }

    fn cancel_grace(&self) -> Duration {
        self.exec.cancel_grace()
    }
}
