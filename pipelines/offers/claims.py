"""What a QR code carries: a sealed token that only this installation can read, and that ends by itself.

The token names a shopper, so it is encrypted, not only signed: whoever photographs the code learns nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_HEAD = struct.Struct(">16sQ")  # recommendation id, end in seconds since 1970: short codes are read from afar
_LONGEST = 4096
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True)
class Claim:
    """What was shown, and to whom.

    Attributes:
        recommendation_id: the slate, a UUID as hex.
        shopper_id: for whom it was made; None: for nobody in particular.
        store_id: where.
        item_id: the item whose code was scanned; None: the whole slate's code.
        expires: end of its validity, UTC.
    """

    recommendation_id: str
    shopper_id: str | None
    store_id: str | None
    item_id: str | None
    expires: datetime


class Claims:
    """Seals and opens tokens with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, claim: Claim) -> str:
        """Return a token of URL-safe characters."""
        return self.seal_items(claim, [claim.item_id])[0]

    def seal_items(self, claim: Claim, item_ids: Sequence[str | None]) -> list[str]:
        """Return a token for each item of one slate; `claim` tells the rest."""
        end = int(claim.expires.timestamp())
        head = _HEAD.pack(bytes.fromhex(claim.recommendation_id), end) + orjson.dumps(
            [claim.shopper_id, claim.store_id]
        )
        head = head[:-1] + b","  # the list goes on
        chance, seal = os.urandom(_NONCE * len(item_ids)), self._cipher.encrypt
        tokens = []
        for at, item_id in zip(range(0, len(chance), _NONCE), item_ids, strict=True):
            nonce = chance[at : at + _NONCE]
            sealed = binascii.b2a_base64(nonce + seal(nonce, head + orjson.dumps(item_id) + b"]", None), newline=False)
            tokens.append(sealed.translate(_URL_SAFE, b"=").decode())
        return tokens

    def open(self, token: str) -> Claim | None:
        """Return what a token says, whether it has ended or not; None: it is not one of ours, or was changed."""
        if len(token) > _LONGEST:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            if base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
                return None  # another spelling of the same bytes: decoders skip what they do not know
            body = self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], None)
        except (InvalidTag, ValueError, binascii.Error):
            return None
        recommendation, end = _HEAD.unpack_from(body)
        shopper, store, item = orjson.loads(body[_HEAD.size :])
        return Claim(recommendation.hex(), shopper, store, item, datetime.fromtimestamp(end, UTC))
