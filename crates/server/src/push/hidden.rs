//! What nobody is shown of a webhook who looks at the broker's tasks: what it is called with.
//!
//! An order has to keep its token and credentials, so that the webhook can be called after a
//! restart. They are in the log, and whoever reads that has them; what is answered over the network
//! has dots in their place.

use serde_json::Value;
use std::sync::Arc;
use trunkline_a2a::PUSHER;
use trunkline_types::{Answer, DeadLetter, Destination, HistoryMessage, Payload};

/// What stands for what is not shown.
const DOTS: &str = "…";
/// The fields of an order that are secrets.
const SECRETS: [&str; 2] = ["token", "credentials"];

/// Hides the secrets in what somebody is answered.
pub(crate) fn hide(answer: &mut Answer) {
    match answer {
        Answer::Task(task) if is_pushers(&task.destination) => hide_in(&mut task.history.messages),
        Answer::Context(context) if context.id.as_str().starts_with(PUSHER) => {
            hide_in(&mut context.history.messages);
        }
        Answer::DeadLetters(page) => page.letters.iter_mut().for_each(hide_letter),
        Answer::Task(_)
        | Answer::Context(_)
        | Answer::Tasks(_)
        | Answer::Agents(_)
        | Answer::Message(_)
        | Answer::Inbox(_)
        | Answer::Schedules(_)
        | Answer::Stats(_) => {}
    }
}

fn is_pushers(destination: &Destination) -> bool {
    matches!(destination, Destination::Agent(to) if to.as_str() == PUSHER)
}

fn hide_in(messages: &mut [HistoryMessage]) {
    for message in messages {
        message.payload = hidden(&message.payload);
    }
}

fn hide_letter(letter: &mut DeadLetter) {
    if is_pushers(&letter.publish.envelope.destination) {
        let publish = Arc::make_mut(&mut letter.publish);
        publish.envelope.payload = hidden(&publish.envelope.payload);
    }
}

/// The same payload with dots for what is a secret and is there.
fn hidden(payload: &Payload) -> Payload {
    let Ok(Value::Object(mut order)) = serde_json::from_slice(&payload.data) else {
        return payload.clone();
    };
    for name in SECRETS {
        if let Some(secret) = order.get_mut(name).filter(|secret| **secret != "") {
            *secret = DOTS.into();
        }
    }
    Payload::new(payload.content_type.as_str(), Value::Object(order).to_string())
}
