"""What values have to fit: models of pydantic's and JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from . import _msgpack
from ._optional import needed
from ._payload import Payload, from_json, json_payload
from .errors import InvalidError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema: TypeAlias = "Mapping[str, Any]"
"""A JSON Schema."""

_MOST = 5
"""How many faults are told at most."""


class Model:
    """A type of pydantic's."""

    def __init__(self, annotation: Any) -> None:
        """For an annotation that is a model or made of models."""
        pydantic = needed("a model", "pydantic")
        self._adapter: Any = pydantic.TypeAdapter(annotation)
        self._error: Any = pydantic.ValidationError
        self._name = getattr(annotation, "__name__", None) or str(annotation)

    def published(self, mode: Literal["validation", "serialization"]) -> str | None:
        """The JSON Schema of what is taken or given; `None` if pydantic has none for it."""
        pydantic = needed("a model", "pydantic")

        class Quiet(pydantic.json_schema.GenerateJsonSchema):
            # A default that is no JSON is left out, which is nothing to warn of.
            ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})

        try:
            return _text(self._adapter.json_schema(mode=mode, schema_generator=Quiet))
        except (pydantic.errors.PydanticUserError, TypeError, ValueError):
            return None

    def parsed(self, value: Json | Any) -> Any:
        """What the handler gets.

        Raises:
            PayloadError: It does not fit.
        """
        try:
            if isinstance(value, Json):
                return self._adapter.validate_json(value.data)
            return self._adapter.validate_python(value)
        except self._error as error:
            raise PayloadError(self._told(error)) from None

    def sent(self, value: Any) -> Payload:
        """What is sent of what the handler returns.

        Raises:
            PayloadError: It does not fit.
        """
        try:
            valid = self._adapter.validate_python(value)
            # An instance may have been changed into what does not fit since it was made.
            data = self._adapter.dump_json(valid, by_alias=True, warnings="error")
        except self._error as error:
            raise PayloadError(self._told(error)) from None
        except ValueError as error:
            raise PayloadError(f"does not fit {self._name}: {error}") from None
        return Payload(data, "application/json")

    def _told(self, error: Any) -> str:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return _faults(self._name, ((it["loc"], it["msg"]) for it in faults), len(faults))


def _is_named(schema: Any) -> bool:
    """Whether something is a dictionary with texts as keys, and as what `$schema` names."""
    if not isinstance(schema, Mapping):
        return False
    known: Mapping[Any, Any] = schema  # pyright: ignore[reportUnknownVariableType]
    return all(isinstance(key, str) for key in known) and isinstance(known.get("$schema", ""), str)


class JsonSchema:
    """A JSON Schema."""

    def __init__(self, what: str, schema: Schema) -> None:
        """For the schema that was given as the argument `what`.

        Raises:
            InvalidError: It is none.
        """
        if not _is_named(schema):
            raise InvalidError(
                f"{what} is no JSON Schema: {schema!r:.100}; it is a dictionary with texts as "
                "keys, and what `$schema` names is a text"
            )
        jsonschema = needed(f"{what}=", "jsonschema")
        kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            where = ".".join(map(str, error.absolute_path)) or "the whole"
            raise InvalidError(f"{what} is no JSON Schema: {where}: {error.message}") from None
        try:
            self._text = _text(schema)
        except (TypeError, ValueError) as error:
            raise InvalidError(f"{what} is no JSON Schema: it is no JSON: {error}") from None
        # What a schema refers to is not fetched from anywhere.
        registry = needed(f"{what}=", "jsonschema_specifications").REGISTRY
        self._unknown: Any = needed(f"{what}=", "referencing").exceptions.Unresolvable
        self._validator: Any = kind(schema, registry=registry)
        self._name = str(schema.get("title", "its schema"))

    def published(self, _mode: Literal["validation", "serialization"]) -> str:
        """The schema."""
        return self._text

    def parsed(self, value: Json | Any) -> Any:
        """What the handler gets.

        Raises:
            PayloadError: It does not fit.
        """
        if isinstance(value, Json):
            try:
                value = from_json(value.data)
            except PayloadError as error:
                raise PayloadError(f"does not fit {self._name}: {error}") from None
        self._check(value)
        return value

    def sent(self, value: Any) -> Payload:
        """What is sent of what the handler returns.

        Raises:
            PayloadError: It does not fit.
        """
        try:
            payload = value if isinstance(value, Payload) else json_payload(value)
        except PayloadError as error:
            raise PayloadError(f"does not fit {self._name}: {error}") from None
        self.parsed(read(payload.data, payload.content_type))
        return payload

    def _check(self, value: Any) -> None:
        try:
            faults: list[Any] = list(islice(self._validator.iter_errors(value), _MOST + 1))
        except self._unknown as error:
            raise PayloadError(
                f"cannot be checked: its schema refers to what it does not have: {error}"
            ) from None
        except RecursionError:
            raise PayloadError(f"does not fit {self._name}: it is nested too deep") from None
        if faults:
            told = ((it.absolute_path, it.message) for it in faults)
            raise PayloadError(_faults(self._name, told, len(faults)))


@dataclass(slots=True)
class Json:
    """What is to be read as JSON."""

    data: bytes


def read(data: bytes, content_type: str) -> Json | Any:
    """What was sent, as far as it can be read without knowing what it has to fit.

    Raises:
        PayloadError: It is not what it says.
    """
    if not data:
        return None
    return _msgpack.unpacked(data) if _msgpack.is_msgpack(content_type) else Json(data)


def _text(schema: Schema) -> str:
    """A schema as text, the same for the same schema."""
    text = json.dumps(
        schema, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    # Texts of Python may hold what Unicode has no bytes for.
    text.encode()
    return text


def _faults(name: str, faults: Iterable[tuple[Iterable[Any], str]], count: int) -> str:
    told = [
        f"{'.'.join(map(str, where)) or 'the whole'}: {what[:200]}"
        for where, what in islice(faults, _MOST)
    ]
    more = [] if count <= _MOST else ["and more"]
    return f"does not fit {name}: {'; '.join(told + more)}"
