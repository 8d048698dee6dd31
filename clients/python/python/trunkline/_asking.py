"""Questions to a broker: what it lists, what it looks up, and its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ._listed import (
    ContextInfo,
    DeadLetterInfo,
    MessageInfo,
    ScheduleInfo,
    to_context,
    to_letter,
    to_message,
    to_schedule,
)
from ._loop import current
from ._pages import Pages
from ._spans import Moment, moment
from ._stats import InboxInfo, Stats, to_inbox, to_stats
from ._streams import AgentWatch
from ._texts import pairs, texts
from ._values import AgentInfo, TaskInfo, TaskState, to_agent, to_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from typing import Literal

    from . import _native

T = TypeVar("T")


class Asks:
    """What can be asked of a broker."""

    __slots__ = ()

    def _speaks(self) -> _native.Host:
        raise NotImplementedError

    async def _ask(self, what: str, **wanted: Any) -> Any:
        return await current().call(self._speaks().query, what, wanted)

    def _list(
        self,
        what: str,
        limit: int | None,
        wanted: dict[str, Any],
        to: Callable[[dict[str, Any]], T],
    ) -> AsyncIterator[T]:
        return Pages(self._speaks(), what, _said(wanted), limit, to)

    async def task(self, id: str, *, history: int | None = 0) -> TaskInfo:  # noqa: A002
        """A task as it stands.

        Args:
            id: Which task.
            history: How many of its latest messages to tell with it; `None` for all that are kept.

        Raises:
            NotFoundError: There is none of this id.
        """
        return to_task(await self._ask("task", id=id, history=history))

    def tasks(
        self,
        *,
        states: Iterable[TaskState] | None = None,
        skill: str | None = None,
        agent: str | None = None,
        context: str | None = None,
        root: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        changed_since: Moment | None = None,
        except_agents: Iterable[str] | None = None,
        by_change: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[TaskInfo]:
        """Tasks, newest first. What is set narrows the list.

        Args:
            states: Only tasks in one of these states.
            skill: Only tasks sent to this skill.
            agent: Only tasks sent to this agent, or held by it now or last.
            context: Only tasks of this conversation.
            root: Only this task and its descendants.
            since: Only tasks that were accepted at this time or later.
            until: Only tasks that were accepted before this time.
            changed_since: Only tasks whose state changed last at this time or later.
            except_agents: No tasks sent to one of these agents, or held by one; at most 8.
            by_change: Latest change first instead of newest first.
            limit: At most so many.
        """
        wanted = {
            "states": None if states is None else texts("states", states),
            "skill": skill,
            "agent": agent,
            "context": context,
            "root": root,
            "since": moment(since),
            "until": moment(until),
            "changed_since": moment(changed_since),
            "except_agents": None
            if except_agents is None
            else texts("except_agents", except_agents),
            "by_change": by_change,
        }
        return self._list("tasks", limit, wanted, to_task)

    async def message(self, id: str) -> MessageInfo:  # noqa: A002
        """A message of any kind: where each of its copies is, or how it ended.

        Raises:
            NotFoundError: There is none of this id, or its end is no longer remembered.
        """
        return to_message(await self._ask("message", id=id))

    async def context(self, id: str, *, history: int | None = None) -> ContextInfo:  # noqa: A002
        """A conversation: the tasks that were sent with the same `context`.

        Args:
            id: Which conversation.
            history: How many of its latest messages to tell; `None` for all that are kept.

        Raises:
            NotFoundError: No task of it is kept.
        """
        return to_context(await self._ask("context", id=id, history=history))

    def agents(
        self,
        *,
        id: str | None = None,  # noqa: A002
        skill: str | None = None,
        type: str | None = None,  # noqa: A002
        capability: str | None = None,
        labels: Mapping[str, str] | None = None,
        presence: Literal["starting", "ready", "busy", "draining", "offline"] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AgentInfo]:
        """The agents of the directory in the order of their ids. What is set narrows the list.

        Args:
            id: Only this agent.
            skill: Only agents that offer it.
            type: Only agents of this type.
            capability: Only agents with this capability.
            labels: Only agents with all of these labels.
            presence: Only agents that are so present.
            limit: At most so many.
        """
        wanted = _of_agents(id, skill, type, capability, labels)
        wanted["presence"] = presence
        return self._list("agents", limit, wanted, to_agent)

    def watch_agents(
        self,
        *,
        id: str | None = None,  # noqa: A002
        skill: str | None = None,
        type: str | None = None,  # noqa: A002
        capability: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AgentWatch:
        """Follows the directory, as an async iterator: who is there, then what changes.

        Args:
            id: As for `agents`.
            skill: As for `agents`.
            type: As for `agents`.
            capability: As for `agents`.
            labels: As for `agents`.
        """
        return AgentWatch(self._speaks(), _said(_of_agents(id, skill, type, capability, labels)))

    def dead_letters(
        self,
        *,
        id: str | None = None,  # noqa: A002
        inbox: str | None = None,
        agent: str | None = None,
        reason: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[DeadLetterInfo]:
        """Dead letters, newest first. What is set narrows the list.

        Args:
            id: Only those of this message.
            inbox: Only those that died in this inbox: `skill:NAME` or `agent:ID`.
            agent: Only those that this agent attempted.
            reason: Only those whose reason contains this text.
            since: Only those that died at this time or later.
            until: Only those that died before this time.
            limit: At most so many.
        """
        wanted = {
            "id": id,
            "inbox": inbox,
            "agent": agent,
            "reason": reason,
            "since": moment(since),
            "until": moment(until),
        }
        return self._list("dead_letters", limit, wanted, to_letter)

    def schedules(
        self, *, name: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ScheduleInfo]:
        """Schedules in the order of their names.

        Args:
            name: Only this one.
            limit: At most so many.
        """
        return self._list("schedules", limit, {"name": name}, to_schedule)

    async def inbox(self, address: str) -> InboxInfo:
        """An inbox as it stands: `skill:NAME` or `agent:ID`.

        Raises:
            NotFoundError: Nothing was ever sent there, set about it, or taken from it.
        """
        return to_inbox(await self._ask("inbox", address=address))

    async def stats(self) -> Stats:
        """The broker's figures."""
        return to_stats(await self._ask("stats"))


def _said(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def _of_agents(
    id: str | None,  # noqa: A002
    skill: str | None,
    type: str | None,  # noqa: A002
    capability: str | None,
    labels: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {
        "id": id,
        "skill": skill,
        "type": type,
        "capability": capability,
        "labels": None if labels is None else pairs("labels", labels),
    }
