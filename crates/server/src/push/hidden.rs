//! What nobody is shown of a webhook or of an agent elsewhere who looks at the broker's tasks: what
//! they are called with.
//!
//! An order has to keep its token, credentials and headers, so that they can be called after a
//! restart. They are in the log, and whoever reads that has them; what is answered over the network
//! has dots in their place.

use serde_json::Value;
use std::sync::Arc;
use trunkline_a2a::{PUSHER, is_own};
use trunkline_types::{Answer, DeadLetter, Destination, HistoryMessage, Payload};

/// What stands for what is not shown.
const DOTS: &str = "…";
/// The fields of an order for a webhook that are secrets.
const SECRETS: [&str; 2] = ["token", "credentials"];
/// The field of what is set about an agent elsewhere that has names with their secrets.
const HEADERS: &str = "headers";
/// The field of either that is a URL, which may have a secret behind its path.
const URL: &str = "url";

/// Hides the secrets in what somebody is answered.
pub(crate) fn hide(answer: &mut Answer) {
    match answer {
        Answer::Task(task) if is_order(&task.destination) => hide_in(&mut task.history.messages),
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

fn is_order(destination: &Destination) -> bool {
    matches!(destination, Destination::Agent(to) if is_own(to.as_str()))
}

fn hide_in(messages: &mut [HistoryMessage]) {
    for message in messages {
        message.payload = hidden(&message.payload);
    }
}

fn hide_letter(letter: &mut DeadLetter) {
    if is_order(&letter.publish.envelope.destination) {
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
    if let Some(Value::String(url)) = order.get_mut(URL)
        && let Some(end) = url.find(['?', '#'])
    {
        url.truncate(end + 1);
        url.push_str(DOTS);
    }
    let headers = order.get_mut(HEADERS).and_then(Value::as_array_mut);
    for header in headers.into_iter().flatten() {
        for value in header.as_array_mut().into_iter().flatten().skip(1) {
            *value = DOTS.into();
        }
    }
    Payload::new(payload.content_type.as_str(), Value::Object(order).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trunkline_a2a::PROXIER;
    use trunkline_types::MessageId;
    use trunkline_types::{
        DeadLetterPage, Envelope, InboxAddress, Kind, Partition, Publish, WallTime,
    };

    #[test]
    fn a_dead_letter_of_either_shows_dots_for_what_is_a_secret() {
        for (own, order) in [
            (
                PROXIER,
                json!({"id": "far", "url": "https://a/b?key=s3cret", "headers": [["x", "s3cret"]]}),
            ),
            (
                PUSHER,
                json!({"url": "https://a/b#s3cret", "token": "s3cret", "credentials": "s3cret"}),
            ),
        ] {
            let payload = Payload::new("application/json", order.to_string());
            let to = Destination::agent(own).unwrap();
            let id = MessageId::from_parts(1, Partition(0), 7);
            let letter = DeadLetter {
                publish: Publish::new(Envelope::new(id, Kind::Request, to, payload)).into(),
                inbox: InboxAddress::Agent(own.parse().unwrap()),
                reason: String::new(),
                at: WallTime(0),
                accepted_at: WallTime(0),
                attempts: Vec::new(),
            };
            let page = DeadLetterPage { letters: vec![letter], ..DeadLetterPage::default() };
            let mut answer = Answer::DeadLetters(page);
            hide(&mut answer);
            let Answer::DeadLetters(page) = answer else { panic!("it is another answer") };
            let shown = page.letters[0].publish.envelope.payload.to_text().into_owned();
            assert!(!shown.contains("s3cret") && shown.contains(DOTS), "{shown}");
            assert!(shown.contains("https://a/b"), "{shown}");
        }
    }
}
