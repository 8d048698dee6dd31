//! Whether an envelope may be taken in at all: its form, its id, how many it goes to.

use crate::defect::Defect;
use crate::engine::Engine;
use crate::route::Targets;
use crate::table::{SessionKey, TenantKey};
use trunkline_types::{Envelope, Publish, RESERVED_HEADERS, Refusal, RefusalCode};

impl Engine {
    /// Whether an envelope is well formed and the session's to send. Its id is another matter.
    pub(crate) fn check_publish(
        &self,
        session: SessionKey,
        publish: &Publish,
    ) -> Result<(), Refusal> {
        publish.check(&self.config.limits)?;
        let envelope = &publish.envelope;
        let row = &self.sessions[session];
        let tenant = &self.tenants[row.tenant].id;
        if envelope.tenant != *tenant {
            let message = format!(
                "the envelope is of tenant '{}', but the session acts for '{tenant}'",
                envelope.tenant
            );
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        let agent = row.agent.map(|agent| &self.agents[agent].id);
        if envelope.source.as_ref().is_some_and(|source| Some(source) != agent) {
            let source = envelope.source.as_ref().map_or("", |source| source.as_str());
            let message = format!("the source is agent '{source}', which this session is not");
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        if let Some(letter) = &envelope.redriven_from {
            let message = format!(
                "the envelope says that it was made from dead letter {letter}, which only the \
                 broker says; redrive the letter"
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        Ok(())
    }

    /// Whether the headers that a sender has set are its own to set.
    pub(crate) fn check_headers(envelope: &Envelope) -> Result<(), Refusal> {
        let Some(name) = envelope.reserved_header() else { return Ok(()) };
        let message = format!(
            "header '{name}' begins with '{RESERVED_HEADERS}', which is for what the broker says; \
             use another name"
        );
        Err(Refusal::new(RefusalCode::Invalid, message))
    }

    /// Whether a message may have the id that its sender gave it.
    pub(crate) fn check_new_id(&self, publish: &Publish) -> Result<(), Refusal> {
        let envelope = &publish.envelope;
        if envelope.id.partition() != self.config.partition {
            let (is, ours) = (envelope.id.partition().0, self.config.partition.0);
            let message = format!("the message id names partition {is}, this is partition {ours}");
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if publish.is_task() && self.tasks.ids.contains_key(&envelope.id) {
            let message = format!("there is a task {} already; make a new id", envelope.id);
            return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
        }
        Ok(())
    }

    /// Whether no message of the tenant that has not ended has the same id: what is asked and
    /// said of a message names it by that.
    pub(super) fn check_not_open(
        &self,
        tenant: TenantKey,
        publish: &Publish,
    ) -> Result<(), Refusal> {
        let id = publish.envelope.id;
        let known = self.messages.has(id) || self.task_copy(id).is_some();
        if !known || self.open_copies(tenant, id).is_empty() {
            return Ok(());
        }
        let message = format!("there is a message {id} already that has not ended; make a new id");
        Err(Refusal::new(RefusalCode::AlreadyTaken, message))
    }

    /// Whether one record can name every inbox that an envelope is kept in.
    pub(super) fn check_copies(&self, publish: &Publish, targets: &Targets) -> Result<(), Refusal> {
        let (count, limit) = (targets.inboxes.len(), self.config.logged_copies);
        if count <= limit || self.planted(Defect::IgnoredCopyBound) {
            return Ok(());
        }
        let message = format!(
            "'{}' is {count} inboxes, the limit for what is logged is {limit}; send it to fewer \
             at a time, or ephemeral",
            publish.envelope.destination
        );
        Err(Refusal::new(RefusalCode::TooLarge, message))
    }
}
