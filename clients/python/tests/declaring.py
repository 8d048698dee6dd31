"""Handlers with models that processes import."""

from __future__ import annotations

import pydantic
import trunkline


class Order(pydantic.BaseModel):
    size: int


class Made(pydantic.BaseModel):
    total: int


def make(message: trunkline.Message, order: Order) -> Made:
    assert message.attempt == 1
    made = Made(total=order.size * 2)
    if order.size == 7:
        made.total = "seven"  # pyright: ignore[reportAttributeAccessIssue]
    return made


def count(message: trunkline.Message) -> object:
    return message.json * 2
