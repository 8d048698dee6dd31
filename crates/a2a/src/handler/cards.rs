//! The cards: public ones, and those with what only callers get.

use super::{Call, Handler, Target};
use crate::card::{self, BrokerCard, Place};
use crate::check::Checked;
use crate::fault::Fault;
use crate::wire::{AgentCard, GetExtendedAgentCardRequest};
use trunkline_types::Principal;

impl Handler {
    /// The public card of whoever stands at the endpoint.
    pub(crate) async fn card(&self, call: &Call) -> Result<AgentCard, Fault> {
        let who = call.who("")?;
        self.card_of(&who, call, false).await
    }

    /// The card with what only callers get.
    pub(crate) async fn extended_card(
        &self,
        call: &Call,
        request: GetExtendedAgentCardRequest,
    ) -> Result<AgentCard, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        self.card_of(&who, call, true).await
    }

    async fn card_of(
        &self,
        who: &Principal,
        call: &Call,
        extended: bool,
    ) -> Result<AgentCard, Fault> {
        let place = Place { base: &call.base, tenant: &who.tenant };
        match self.target(who, call).await? {
            Target::Agent(agent) => {
                Ok(card::of_agent(&agent, place, call.endpoint.agent.is_some(), extended))
            }
            Target::Broker => {
                let mut card = BrokerCard::default();
                let mut after = None;
                loop {
                    let page = self.agents(who, after).await?;
                    page.agents.iter().for_each(|agent| card.add(agent));
                    match page.next {
                        Some(next) => after = Some(next),
                        None => return Ok(card.finish(place, extended)),
                    }
                }
            }
        }
    }
}
