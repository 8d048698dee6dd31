//! What is compared: one kind of work, and one rival that does it too.

use serde::Serialize;

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Messages to one receiver.
    Oneway,
    /// Messages to a thousand receivers, from four senders.
    Agents,
    /// Requests with replies, so many in flight.
    Request(u32),
    /// Each message to a hundred receivers.
    Fanout,
    /// The same, where Trunkline's receivers are subscriptions of sessions: they hold no lease, and
    /// acknowledge what they have taken together.
    FanoutSessions,
    /// Kept, delivered, completed.
    Durable,
    /// Kept, one after another.
    Accept,
}

/// When what is kept reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flush {
    /// Now and then, as the rival does when nothing is said, or advises.
    Later,
    /// Before it is acknowledged.
    Always,
}

/// How a call of bare gRPC goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// Each message is a call of its own.
    Unary,
    /// All go over one call, in a frame each.
    Stream,
}

/// Who else does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rival {
    /// Tokio's own channels.
    Channel,
    Kameo,
    Ractor,
    /// NATS without a memory.
    Nats,
    JetStream(Flush),
    Redis(Flush),
    RabbitMq,
    /// The library that carries Trunkline's gRPC and nothing else: a server that sends back what it
    /// gets. One way between two processes instead of two, so it is a limit rather than a rival.
    Tonic(Call),
}

/// Work and rival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) rival: Rival,
    /// How Trunkline's messages travel, if they do.
    pub(crate) transport: Transport,
}

/// A transport of Trunkline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// Its own framing, which its clients choose by themselves.
    Framed,
    Grpc,
}

/// Which figure decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// How many a second; more is better.
    PerSecond,
    /// The median time of one in microseconds; less is better.
    MedianMicros,
}

/// How many senders the work with a thousand receivers has.
pub(crate) const SENDERS: u32 = 4;
/// How many receivers it has.
pub(crate) const RECEIVERS: u32 = 1_000;
/// To how many receivers each message goes in a fan-out.
pub(crate) const COPIES: u32 = 100;

impl Row {
    /// Every row, in the order of the table.
    pub(crate) fn all() -> Vec<Self> {
        let mut rows = Vec::new();
        let mut add = |works: &[Work], rivals: &[Rival], transports: &[Transport]| {
            for &work in works {
                for &transport in transports {
                    let row = |&rival: &Rival| Self { work, rival, transport };
                    rows.extend(rivals.iter().map(row));
                }
            }
        };
        let (own, both) = ([Transport::Framed], [Transport::Framed, Transport::Grpc]);
        let works = [Work::Oneway, Work::Agents, Work::Request(1), Work::Request(64)];
        add(&works, &[Rival::Kameo, Rival::Ractor, Rival::Channel], &own);
        let requests = [1, 64, 256].map(Work::Request);
        let fanouts = [Work::Fanout, Work::FanoutSessions];
        add(&[&[Work::Oneway][..], &requests, &fanouts].concat(), &[Rival::Nats], &both);
        let grpc = [Transport::Grpc];
        add(&[Work::Oneway], &[Rival::Tonic(Call::Stream)], &grpc);
        add(&requests, &[Rival::Tonic(Call::Unary), Rival::Tonic(Call::Stream)], &grpc);
        let durable = [
            Rival::JetStream(Flush::Later),
            Rival::JetStream(Flush::Always),
            Rival::Redis(Flush::Later),
            Rival::Redis(Flush::Always),
            Rival::RabbitMq,
        ];
        add(&[Work::Durable, Work::Accept], &durable, &own);
        let flushed = [Rival::JetStream(Flush::Always), Rival::Redis(Flush::Always)];
        add(&[Work::Durable, Work::Accept], &flushed, &[Transport::Grpc]);
        rows
    }

