//! Defects that can be planted to prove that the simulator finds them. Without the feature
//! `defects` none of this is compiled in.

/// One planted defect. Each breaks a law of the engine.
#[cfg_attr(not(feature = "defects"), allow(dead_code, unreachable_pub))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// Acceptance is told before its record is flushed.
    AcceptBeforeFlush,
    /// An envelope is delivered before its record is flushed.
    DeliverBeforeFlush,
    /// A reply is sent before the settlement is flushed.
    ReplyBeforeFlush,
    /// A query shows what is not yet flushed.
    ReadBeforeFlush,
    /// A token stays good after a newer one was granted.
    SkippedFence,
    /// A retried envelope never becomes due.
    LostRetry,
    /// A lane is now and then served from its end.
    LaneOutOfOrder,
    /// A timer is now and then forgotten.
    MissedTimer,
    /// An operation sent again is done again.
    RepeatedOperation,
    /// Tokens start over after a restart.
    RepeatedToken,
    /// A failed attempt is not counted.
    UncountedAttempt,
    /// A lease is not recorded.
    UnrecordedLease,
    /// A settlement is not recorded.
    UnrecordedSettlement,
    /// The broker's own absence runs down the leases.
    CountedAbsence,
    /// An expired envelope is not counted.
    UncountedExpiry,
    /// An event of a task skips a number.
    SkippedNumber,
    /// An idempotency key is forgotten at a restart.
    ForgottenKey,
    /// Two envelopes with one ordering key are in flight at once.
    IgnoredOrderingKey,
    /// An agent that an operator drains still gets work.
    IgnoredDrain,
    /// An open circuit breaker still lets work through.
    IgnoredBreaker,
    /// A priority that is bound to a label is delivered to anybody.
    IgnoredBinding,
    /// What was set about an agent is forgotten at a restart.
    ForgottenControl,
    /// A schedule fires again after a restart.
    RepeatedFiring,
    /// A due time of a schedule is now and then skipped.
    LostFiring,
    /// An answer is now and then dropped from what was gathered.
    GatherForgets,
    /// An idempotency key that has left memory is not found.
    IndexedKeyForgotten,
    /// A subscription gets events that its filter does not want.
    IgnoredFilter,
    /// An event goes to every member of a group.
    GroupToAll,
    /// An event that waits for its time or for a subscriber is forgotten at a restart.
    LostPending,
    /// An event that is dropped for a newer one is neither counted nor told.
    UntoldDrop,
    /// A publish overtakes those that wait outside a full inbox.
    WaiterOvertaken,
    /// Cleaning now and then forgets to carry an entry forward.
    ForgottenCarry,
    /// Old records are given up before what says them again is flushed.
    EarlyRemoval,
    /// Weighted routing draws all agents alike.
    IgnoredWeight,
    /// By hash, a key now and then falls to another agent than before.
    WrongMember,
    /// The heaviest loaded is taken for the lightest.
    HeaviestFirst,
    /// By turns, the same one gets several deliveries in a row.
    RepeatedTurn,
    /// A continued task goes to anybody.
    ForgottenHolder,
    /// The limit that is set for an inbox is ignored.
    IgnoredLimit,
    /// An inbox is full one envelope before its limit.
    FullTooSoon,
    /// An idempotency key more than there may be is accepted.
    IgnoredKeyCap,
    /// A repeat of a known idempotency key is refused once there are as many keys as may be.
    CapBeforeRepeat,
    /// A delivery no longer says what its envelope answers.
    LostCorrelation,
    /// An agent's id is given to whoever asks for it.
    TakenIdentity,
    /// Once enough have answered, the others are not told to stop.
    RestGoesOn,
    /// Calling off a message with its descendants leaves one out.
    SparedDescendant,
    /// A dead letter is kept for longer than it may be.
    KeptTooLong,
    /// The directory is shown without regard to types, capabilities and labels.
    UnfilteredDirectory,
    /// A circuit breaker that is half-open lets everything through.
    EndlessProbes,
    /// Deliveries go on while the log is as far behind as it may be.
    IgnoredCongestion,
    /// Who waits outside a full inbox is refused after half of the time.
    WaitCutShort,
    /// What an inbox says of how long its messages live is ignored.
    ImmortalMessages,
    /// A request to several takes in more bytes of answers than it may.
    UnboundedAnswers,
    /// Nobody is told that an inbox fills.
    UntoldPressure,
    /// A lane whose first payload is out is served from behind it.
    SpilledOvertaken,
    /// A payload that comes back is not counted as in memory.
    UncountedReturn,
    /// What was said again in parts is looked for where its last part is.
    MisplacedPayload,
    /// What left memory in a replay is never asked for.
    FirstNotAsked,
    /// An entry whose payload cannot be read is gone without a record.
    SilentLoss,
    /// A payload that cannot be read is asked for again, over and over.
    RetriedReading,
    /// Cleaning leaves out what is spilled, for that is on disk.
    SpilledNotCarried,
    /// A lower bound on payloads in memory lets go of none.
    IgnoredMemoryBound,
    /// While payloads are out the highest priority that has one is always served.
    UnfairWhenSpilled,
    /// The index gets a task whose payload has left memory as it is there.
    StubHandedOver,
    /// An ended task leaves memory before the index has it.
    ForgottenUnindexed,
    /// A replay hands a task over once more when it is said again.
    HandedTwice,
    /// A task is handed over before its result is noted.
    ResultNotIndexed,
    /// The cursor of a full page names the task that did not fit.
    SkippedAtSeam,
    /// A page begins with the task that its cursor names.
    RepeatedAtSeam,
    /// Who follows a task that has left memory is told nothing.
    UntoldPast,
    /// A task that has left memory can be called off.
    PastCalledOff,
    /// There are more dead letters than may be.
    IgnoredLetterBound,
    /// A dead letter that goes for a newer one is not counted.
    UncountedLetter,
    /// A logged envelope goes to more inboxes than it may.
    IgnoredCopyBound,
    /// Who misses an event for there are too many who want it is not told.
    UntoldCut,
    /// A delay follows the clock on the wall.
    DelayByTheWall,
}

