//! An agent's id belongs to whoever registered it first: nobody else can take it over, be it in
//! use or not, until its owner gives it up.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{Principal, RefusalCode};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    // Over the network the edge says who is speaking; in process the program does.
    let person = |name: &str| {
        broker.as_principal(Principal { subject: name.into(), ..Principal::default() })
    };
    let (ann, bob) = (person("ann"), person("bob"));
    let clerk = |of: &_| Host::agent(of, "clerk").skill("file", |_: Task| async { Ok(()) });
    let agent = clerk(&ann).start().await?;
    let refusal = clerk(&bob).start().await.expect_err("it is taken");
    println!("{refusal}");
    assert_eq!(refusal.code, RefusalCode::AlreadyTaken);

    agent.stop().await; // away, but still hers
    let refusal = clerk(&bob).start().await.expect_err("it is taken");
    assert_eq!(refusal.code, RefusalCode::AlreadyTaken);
    let refusal = bob.unregister("clerk".parse()?).await.expect_err("it is not his");
    println!("{refusal}");
    assert_eq!(refusal.code, RefusalCode::Forbidden);

    ann.unregister("clerk".parse()?).await?;
    clerk(&bob).start().await?.stop().await;
    println!("now it is bob's");
    Ok(())
}
