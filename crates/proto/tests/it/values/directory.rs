//! Agents.

use super::{agent, inbox, labels, skill, small, text, time, word};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use trunkline_types::{
    AgentCard, AgentChange, AgentControl, AgentEvent, AgentFilter, AgentInfo, AgentNews, AgentPage,
    BreakerInfo, BreakerState, JsonSchema, Presence, SkillSchemas,
};

prop_compose! {
    pub(crate) fn card()(
        id in agent(),
        (name, description) in (text(), text()),
        types in vec(small(), 0..3),
        skills in vec(skill(), 0..3),
        schemas in vec(skill_schemas(), 0..3),
        capabilities in vec(small(), 0..3),
        labels in labels(),
        (region, version) in (small(), small()),
    ) -> AgentCard {
        AgentCard {
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
        }
    }
}

prop_compose! {
    fn skill_schemas()(
        skill in skill(),
        (input, output) in (of(schema()), of(schema())),
    ) -> SkillSchemas {
        SkillSchemas { skill, input, output }
    }
}

fn schema() -> impl Strategy<Value = JsonSchema> {
    "[^\\p{C}\"\\\\]{0,20}".prop_map(|text| format!("{{\"title\":\"{text}\"}}").parse().unwrap())
}

prop_compose! {
    fn agent_info()(
        card in card(),
        owner in small(),
        presence in word(Presence::ALL),
        (sessions, in_flight, credit, waiting) in any::<(u32, u32, u32, u64)>(),
        registered_at in time(),
        control in control(),
        breakers in vec(breaker(), 0..3),
    ) -> AgentInfo {
        AgentInfo {
            card,
            owner,
            presence,
            sessions,
            in_flight,
            credit,
            waiting,
            registered_at,
            control,
            breakers,
        }
    }
}

fn control() -> impl Strategy<Value = AgentControl> {
    any::<(u32, bool, bool)>().prop_map(|(weight, draining, healthy)| AgentControl {
        weight,
        draining,
        healthy,
    })
}

pub(crate) fn agent_change() -> impl Strategy<Value = AgentChange> {
    any::<(Option<u32>, Option<bool>, Option<bool>)>()
        .prop_map(|(weight, draining, healthy)| AgentChange { weight, draining, healthy })
}

fn breaker() -> impl Strategy<Value = BreakerInfo> {
    (inbox(), word(BreakerState::ALL), any::<(u32, u64)>()).prop_map(
        |(inbox, state, (failures, open_for_ms))| BreakerInfo {
            inbox,
            state,
            failures,
            open_for_ms,
        },
    )
}

pub(crate) fn agent_news() -> BoxedStrategy<AgentNews> {
    (word(AgentEvent::ALL), agent_info())
        .prop_map(|(event, agent)| AgentNews { event, agent })
        .boxed()
}

/// A filter for those who follow the directory: what is of no account to them is left out.
pub(crate) fn watch_filter() -> impl Strategy<Value = AgentFilter> {
    (of(agent()), of(skill()), of(small()), of(small()), labels()).prop_map(
        |(id, skill, agent_type, capability, labels)| AgentFilter {
            id,
            skill,
            agent_type,
            capability,
            labels,
            ..AgentFilter::default()
        },
    )
}

pub(crate) fn agent_filter() -> impl Strategy<Value = AgentFilter> {
    (watch_filter(), of(word(Presence::ALL)), of(agent()), any::<u32>()).prop_map(
        |(filter, presence, after, limit)| AgentFilter { presence, after, limit, ..filter },
    )
}

pub(crate) fn agent_page() -> impl Strategy<Value = AgentPage> {
    (vec(agent_info(), 0..3), of(agent())).prop_map(|(agents, next)| AgentPage { agents, next })
}
