//! What the standard does not let a sender leave out. `ProtoJSON` itself would take an empty default.

use crate::fault::Fault;
use crate::wire::{self, part::Content};

/// A request of an operation, and what it must have.
pub(crate) trait Checked {
    /// Says which field is missing, if one is.
    fn check(&self) -> Result<(), Fault>;
}

fn text(field: &str, value: &str) -> Result<(), Fault> {
    if value.is_empty() { Err(Fault::field(field, "is required")) } else { Ok(()) }
}

/// Checks a message that stands in a field.
pub(crate) fn message(field: &str, message: &wire::Message) -> Result<(), Fault> {
    text(&format!("{field}.messageId"), &message.message_id)?;
    if message.role() == wire::Role::Unspecified {
        return Err(Fault::field(
            format!("{field}.role"),
            "is required: ROLE_USER for a client, ROLE_AGENT for an agent",
        ));
    }
    parts(&format!("{field}.parts"), &message.parts)
}

/// Checks the parts that stand in a field.
pub(crate) fn parts(field: &str, parts: &[wire::Part]) -> Result<(), Fault> {
    if parts.is_empty() {
        return Err(Fault::field(field, "is required: at least one part"));
    }
    for (place, part) in parts.iter().enumerate() {
        match &part.content {
            None => {
                let field = format!("{field}[{place}]");
                return Err(Fault::field(field, "needs one of text, raw, url and data"));
            }
            Some(Content::Url(url)) => text(&format!("{field}[{place}].url"), url)?,
            Some(Content::Text(_) | Content::Raw(_) | Content::Data(_)) => {}
        }
    }
    Ok(())
}

impl Checked for wire::SendMessageRequest {
    fn check(&self) -> Result<(), Fault> {
        let Some(said) = &self.message else {
            return Err(Fault::field("message", "is required"));
        };
        message("message", said)?;
        if said.role() != wire::Role::User {
            return Err(Fault::field("message.role", "a client sends as ROLE_USER"));
        }
        let Some(configuration) = &self.configuration else { return Ok(()) };
        history_length("configuration.historyLength", configuration.history_length)?;
        match &configuration.task_push_notification_config {
            Some(config) => webhook("configuration.taskPushNotificationConfig.", config),
            None => Ok(()),
        }
    }
}

/// Checks what a webhook must have, wherever it is set.
fn webhook(place: &str, config: &wire::TaskPushNotificationConfig) -> Result<(), Fault> {
    text(&format!("{place}url"), &config.url)?;
    match &config.authentication {
        // Credentials without a scheme could not be said.
        Some(auth) => text(&format!("{place}authentication.scheme"), &auth.scheme),
        None => Ok(()),
    }
}

fn history_length(field: &str, length: Option<i32>) -> Result<(), Fault> {
    match length {
        Some(length) if length < 0 => {
            Err(Fault::field(field, format!("is {length}; it must not be negative")))
        }
        _ => Ok(()),
    }
}

impl Checked for wire::GetTaskRequest {
    fn check(&self) -> Result<(), Fault> {
        text("id", &self.id)?;
        history_length("historyLength", self.history_length)
    }
}

impl Checked for wire::ListTasksRequest {
    fn check(&self) -> Result<(), Fault> {
        history_length("historyLength", self.history_length)?;
        match self.page_size {
            Some(size) if !(1..=100).contains(&size) => {
                Err(Fault::field("pageSize", format!("is {size}, the range is 1 to 100")))
            }
            _ => Ok(()),
        }
    }
}

impl Checked for wire::CancelTaskRequest {
    fn check(&self) -> Result<(), Fault> {
        text("id", &self.id)
    }
}

impl Checked for wire::SubscribeToTaskRequest {
    fn check(&self) -> Result<(), Fault> {
        text("id", &self.id)
    }
}

impl Checked for wire::GetExtendedAgentCardRequest {
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Checked for wire::TaskPushNotificationConfig {
    fn check(&self) -> Result<(), Fault> {
        text("taskId", &self.task_id)?;
        webhook("", self)
    }
}

impl Checked for wire::GetTaskPushNotificationConfigRequest {
    fn check(&self) -> Result<(), Fault> {
        text("taskId", &self.task_id)?;
        text("id", &self.id)
    }
}

impl Checked for wire::ListTaskPushNotificationConfigsRequest {
    fn check(&self) -> Result<(), Fault> {
        text("taskId", &self.task_id)
    }
}

impl Checked for wire::DeleteTaskPushNotificationConfigRequest {
    fn check(&self) -> Result<(), Fault> {
        text("taskId", &self.task_id)?;
        text("id", &self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_says_credentials_must_say_of_which_scheme() {
        let of = |auth: Option<wire::AuthenticationInfo>| wire::TaskPushNotificationConfig {
            task_id: "t".into(),
            url: "https://a".into(),
            authentication: auth,
            ..Default::default()
        };
        let auth = |scheme: &str| wire::AuthenticationInfo {
            scheme: scheme.into(),
            credentials: "x".into(),
        };
        assert_eq!(of(None).check(), Ok(()));
        assert_eq!(of(Some(auth("Bearer"))).check(), Ok(()));
        let fault = of(Some(auth(""))).check().unwrap_err();
        assert_eq!(fault, Fault::field("authentication.scheme", "is required"));
    }
}
