//! What a session has whose connection was lost and that comes back, by durability.

use crate::common::{Peer, card, hello, new_id, on, task};
use trunkline_broker::Broker;
use trunkline_log::MemoryDisk;
use trunkline_types::session::{Operation, SessionItem, Subscription};
use trunkline_types::{Destination, Durability, Envelope, Kind, Outcome, Publish};

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Buffered, Durability::Ephemeral];

#[tokio::test]
async fn an_answer_that_came_while_its_caller_was_away_comes_over_the_new_connection() {
    for level in LEVELS {
        let broker = Broker::open(on(&MemoryDisk::new())).await.unwrap();
        let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
        let mut caller = Peer::open(&broker, hello(1, None)).await.unwrap();
        let mut request = task("s", "x");
        request.options.task = false;
        request.options.reply = true;
        request.options.durability = Some(level);
        let id = request.envelope.id;
        caller.publish(request).await.unwrap();
        let delivery = agent.delivery().await;
        drop(caller);
        let number = agent.settle(delivery.token, Outcome::Complete { reply: Some("42".into()) });
        agent.answer(number).await.unwrap();
        let mut back = hello(1, None);
        back.next_operation = 2;
        let mut caller = Peer::open(&broker, back).await.unwrap();
        let reply = caller.find(|item| match item {
            SessionItem::Reply(reply) => Some(reply.clone()),
            _ => None,
        });
        let reply = reply.await;
        assert_eq!(reply.request, id, "{level}");
        assert_eq!(reply.result.unwrap().to_text(), "42", "{level}");
    }
}

#[tokio::test]
async fn what_an_agent_has_subscribed_to_is_kept_for_it_while_it_is_cut_off() {
    for level in LEVELS {
        let broker = Broker::open(on(&MemoryDisk::new())).await.unwrap();
        let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
        let mut wanted = Subscription::new("t".parse().unwrap());
        wanted.durable = true;
        let number = agent.send(Operation::Subscribe(wanted));
        agent.answer(number).await.unwrap();
        drop(agent);
        let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
        for payload in ["first", "second"] {
            let to = Destination::Topic("t".parse().unwrap());
            let envelope = Envelope::new(new_id(), Kind::Event, to, payload.into());
            let mut event = Publish::new(envelope);
            event.options.durability = Some(level);
            sender.publish(event).await.unwrap();
        }
        let mut back = hello(2, Some(card("a", "s")));
        back.next_operation = 2;
        let mut agent = Peer::open(&broker, back).await.unwrap();
        for payload in ["first", "second"] {
            let delivery = agent.delivery().await;
            assert_eq!(delivery.publish.envelope.payload.to_text(), payload, "{level}");
        }
    }
}
