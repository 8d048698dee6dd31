"""A drop-in for the asyncio message broker that agents of one process share.

Read `AgentMessageBroker` first; `AgentCommunicationMixin` is for agent classes, and
`AgentSupervisor` for who asks several agents at once.
"""

from .broker import AgentMessageBroker
from .config import BrokerConfiguration
from .messages import (
    AgentIdentity,
    AgentMessage,
    AgentStatus,
    MessageMetadata,
    MessagePriority,
    MessageType,
    create_broadcast_message,
    create_context_share_message,
    create_event_message,
    create_request_message,
)
from .mixin import AgentCommunicationMixin
from .supervisor import AgentSupervisor, Gathering

__all__ = [
    "AgentCommunicationMixin",
    "AgentIdentity",
    "AgentMessage",
    "AgentMessageBroker",
    "AgentStatus",
    "AgentSupervisor",
    "BrokerConfiguration",
    "Gathering",
    "MessageMetadata",
    "MessagePriority",
    "MessageType",
    "create_broadcast_message",
    "create_context_share_message",
    "create_event_message",
    "create_request_message",
]
