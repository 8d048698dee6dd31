//! Reading and cancelling one task.

use super::{Call, Handler};
use crate::check::Checked;
use crate::fault::{Fault, FaultKind};
use crate::fold::Fold;
use crate::task::{may_have_artifacts, messages_to_ask, task};
use crate::wire::{self, CancelTaskRequest, GetTaskRequest, Struct};
use futures_util::StreamExt;
use serde_json::json;
use trunkline_types::session::Operation;
use trunkline_types::{Principal, RefusalCode, TaskSnapshot};

impl Handler {
    /// A task as it stands.
    pub(crate) async fn get(
        &self,
        call: &Call,
        request: GetTaskRequest,
    ) -> Result<wire::Task, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let target = self.target(&who, call).await?;
        let length = request.history_length;
        let asked = messages_to_ask(length);
        let snapshot = self.visible(&who, &target, &request.id, asked).await?;
        self.whole(&who, &snapshot, length).await
    }

    /// Calls a task off.
    pub(crate) async fn cancel(
        &self,
        call: &Call,
        request: CancelTaskRequest,
    ) -> Result<wire::Task, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let target = self.target(&who, call).await?;
        let snapshot = self.visible(&who, &target, &request.id, Some(0)).await?;
        let ended = |state: &str| {
            let message = format!("task {} cannot be cancelled: it is {state}", snapshot.id);
            Fault::new(FaultKind::TaskNotCancelable, message)
                .with("taskId", snapshot.id.to_string())
        };
        if snapshot.state.is_terminal() {
            return Err(ended(snapshot.state.as_str()));
        }
        let reason = "cancelled by its caller".to_owned();
        let operation = Operation::Cancel { id: snapshot.id, reason, descendants: false };
        if let Err(refusal) = self.gateway.operate(who.clone(), operation).await {
            return Err(match refusal.code {
                // It ended just now.
                RefusalCode::WrongState => ended("over"),
                RefusalCode::NotFound => Fault::no_task(&request.id),
                _ => refusal.into(),
            });
        }
        let snapshot = self.snapshot(&who, snapshot.id, None).await?;
        self.whole(&who, &snapshot, None).await
    }

    /// A task with its artifacts and its history, of which the snapshot has enough.
    pub(crate) async fn whole(
        &self,
        who: &Principal,
        snapshot: &TaskSnapshot,
        history_length: Option<i32>,
    ) -> Result<wire::Task, Fault> {
        let fold = if may_have_artifacts(snapshot) {
            self.folded(who, snapshot).await?
        } else {
            Fold::default()
        };
        let mut shown = task(snapshot, fold.artifacts, history_length)?;
        tell_gap(&mut shown.metadata, fold.gap);
        Ok(shown)
    }

    /// What the events of a task come to, up to the last one that its snapshot knows.
    async fn folded(&self, who: &Principal, snapshot: &TaskSnapshot) -> Result<Fold, Fault> {
        let mut updates = self.gateway.watch(who.clone(), snapshot.id, 0).await?;
        let mut fold = Fold::default();
        while fold.last < snapshot.last_event {
            let Some(update) = updates.next().await else { break };
            fold.take(&update?)?;
        }
        Ok(fold)
    }
}

/// Says in metadata which events of a task are gone.
pub(crate) fn tell_gap(metadata: &mut Option<Struct>, gap: Option<(u64, u64)>) {
    if let Some((first, last)) = gap {
        let Struct(fields) = metadata.get_or_insert_default();
        fields.insert("gap".to_owned(), json!({"first": first, "last": last}));
    }
}
