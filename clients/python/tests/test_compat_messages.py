"""Messages of the drop-in broker: what they are, and what they refuse."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import trunkline
from compat_tools import ME, asked, told, who
from trunkline.compat import (
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

YOU = who("you", "teller", "tell")


def test_a_message_comes_back_from_json_as_it_was() -> None:
    about = MessageMetadata(
        datetime(2026, 1, 2, 3, 4, 5, 6), MessagePriority.URGENT, "c", "r", 7, 2, {"h": [1, None]}
    )
    message = AgentMessage(ME, [YOU], MessageType.CONTEXT_SHARE, {"ä": {"b": 1.5}}, "m-1", about)
    back = AgentMessage.from_json(message.to_json())
    assert back == message
    assert back.recipients[0].capabilities == ["tell"]
    assert back.recipients[0].agent_type == "teller"
    assert message.to_dict()["metadata"]["priority"] == 3
    assert AgentMessage.from_dict(message.to_dict()) == message


def test_what_is_not_said_has_defaults() -> None:
    about = MessageMetadata()
    assert (about.priority, about.ttl_seconds, about.retry_count) == (
        MessagePriority.NORMAL,
        300,
        0,
    )
    assert (about.reply_to, about.headers) == (None, {})
    assert about.correlation_id != MessageMetadata().correlation_id
    assert [one.value for one in MessagePriority] == [0, 1, 2, 3]
    assert AgentStatus("busy") is AgentStatus.BUSY
    assert told(YOU, "a").message_id != told(YOU, "a").message_id


@pytest.mark.parametrize("zone", [None, timezone.utc])
def test_the_time_to_live_counts_from_the_timestamp(zone: timezone | None) -> None:
    now = datetime.now(zone)
    assert MessageMetadata(now - timedelta(seconds=11), ttl_seconds=10).is_expired()
    assert not MessageMetadata(now - timedelta(seconds=11), ttl_seconds=3600).is_expired()


def test_a_response_belongs_to_its_request() -> None:
    request = asked(YOU, priority=MessagePriority.HIGH, headers={"h": 1})
    response = request.create_response(YOU, {})
    assert response.is_response()
    assert (response.sender, response.recipients) == (YOU, [ME])
    about = response.metadata
    assert about.correlation_id == request.metadata.correlation_id
    assert (about.reply_to, about.priority) == (request.message_id, MessagePriority.HIGH)
    assert about.headers == {"h": 1}
    with pytest.raises(ValueError, match="no request"):
        response.create_response(ME, {})


def test_the_factories_make_what_they_are_named_for() -> None:
    request = create_request_message(ME, YOU, {"q": 1}, MessagePriority.LOW, 5)
    assert request.is_request()
    assert (request.metadata.priority, request.metadata.ttl_seconds) == (MessagePriority.LOW, 5)
    event = create_event_message(ME, "topic", {"a": 1})
    assert event.is_event()
    assert event.is_broadcast()
    assert event.payload == {"topic": "topic", "data": {"a": 1}}
    everybody = create_broadcast_message(ME, {"a": 1})
    assert everybody.message_type is MessageType.BROADCAST
    assert everybody.metadata.priority is MessagePriority.HIGH
    shared = create_context_share_message(ME, YOU, {"a": 1}, "kind")
    assert shared.message_type is MessageType.CONTEXT_SHARE
    assert shared.payload == {"context_type": "kind", "context_data": {"a": 1}}
    assert not shared.is_broadcast()


def test_agents_are_known_by_their_ids() -> None:
    assert who("a", "x") == who("a", "y")
    assert len({who("a", "x"), who("a", "y"), who("b")}) == 2
    assert AgentIdentity.from_dict(YOU.to_dict()).capabilities == ["tell"]


@pytest.mark.parametrize(
    "change",
    [
        {"message_type": "request"},
        {"sender": "me"},
        {"recipients": "you"},
        {"recipients": ["you"]},
    ],
)
def test_a_message_of_the_wrong_parts_is_refused(change: dict[str, Any]) -> None:
    parts: dict[str, Any] = {"sender": ME, "recipients": [YOU], "message_type": MessageType.EVENT}
    parts = {**parts, "payload": dict[str, Any](), **change}
    with pytest.raises(ValueError, match=r"has to be a") as caught:
        AgentMessage(**parts)
    assert isinstance(caught.value, trunkline.TrunklineError)


@pytest.mark.parametrize(
    "change", [{"priority": 2}, {"ttl_seconds": "5"}, {"timestamp": "now"}, {"headers": None}]
)
def test_metadata_of_the_wrong_parts_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(trunkline.errors.InvalidError, match=rf"{next(iter(change))} is a"):
        MessageMetadata(**change)


def test_what_is_no_message_says_why() -> None:
    with pytest.raises(ValueError, match="not a message"):
        AgentMessage.from_json("{")
    with pytest.raises(ValueError, match="has no 'sender'"):
        AgentMessage.from_dict({})
    message = told(YOU, "a")
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"deep": deep}
    for thing in (object(), deep):
        message.payload["thing"] = thing
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            message.to_json()
    with pytest.raises(ValueError, match="not a message"):
        AgentMessage.from_json("[" * 100_000)
