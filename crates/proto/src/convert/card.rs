//! Agent cards.

use crate::decode::{all, each, name, small_text, small_texts, text};
use crate::{DecodeError, v1};
use smol_str::SmolStr;
use trunkline_types::{AgentCard, JsonSchema, JsonSchemaError, SkillSchemas};

fn strings(texts: &[SmolStr]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

impl From<AgentCard> for v1::AgentCard {
    fn from(card: AgentCard) -> Self {
        let AgentCard {
            id,
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
        Self {
            id: id.to_string(),
            name,
            description,
            types: strings(&types),
            skills: skills.iter().map(ToString::to_string).collect(),
            capabilities: strings(&capabilities),
            labels: each(labels),
            region: region.into(),
            version: version.into(),
            schemas: each(schemas),
        }
    }
}

impl From<SkillSchemas> for v1::SkillSchemas {
    fn from(SkillSchemas { skill, input, output }: SkillSchemas) -> Self {
        let text = |schema: Option<JsonSchema>| schema.map(|schema| schema.to_string());
        Self { skill: skill.to_string(), input: text(input), output: text(output) }
    }
}

impl TryFrom<v1::AgentCard> for AgentCard {
    type Error = DecodeError;
    fn try_from(card: v1::AgentCard) -> Result<Self, DecodeError> {
        let skills = card.skills.iter().map(|skill| name("agent_card.skills", skill));
        Ok(Self {
            id: name("agent_card.id", &card.id)?,
            name: text("agent_card.name", card.name)?,
            description: text("agent_card.description", card.description)?,
            types: small_texts("agent_card.types", card.types)?,
            skills: skills.collect::<Result<_, _>>()?,
            capabilities: small_texts("agent_card.capabilities", card.capabilities)?,
            labels: all(card.labels)?,
            region: small_text("agent_card.region", card.region)?,
            version: small_text("agent_card.version", card.version)?,
            schemas: all(card.schemas)?,
        })
    }
}

impl TryFrom<v1::SkillSchemas> for SkillSchemas {
    type Error = DecodeError;
    fn try_from(schemas: v1::SkillSchemas) -> Result<Self, DecodeError> {
        let v1::SkillSchemas { skill, input, output } = schemas;
        Ok(Self {
            skill: name("skill_schemas.skill", &skill)?,
            input: schema("skill_schemas.input", input)?,
            output: schema("skill_schemas.output", output)?,
        })
    }
}

fn schema(field: &'static str, text: Option<String>) -> Result<Option<JsonSchema>, DecodeError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |error: JsonSchemaError| DecodeError::new(field, &text, error.to_string());
    JsonSchema::new(&text).map(Some).map_err(wrong)
}
