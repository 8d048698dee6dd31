//! One agent elsewhere: its card is read and read again, and it is an agent of the broker while
//! that can be had.

use super::http::{Beside, Fetched, Http};
use super::relay::Relayer;
use super::settings::{named, without_query};
use crate::hub::Hub;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline_a2a::wire::AgentSkill;
use trunkline_a2a::{Ask, DownstreamCard, Gateway, LONGEST_LABEL, Why};
use trunkline_agent::{Agent, Host};
use trunkline_types::session::Connector;
use trunkline_types::{
    A2aAgent, A2aAgentSettings, AgentId, Principal, Refusal, RefusalCode, SkillName, WallTime,
};

/// How many deliveries of one agent are followed at once.
const WORKERS: u32 = 4_096;
/// When to look again for an agent that is not there. It doubles with each time.
const BACKOFF: Duration = Duration::from_millis(500);
/// How long to wait at most.
const LONGEST: Duration = Duration::from_secs(30);
/// How long what is being said may take until the server ends without waiting for the answer.
const FAREWELL: Duration = Duration::from_secs(3);
/// Most tags of a card that become capabilities here.
const MOST_TAGS: usize = 64;
/// The longest tag that does, in bytes.
const LONGEST_TAG: usize = 128;
/// The longest text that is taken from a card, in bytes.
const LONGEST_TEXT: usize = 4 << 10;
/// The label that says where an agent is.
const URL: &str = "a2a-url";

/// What everybody knows who has to do with an agent elsewhere.
pub(super) struct Shared {
    pub(super) id: AgentId,
    pub(super) settings: A2aAgentSettings,
    pub(super) http: Http,
    /// The way to the broker.
    pub(super) gateway: Arc<dyn Gateway>,
    /// Has the card be read now, because the agent seems to be away.
    pub(super) look: Notify,
    /// How many tasks that wait for an answer are watched.
    pub(super) waiting: AtomicUsize,
    /// Nobody is called any more.
    pub(super) over: CancellationToken,
    state: Mutex<State>,
}

/// How an agent elsewhere is.
#[derive(Default)]
struct State {
    card: Option<Arc<DownstreamCard>>,
    read_at: Option<WallTime>,
    trouble: Option<String>,
}

/// The agent while it takes work.
struct Live {
    agent: Agent,
    card: Arc<DownstreamCard>,
    stop: CancellationToken,
}

impl Shared {
    pub(super) fn new(
        hub: &Hub,
        gateway: Arc<dyn Gateway>,
        id: AgentId,
        settings: A2aAgentSettings,
    ) -> Result<Self, String> {
        let http = Http::new(&hub.config, &hub.ident, &settings)?;
        let (look, waiting, over) = (Notify::new(), AtomicUsize::new(0), CancellationToken::new());
        Ok(Self { id, settings, http, gateway, look, waiting, over, state: Mutex::default() })
    }

    /// The card that was read last.
    pub(super) fn card(&self) -> Option<Arc<DownstreamCard>> {
        self.state.lock().card.clone()
    }

    /// What its card tells of its skills, by their names here.
    pub(super) fn skills(&self) -> Vec<AgentSkill> {
        let Some(card) = self.card() else { return Vec::new() };
        let skills =
            skills(&card).map(|(name, told)| AgentSkill { id: name.to_string(), ..told.clone() });
        skills.collect()
    }

    /// How it is, for operators.
    pub(super) fn shown(&self) -> A2aAgent {
        let Self { settings, .. } = self;
        let state = self.state.lock();
        let card = state.card.as_deref();
        A2aAgent {
            id: self.id.clone(),
            url: without_query(&settings.url),
            idempotent: settings.idempotent,
            headers: settings.headers.iter().map(|(name, _)| name.clone()).collect(),
            refresh: settings.refresh,
            answer_within: settings.answer_within,
            allow_private: settings.allow_private,
            interface: card.map(|card| without_query(&card.interface.url)).unwrap_or_default(),
            binding: card.map(|card| card.interface.name().into()).unwrap_or_default(),
            streaming: card.is_some_and(|card| card.streaming),
            skills: card
                .map(|card| skills(card).map(|(name, _)| name).collect())
                .unwrap_or_default(),
            read_at: state.read_at,
            trouble: state.trouble.clone(),
        }
    }

    fn troubled(&self, why: &str) {
        let before = self.state.lock().trouble.replace(why.to_owned());
        if before.as_deref() != Some(why) {
            tracing::warn!(agent = %self.id, why, "an agent elsewhere gets no work");
        }
    }

