"""MessagePack, by the package `msgpack`."""

from __future__ import annotations

from typing import Any

from ._optional import needed
from .errors import PayloadError

TYPE = "application/msgpack"

_TYPES = (TYPE, "application/x-msgpack", "application/vnd.msgpack")


def is_msgpack(content_type: str) -> bool:
    """Whether a media type is one of those under which MessagePack travels."""
    return content_type.partition(";")[0].strip().lower() in _TYPES


def packed(value: Any) -> bytes:
    """The bytes of a value."""
    msgpack = needed("MessagePack", "msgpack")
    try:
        return msgpack.packb(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError(
            f"a {type(value).__name__} cannot be sent as MessagePack: {error}; send what "
            "MessagePack has"
        ) from error


def unpacked(data: bytes) -> Any:
    """The value that some bytes stand for."""
    msgpack = needed("MessagePack", "msgpack")
    try:
        # Other languages have maps with numbers as keys.
        return msgpack.unpackb(data, strict_map_key=False)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        what = f"{len(data)} bytes beginning with {data[:32]!r} are" if data else "no bytes are"
        raise PayloadError(f"{what} no MessagePack: {error}") from error
