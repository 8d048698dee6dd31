//! The cards: public ones, and those with what only callers get.

use super::{Call, Handler, Target, no_agent};
use crate::card::{self, BrokerCard, Place};
use crate::check::Checked;
use crate::fault::{Fault, FaultKind};
use crate::wire::{AgentCard, GetExtendedAgentCardRequest};
use trunkline_types::Principal;

impl Handler {
    /// The public card of whoever stands at the endpoint.
    pub(crate) async fn card(&self, call: &Call) -> Result<AgentCard, Fault> {
        let who = call.who("")?;
        self.signed(call, self.card_of(&who, call, false).await?)
    }

    /// The card with what only callers get.
    pub(crate) async fn extended_card(
        &self,
        call: &Call,
        request: GetExtendedAgentCardRequest,
    ) -> Result<AgentCard, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        self.signed(call, self.card_of(&who, call, true).await?)
    }

    /// A card with our signature, if there is a key. What the broker fills in has made those that
    /// it had before void.
    fn signed(&self, call: &Call, mut card: AgentCard) -> Result<AgentCard, Fault> {
        match &self.config.signing_key {
            None => card.signatures.clear(),
            Some(key) => key.sign(&mut card, &call.base).map_err(|why| {
                Fault::new(FaultKind::Internal, format!("the card cannot be signed: {why}"))
            })?,
        }
        Ok(card)
    }

    async fn card_of(
        &self,
        who: &Principal,
        call: &Call,
        extended: bool,
    ) -> Result<AgentCard, Fault> {
        let place = Place { base: &call.base, tenant: &who.tenant, earlier: self.config.earlier };
        match self.target(who, call).await? {
            Target::Agent(agent) => {
                let told = self.gateway.skills(&agent.card.id);
                Ok(card::of_agent(&agent, &told, place, call.endpoint.agent.is_some(), extended))
            }
            Target::Gone(id) => Err(no_agent(&id)),
            Target::Broker => {
                let mut card = BrokerCard::default();
                for agent in self.all_agents(who, None).await? {
                    card.add(&agent, &self.gateway.skills(&agent.card.id));
                }
                Ok(card.finish(place, extended))
            }
        }
    }
}