    fn well(&self, card: &Arc<DownstreamCard>) {
        let mut state = self.state.lock();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        (state.card, state.read_at, state.trouble) = (Some(card.clone()), Some(now), None);
    }

    /// Reads the card for the first time, and finds out whether the interface leads back here.
    pub(super) async fn first(&self) -> Result<(Arc<DownstreamCard>, Option<String>), String> {
        let Fetched::Card(card, tag) = self.http.card(&self.settings.url, None).await? else {
            return Err("the card is said to be unchanged, although it was not read".to_owned());
        };
        // There is no such task; only what is said of that matters.
        let ask = Ask::Get("trunkline-loop".to_owned(), 1);
        let (beside, within) = (Beside::default(), self.http.timeout());
        match self.http.ask(&card.interface, &ask, &beside, within).await {
            Err(trouble) if trouble.why == Why::Loop => Err(format!(
                "{} leads to this broker itself; its agents are here already",
                without_query(&card.interface.url)
            )),
            Err(trouble) if trouble.why == Why::NotSent => {
                let url = without_query(&card.interface.url);
                Err(format!("{url} cannot be called: {}", trouble.text))
            }
            _ => Ok((card.into(), tag)),
        }
    }

    /// Registers the agent as its card has it.
    async fn register(
        self: &Arc<Self>,
        hub: &Hub,
        card: &Arc<DownstreamCard>,
        stop: CancellationToken,
    ) -> Result<Agent, Refusal> {
        let connector: Arc<dyn Connector> = hub.connector(Principal::default())?;
        let relayer = Relayer { shared: self.clone(), card: card.clone(), stop };
        let mut builder = connector
            .agent(self.id.as_str())
            .name(cut(&card.name, 256))
            .description(cut(&card.description, LONGEST_TEXT))
            .version(cut(&card.version, 128))
            .label(URL, cut(&without_query(&self.settings.url), LONGEST_LABEL))
            .workers(1..=WORKERS)
            .prefetch(0)
            .on_message(relayer.clone());
        for (name, _) in skills(card) {
            builder = builder.skill(name.as_str(), relayer.clone());
        }
        for tag in tags(card) {
            builder = builder.capability(tag);
        }
        let mut left_out = over_limits(card);
        // Media types only: of anything else the agent itself must judge.
        let are_types = |modes: &[String]| modes.iter().all(|mode| mode.contains('/'));
        for (label, values, fits) in [
            ("a2a-input-modes", &card.input_modes, are_types(&card.input_modes)),
            ("a2a-output-modes", &card.output_modes, are_types(&card.output_modes)),
            // They fit, or the card would have been refused.
            ("a2a-required-extensions", &card.required_extensions, true),
            (
                "a2a-extensions",
                &card.extensions,
                card.extensions.iter().all(|uri| !uri.contains(',')),
            ),
        ] {
            let value = values.join(",");
            if fits && value.len() <= LONGEST_LABEL {
                if !value.is_empty() {
                    builder = builder.label(label, value);
                }
            } else {
                left_out.push(label.to_owned());
            }
        }
        if !left_out.is_empty() {
            let left_out = left_out.join(", ");
            tracing::warn!(agent = %self.id, left_out, "a card has more than is mirrored of it");
        }
        builder.start().await
    }
}

/// The tags of a card that become capabilities.
fn tags(card: &DownstreamCard) -> impl Iterator<Item = &str> {
    let tags = card.tags.iter().map(String::as_str);
    tags.filter(|tag| tag.len() <= LONGEST_TAG).take(MOST_TAGS)
}

/// What of a card is over a limit here, for operators.
fn over_limits(card: &DownstreamCard) -> Vec<String> {
    let mut over = Vec::new();
    // Two of one name here are one skill, and one without letters is none.
    let lost = card.skills.len() - skills(card).count() + card.more_skills;
    if lost > 0 {
        over.push(format!("{lost} skills"));
    }
    let lost = card.tags.len() - tags(card).count();
    if lost > 0 {
        over.push(format!("{lost} tags"));
    }
    over
}

/// What a skill of ours is called where it is.
pub(super) fn theirs(card: &DownstreamCard, ours: &str) -> String {
    let found = skills(card).find(|(name, _)| name.as_str() == ours);
    found.map_or_else(|| ours.to_owned(), |(_, theirs)| theirs.id.clone())
}

