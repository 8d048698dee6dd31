//! Destinations and inbox addresses.

use crate::DecodeError;
use crate::decode::{name, required};
use crate::v1::{self, destination::To, inbox_address::Owner};
use trunkline_types::{Destination, InboxAddress, Topic};

impl From<Destination> for v1::Destination {
    fn from(destination: Destination) -> Self {
        let to = match destination {
            Destination::Agent(id) => To::Agent(id.to_string()),
            Destination::Skill(name) => To::Skill(name.to_string()),
            Destination::Topic(topic) => To::Topic(topic.to_string()),
            Destination::All => To::All(v1::Nothing {}),
            Destination::Agents(ids) => {
                To::Agents(v1::AgentList { ids: ids.iter().map(ToString::to_string).collect() })
            }
        };
        Self { to: Some(to) }
    }
}

impl TryFrom<v1::Destination> for Destination {
    type Error = DecodeError;
    fn try_from(destination: v1::Destination) -> Result<Self, DecodeError> {
        Ok(match required("destination.to", destination.to)? {
            To::Agent(id) => Self::Agent(name("destination.agent", &id)?),
            To::Skill(skill) => Self::Skill(name("destination.skill", &skill)?),
            To::Topic(text) => Self::Topic(
                Topic::new(&text)
                    .map_err(|error| DecodeError::name("destination.topic", &text, &error))?,
            ),
            To::All(v1::Nothing {}) => Self::All,
            To::Agents(v1::AgentList { ids }) => {
                if ids.is_empty() {
                    return Err(DecodeError::new("destination.agents", "empty", "name an agent"));
                }
                let ids = ids.iter().map(|id| name("destination.agents", id));
                Self::Agents(ids.collect::<Result<_, _>>()?)
            }
        })
    }
}

impl From<InboxAddress> for v1::InboxAddress {
    fn from(address: InboxAddress) -> Self {
        let owner = match address {
            InboxAddress::Agent(id) => Owner::Agent(id.to_string()),
            InboxAddress::Skill(name) => Owner::Skill(name.to_string()),
        };
        Self { owner: Some(owner) }
    }
}

impl TryFrom<v1::InboxAddress> for InboxAddress {
    type Error = DecodeError;
    fn try_from(address: v1::InboxAddress) -> Result<Self, DecodeError> {
        Ok(match required("inbox_address.owner", address.owner)? {
            Owner::Agent(id) => Self::Agent(name("inbox_address.agent", &id)?),
            Owner::Skill(skill) => Self::Skill(name("inbox_address.skill", &skill)?),
        })
    }
}
