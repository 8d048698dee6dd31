"""Work between AI agents: agents and clients of Trunkline, and the whole broker in process.

Read `Agent` first, then `connect` and `Broker`, which are where work comes from.
"""

from . import errors
from ._agent import Agent
from ._client import Broker, Client, connect
from ._ends import AuthRequired, DeadLetter, Fail, HandlerEnd, InputRequired, Reject, Retry
from ._listed import (
    AttemptNote,
    ContextInfo,
    CopyInfo,
    DeadLetterInfo,
    History,
    HistoryMessage,
    MessageInfo,
    ScheduleInfo,
)
from ._native import VERSION as __version__
from ._payload import MessagePack, Payload
from ._processes import Message
from ._settings import BrokerSettings, LimitSettings, LogSettings
from ._speak import SendOptions
from ._stats import (
    AgentStats,
    Counters,
    Gauges,
    InboxEffective,
    InboxInfo,
    InboxStats,
    LogStats,
    Stats,
    WorkerStats,
)
from ._streams import AgentWatch, Subscription, Watch
from ._task import Task, current_task
from ._values import (
    Acceptance,
    AgentInfo,
    AgentNews,
    ArtifactUpdate,
    BatchOutcome,
    BreakerInfo,
    Event,
    GapUpdate,
    Gathered,
    MessageUpdate,
    ProgressUpdate,
    Reply,
    SkillSchemas,
    StatusUpdate,
    TaskInfo,
    TaskState,
    Update,
)
from .errors import TrunklineError

__all__ = [
    "Acceptance",
    "Agent",
    "AgentInfo",
    "AgentNews",
    "AgentStats",
    "AgentWatch",
    "ArtifactUpdate",
    "AttemptNote",
    "AuthRequired",
    "BatchOutcome",
    "BreakerInfo",
    "Broker",
    "BrokerSettings",
    "Client",
    "ContextInfo",
    "CopyInfo",
    "Counters",
    "DeadLetter",
    "DeadLetterInfo",
    "Event",
    "Fail",
    "GapUpdate",
    "Gathered",
    "Gauges",
    "HandlerEnd",
    "History",
    "HistoryMessage",
    "InboxEffective",
    "InboxInfo",
    "InboxStats",
    "InputRequired",
    "LimitSettings",
    "LogSettings",
    "LogStats",
    "Message",
    "MessageInfo",
    "MessagePack",
    "MessageUpdate",
    "Payload",
    "ProgressUpdate",
    "Reject",
    "Reply",
    "Retry",
    "ScheduleInfo",
    "SendOptions",
    "SkillSchemas",
    "Stats",
    "StatusUpdate",
    "Subscription",
    "Task",
    "TaskInfo",
    "TaskState",
    "TrunklineError",
    "Update",
    "Watch",
    "WorkerStats",
    "__version__",
    "connect",
    "current_task",
    "errors",
]