/// The skills of a card by their names here, each once.
fn skills(card: &DownstreamCard) -> impl Iterator<Item = (SkillName, &AgentSkill)> {
    let mut seen = BTreeSet::new();
    card.skills.iter().filter_map(move |theirs| {
        let id = theirs.id.as_str();
        let ours = SkillName::new(id).or_else(|_other| SkillName::new(named(id))).ok()?;
        seen.insert(ours.clone()).then_some((ours, theirs))
    })
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// Keeps one agent elsewhere in the directory until `end`.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Arc<Hub>,
    pub(super) end: CancellationToken,
    live: Option<Live>,
    /// Agents that finish or give back what they hold.
    leaving: JoinSet<()>,
    tag: Option<String>,
    failures: u32,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, hub: Arc<Hub>, end: CancellationToken) -> Self {
        let (live, leaving, tag) = (None, JoinSet::new(), None);
        Self { shared, hub, end, live, leaving, tag, failures: 0 }
    }

    /// Begins with a card that was just read.
    ///
    /// # Errors
    /// The broker's refusal, such as that the agent is somebody else's.
    pub(super) async fn begin(
        &mut self,
        card: Arc<DownstreamCard>,
        tag: Option<String>,
    ) -> Result<(), Refusal> {
        self.tag = tag;
        self.show(card).await
    }

    /// Goes on until the end.
    pub(super) async fn run(mut self) {
        // What waited before a restart is watched again.
        tokio::spawn(self.shared.clone().watch_waiting());
        loop {
            let wait = self.wait();
            let end = self.end.clone();
            tokio::select! {
                () = end.cancelled() => break,
                () = self.shared.look.notified(), if self.live.is_some() => {}
                () = tokio::time::sleep(wait) => {}
                why = ended(self.live.as_ref()) => {
                    // Told to drain, or unregistered: it is back with the next look at its card.
                    self.live = None;
                    self.tag = None;
                    self.shared.troubled(&format!("its session has ended: {why}"));
                    continue;
                }
                Some(_left) = self.leaving.join_next() => continue,
            }
            tokio::select! {
                () = end.cancelled() => break,
                () = self.look() => {}
            }
        }
        self.leave(true);
        let left = async { while self.leaving.join_next().await.is_some() {} };
        // What is still unanswered then is noted as such.
        let _late = tokio::time::timeout(FAREWELL, left).await;
        self.shared.over.cancel();
    }

    /// How long until the card is read again.
    fn wait(&self) -> Duration {
        if self.failures == 0 {
            return self.shared.settings.refresh;
        }
        let grown = BACKOFF.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST);
        // Not all at once after something that many share was away.
        grown.mul_f64(fastrand::f64().mul_add(0.5, 0.75)).min(self.shared.settings.refresh)
    }

    /// Reads the card, and sees to it that the agent is as it says.
    pub(super) async fn look(&mut self) {
        let tag = self.live.as_ref().and(self.tag.as_deref());
        let read = self.shared.http.card(&self.shared.settings.url, tag).await;
        let shown = match read {
            Ok(Fetched::Same) => match self.live.as_ref().map(|live| live.card.clone()) {
                Some(card) => self.show(card).await.map_err(|refusal| refusal.message),
                None => Err("the card is said to be unchanged, although it was not read".into()),
            },
            Ok(Fetched::Card(card, tag)) => {
                self.tag = tag;
                self.show(card.into()).await.map_err(|refusal| refusal.message)
            }
            Err(why) => Err(why),
        };
        match shown {
            Ok(()) => self.failures = 0,
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                self.leave(true);
                self.shared.troubled(&why);
            }
        }
    }

    /// Has the agent be as its card has it.
    async fn show(&mut self, card: Arc<DownstreamCard>) -> Result<(), Refusal> {
        if self.live.as_ref().is_none_or(|live| live.card != card) {
            let stop = CancellationToken::new();
            let agent = self.shared.register(&self.hub, &card, stop.clone()).await?;
            // The one before finishes what it holds: its way of calling may be another one.
            self.leave(false);
            self.live = Some(Live { agent, card: card.clone(), stop });
        }
        self.shared.well(&card);
        Ok(())
    }

    /// The agent takes no more work, and gives back what it holds if it is to.
    fn leave(&mut self, at_once: bool) {
        let Some(Live { agent, stop, .. }) = self.live.take() else { return };
        if at_once {
            stop.cancel();
        }
        let end = self.end.clone();
        self.leaving.spawn(async move {
            let mut left = Box::pin(agent.stop());
            tokio::select! {
                () = &mut left => return,
                () = end.cancelled() => stop.cancel(),
            }
            left.await;
        });
    }
}

/// Why the session of an agent has ended.
async fn ended(live: Option<&Live>) -> Refusal {
    match live {
        Some(live) => live.agent.ended().await,
        None => std::future::pending().await,
    }
}

/// A refusal that names what is wrong with an agent elsewhere.
pub(super) fn refused(why: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Invalid, why.into())
}