impl Defect {
    /// Every defect.
    #[cfg(feature = "defects")]
    pub const ALL: &'static [Self] = &[
        Self::AcceptBeforeFlush,
        Self::DeliverBeforeFlush,
        Self::ReplyBeforeFlush,
        Self::ReadBeforeFlush,
        Self::SkippedFence,
        Self::LostRetry,
        Self::LaneOutOfOrder,
        Self::MissedTimer,
        Self::RepeatedOperation,
        Self::RepeatedToken,
        Self::UncountedAttempt,
        Self::UnrecordedLease,
        Self::UnrecordedSettlement,
        Self::CountedAbsence,
        Self::UncountedExpiry,
        Self::SkippedNumber,
        Self::ForgottenKey,
        Self::IgnoredOrderingKey,
        Self::IgnoredDrain,
        Self::IgnoredBreaker,
        Self::IgnoredBinding,
        Self::ForgottenControl,
        Self::RepeatedFiring,
        Self::LostFiring,
        Self::GatherForgets,
        Self::IndexedKeyForgotten,
        Self::IgnoredFilter,
        Self::GroupToAll,
        Self::LostPending,
        Self::UntoldDrop,
        Self::WaiterOvertaken,
        Self::ForgottenCarry,
        Self::EarlyRemoval,
        Self::IgnoredWeight,
        Self::WrongMember,
        Self::HeaviestFirst,
        Self::RepeatedTurn,
        Self::ForgottenHolder,
        Self::IgnoredLimit,
        Self::FullTooSoon,
        Self::IgnoredKeyCap,
        Self::CapBeforeRepeat,
        Self::LostCorrelation,
        Self::TakenIdentity,
        Self::RestGoesOn,
        Self::SparedDescendant,
        Self::KeptTooLong,
        Self::UnfilteredDirectory,
        Self::EndlessProbes,
        Self::IgnoredCongestion,
        Self::WaitCutShort,
        Self::ImmortalMessages,
        Self::UnboundedAnswers,
        Self::UntoldPressure,
        Self::SpilledOvertaken,
        Self::UncountedReturn,
        Self::MisplacedPayload,
        Self::FirstNotAsked,
        Self::SilentLoss,
        Self::RetriedReading,
        Self::SpilledNotCarried,
        Self::IgnoredMemoryBound,
        Self::UnfairWhenSpilled,
        Self::StubHandedOver,
        Self::ForgottenUnindexed,
        Self::HandedTwice,
        Self::ResultNotIndexed,
        Self::SkippedAtSeam,
        Self::RepeatedAtSeam,
        Self::UntoldPast,
        Self::PastCalledOff,
        Self::IgnoredLetterBound,
        Self::UncountedLetter,
        Self::IgnoredCopyBound,
        Self::UntoldCut,
        Self::DelayByTheWall,
    ];
}