    /// What it is called: what Trunkline does, and who else.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.work_name(), self.rival.name())
    }

    /// Whether somebody means this row, or all of its kind, by a name.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        name == self.name() || name == self.work_name() || name == self.rival.name()
    }

    fn work_name(&self) -> String {
        let grpc = if self.transport == Transport::Grpc { "-grpc" } else { "" };
        format!("{}{grpc}", self.plain_work_name())
    }

    fn plain_work_name(&self) -> String {
        let here = self.rival.is_in_process();
        match self.work {
            Work::Oneway if here => "inproc".to_owned(),
            Work::Agents => "inproc-agents".to_owned(),
            Work::Request(many) if here => format!("inproc-request-{many}"),
            Work::Oneway => "oneway".to_owned(),
            Work::Request(many) => format!("request-{many}"),
            Work::Fanout => "fanout".to_owned(),
            Work::FanoutSessions => "fanout-sessions".to_owned(),
            Work::Durable => "durable".to_owned(),
            Work::Accept => "durable-accept".to_owned(),
        }
    }

    /// What is done, in words.
    pub(crate) fn title(&self) -> String {
        let place = match self.transport {
            _ if self.rival.is_in_process() => "in process",
            Transport::Framed => "framed",
            Transport::Grpc => "over gRPC",
        };
        match self.work {
            Work::Oneway => format!("one way, {place}"),
            Work::Agents => format!("one way to {RECEIVERS} from {SENDERS} senders, {place}"),
            Work::Request(many) => format!("request and reply, {many} in flight, {place}"),
            Work::Fanout => format!("one to {COPIES}, {place}"),
            Work::FanoutSessions => format!("one to {COPIES} sessions, {place}"),
            Work::Durable => format!("durable: submitted, delivered, completed, {place}"),
            Work::Accept => format!("durable: accepted, one in flight, {place}"),
        }
    }

    /// What decides: with one in flight how long it takes, otherwise how many are done.
    pub(crate) fn figure(&self) -> Figure {
        match self.work {
            Work::Request(1) | Work::Accept => Figure::MedianMicros,
            _ => Figure::PerSecond,
        }
    }

    /// What Trunkline's benchmark is asked for.
    pub(crate) fn bench(&self) -> Vec<String> {
        let words: &[&str] = match (self.work, self.rival.is_in_process()) {
            (Work::Oneway, true) => &["inproc"],
            (Work::Oneway, false) => &["oneway"],
            (Work::Agents, _) => &["inproc-agents"],
            (Work::Request(_), true) => &["inproc-request"],
            (Work::Request(_), false) => &["request"],
            (Work::Fanout, _) => &["fanout"],
            (Work::FanoutSessions, _) => &["fanout-sessions"],
            (Work::Durable, _) => &["durable"],
            (Work::Accept, _) => &["durable-accept"],
        };
        let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        if let Work::Request(many) = self.work {
            words.extend(["--in-flight".to_owned(), many.to_string()]);
        }
        if !self.rival.is_in_process() {
            let transport = if self.transport == Transport::Grpc { "grpc" } else { "framed" };
            words.extend(["--transport", transport].map(str::to_owned));
        }
        words
    }

    /// Whether both sides need a disk.
    pub(crate) fn is_durable(&self) -> bool {
        matches!(self.work, Work::Durable | Work::Accept)
    }
}

impl Rival {
    /// What it is called in the name of a row.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Channel => "tokio-mpsc",
            Self::Kameo => "kameo",
            Self::Ractor => "ractor",
            Self::Nats => "nats",
            Self::JetStream(Flush::Later) => "jetstream",
            Self::JetStream(Flush::Always) => "jetstream-always",
            Self::Redis(Flush::Later) => "redis-everysec",
            Self::Redis(Flush::Always) => "redis-always",
            Self::RabbitMq => "rabbitmq",
            Self::Tonic(Call::Unary) => "tonic-unary",
            Self::Tonic(Call::Stream) => "tonic-stream",
        }
    }

    /// Whether it is a library rather than a server.
    pub(crate) fn is_in_process(self) -> bool {
        matches!(self, Self::Channel | Self::Kameo | Self::Ractor)
    }
}
