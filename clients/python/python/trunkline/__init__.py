"""Work between AI agents: agents and clients of Trunkline, and the whole broker in process.

Read `Agent` first, then `connect` and `Broker`, which are where work comes from.
"""

from . import errors
from ._agent import Agent
from ._client import Broker, Client, connect
from ._ends import AuthRequired, DeadLetter, Fail, HandlerEnd, InputRequired, Reject, Retry
from ._native import VERSION as __version__
from ._payload import MessagePack, Payload
from ._processes import Message
from ._speak import SendOptions
from ._streams import Subscription, Watch
from ._task import Task, current_task
from ._values import (
    Acceptance,
    BatchOutcome,
    AgentInfo,
    ArtifactUpdate,
    Event,
    GapUpdate,
    Gathered,
    MessageUpdate,
    ProgressUpdate,
    Reply,
    StatusUpdate,
    TaskInfo,
    TaskState,
    Update,
)
from .errors import TrunklineError

__all__ = [
    "Acceptance",
    "BatchOutcome",
    "Agent",
    "AgentInfo",
    "ArtifactUpdate",
    "AuthRequired",
    "Broker",
    "Client",
    "DeadLetter",
    "Event",
    "Fail",
    "GapUpdate",
    "Gathered",
    "HandlerEnd",
    "InputRequired",
    "Message",
    "MessagePack",
    "MessageUpdate",
    "Payload",
    "ProgressUpdate",
    "Reject",
    "Reply",
    "Retry",
    "SendOptions",
    "StatusUpdate",
    "Subscription",
    "Task",
    "TaskInfo",
    "TaskState",
    "TrunklineError",
    "Update",
    "Watch",
    "__version__",
    "connect",
    "current_task",
    "errors",
]
