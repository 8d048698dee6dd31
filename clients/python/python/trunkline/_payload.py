"""Values and payloads: what is sent as what, and what is read back."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _msgpack
from .errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

try:
    import orjson  # pyright: ignore[reportMissingImports]
except ImportError:
    orjson = None


def _dumped(value: Any) -> Any:
    """What JSON has, of something that it has not: a model of pydantic's, if there are such."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _fast_dumps(value: Any) -> bytes:
    assert orjson is not None
    return orjson.dumps(value, _dumped)


def _plain_dumps(value: Any) -> bytes:
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_dumped
    )
    return text.encode()


_dumps: Callable[[Any], bytes] = _plain_dumps if orjson is None else _fast_dumps
_loads: Callable[[bytes], Any] = json.loads if orjson is None else orjson.loads


@dataclass(slots=True)
class Payload:
    """Bytes and what they are."""

    data: bytes
    """The bytes."""
    content_type: str = ""
    """A media type such as `application/json`; empty when nothing is said."""

    @property
    def text(self) -> str:
        """The bytes read as UTF-8, with a replacement character for what is not."""
        return self.data.decode(errors="replace")

    @property
    def json(self) -> Any:
        """The bytes read as JSON.

        Raises:
            PayloadError: They are no JSON.
        """
        return from_json(self.data)

    @property
    def msgpack(self) -> Any:
        """The bytes read as MessagePack, which needs the package `msgpack`.

        Raises:
            PayloadError: They are no MessagePack.
            MissingPackageError: `msgpack` is not installed.
        """
        return _msgpack.unpacked(self.data)


class MessagePack(Payload):
    """A value as MessagePack: `await client.send("skill:x", trunkline.MessagePack({"a": 1}))`.

    It needs the package `msgpack`, which `trunkline[msgpack]` installs.
    """

    __slots__ = ()

    def __init__(self, value: Any) -> None:
        """Packs a value.

        Raises:
            PayloadError: MessagePack has no such value.
            MissingPackageError: `msgpack` is not installed.
        """
        super().__init__(_msgpack.packed(value), _msgpack.TYPE)


def from_json(data: bytes) -> Any:
    """The value that some JSON stands for."""
    try:
        return _loads(data)
    except (ValueError, RecursionError) as error:
        what = f"{len(data)} bytes beginning with {data[:32]!r} are" if data else "no bytes are"
        raise PayloadError(f"{what} no JSON: {error}") from error


def to_payload(value: Any) -> tuple[bytes, str]:
    """The bytes and the media type of a value.

    Bytes go as they are, a `str` as text, a `Payload` as what it says, `None` as nothing, and
    everything else as JSON.
    """
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is bytes:
        return value, ""
    if kind is str:
        return _encoded(value), TEXT
    if value is None:
        return b"", ""
    if isinstance(value, Payload):
        return value.data, value.content_type
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), ""  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, str):
        return _encoded(value), TEXT
    if inspect.isawaitable(value):
        close = getattr(value, "close", None)
        if close is not None:
            # Nobody will await it now.
            close()
        raise PayloadError(f"a {kind.__name__} cannot be sent; await it and send what it returns")
    return _json(value), JSON


def json_payload(value: Any) -> Payload:
    """A value as JSON, whatever it is."""
    return Payload(_json(value), JSON)


def _json(value: Any) -> bytes:
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(
            f"a {type(value).__name__} cannot be sent as JSON: {error}; send what JSON has, bytes "
            "or str"
        ) from error


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"a text cannot be sent: {error}; send its bytes") from error
