//! What an agent says of itself, as it is kept: of a hundred thousand that are registered most are
//! away, and most say little.

use smol_str::SmolStr;
use trunkline_types::{AgentCard, AgentFilter, AgentId, SkillName, SkillSchemas};

/// The card of an agent, without its id.
#[derive(Debug)]
pub(crate) struct Card {
    description: Box<str>,
    pub(crate) skills: Box<[SkillName]>,
    types: Box<[SmolStr]>,
    pub(crate) labels: Box<[(SmolStr, SmolStr)]>,
    /// What few cards have.
    rest: Option<Box<Rest>>,
}

#[derive(PartialEq, Eq, Debug, Default)]
struct Rest {
    name: String,
    capabilities: Vec<SmolStr>,
    region: SmolStr,
    version: SmolStr,
    schemas: Box<[SkillSchemas]>,
}

/// What filters look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    id: &'a AgentId,
    skills: &'a [SkillName],
    types: &'a [SmolStr],
    capabilities: &'a [SmolStr],
    labels: &'a [(SmolStr, SmolStr)],
}

impl Card {
    /// Keeps a card.
    pub(crate) fn new(card: AgentCard) -> Self {
        let AgentCard {
            id: _,
            name,
            description,
            types,
            skills,
            schemas,
            capabilities,
            labels,
            region,
            version,
        } = card;
        let rest = Rest { name, capabilities, region, version, schemas: schemas.into() };
        Self {
            description: description.into(),
            skills: skills.into(),
            types: types.into(),
            labels: labels.into(),
            rest: (rest != Rest::default()).then(|| Box::new(rest)),
        }
    }

    /// The card as it was given.
    pub(crate) fn whole(&self, id: &AgentId) -> AgentCard {
        let mut card = AgentCard {
            description: self.description.to_string(),
            skills: self.skills.to_vec(),
            types: self.types.to_vec(),
            labels: self.labels.to_vec(),
            ..AgentCard::new(id.clone())
        };
        if let Some(rest) = &self.rest {
            card.name.clone_from(&rest.name);
            card.capabilities.clone_from(&rest.capabilities);
            card.region.clone_from(&rest.region);
            card.version.clone_from(&rest.version);
            card.schemas = rest.schemas.to_vec();
        }
        card
    }

    /// What filters look at.
    pub(crate) fn shown<'a>(&'a self, id: &'a AgentId) -> Shown<'a> {
        let capabilities = self.rest.as_ref().map_or(&[][..], |rest| &rest.capabilities);
        Shown { id, skills: &self.skills, types: &self.types, capabilities, labels: &self.labels }
    }
}

impl<'a> From<&'a AgentCard> for Shown<'a> {
    fn from(card: &'a AgentCard) -> Self {
        let AgentCard { id, skills, types, capabilities, labels, .. } = card;
        Self { id, skills, types, capabilities, labels }
    }
}

/// Whether a filter wants an agent with this card; its `presence`, `after` and `limit` are for the
/// caller.
pub(crate) fn wants<'a>(filter: &AgentFilter, card: impl Into<Shown<'a>>) -> bool {
    let AgentFilter { id, skill, agent_type, capability, labels, presence: _, after: _, limit: _ } =
        filter;
    let card = card.into();
    id.as_ref().is_none_or(|id| id == card.id)
        && skill.as_ref().is_none_or(|skill| card.skills.contains(skill))
        && agent_type.as_ref().is_none_or(|wanted| card.types.contains(wanted))
        && capability.as_ref().is_none_or(|wanted| card.capabilities.contains(wanted))
        && labels.iter().all(|label| card.labels.contains(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_given_back_as_it_was() {
        let id: AgentId = "a".parse().unwrap();
        let bare = AgentCard::new(id.clone());
        let full = AgentCard {
            name: "Ann".into(),
            description: "echoes".into(),
            types: vec!["reader".into()],
            skills: vec!["echo".parse().unwrap()],
            schemas: vec![SkillSchemas {
                skill: "echo".parse().unwrap(),
                input: Some("{}".parse().unwrap()),
                output: None,
            }],
            capabilities: vec!["refunds".into()],
            labels: vec![("tier".into(), "gold".into())],
            region: "north".into(),
            version: "1.2".into(),
            ..bare.clone()
        };
        for card in [bare, full] {
            let kept = Card::new(card.clone());
            assert_eq!(kept.whole(&id), card);
            let filter = AgentFilter {
                skill: card.skills.first().cloned(),
                agent_type: card.types.first().cloned(),
                capability: card.capabilities.first().cloned(),
                labels: card.labels.clone(),
                ..AgentFilter::default()
            };
            assert!(wants(&filter, kept.shown(&id)) && wants(&filter, &card));
            let other = AgentFilter { capability: Some("quotes".into()), ..filter };
            assert!(!wants(&other, kept.shown(&id)) && !wants(&other, &card));
        }
    }
}
