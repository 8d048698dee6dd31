"""Fetches a card with the official Python SDK of A2A, which verifies its signature.

Usage: signed.py URL
"""

import asyncio
import sys

import httpx
import jwt
from a2a.client.card_resolver import A2ACardResolver
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier


def key(kid, jku):
    """The key that a signature names, out of the set that it names."""
    keys = jwt.PyJWKSet.from_dict(httpx.get(jku).raise_for_status().json())
    return keys[kid]


async def main(url):
    verify = create_signature_verifier(key, ["ES256", "EdDSA"])
    async with httpx.AsyncClient() as http:
        card = await A2ACardResolver(http, url).get_agent_card(signature_verifier=verify)
    assert len(card.signatures) == 1, card
    card.description += "!"
    try:
        verify(card)
    except InvalidSignaturesError:
        return
    raise AssertionError("a card that was changed is taken")


asyncio.run(main(sys.argv[1]))
