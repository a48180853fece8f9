"""Who may ask what. Bound to loopback nobody needs a token, unless FACINGS_AUTH=required; elsewhere everybody does."""

from __future__ import annotations

import ipaddress
from typing import Any

from starlette.requests import Request

from configs.settings import Settings
from serving.problems import Problem
from state.tokens import allows, scope_of


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Doorkeeper:
    """Checks bearer tokens where they are required."""

    def __init__(self, settings: Settings, engine: Any) -> None:
        self.required = settings.auth == "required" or not is_loopback(settings.host)
        self._engine = engine

    def require(self, request: Request, scope: str) -> None:
        """Let a request pass that may do what needs `scope`.

        Raises:
            Problem: 401 without a valid token, 403 when the token is for something else.
        """
        if not self.required:
            return
        held = self._scope(request)
        if held is None:
            raise Problem(401, "This server needs a token: make one with `facings token add` and send it as Bearer.")
        if not allows(held, scope):
            raise Problem(403, f"This token is not for {scope.partition(':')[0]}; make one of that scope.")

    def owns(self, request: Request, scope: str) -> bool:
        """Whether a request comes with exactly the token of `scope`; true for all where no token is required.

        Raises:
            Problem: 401, a token was sent that is not in force.
        """
        if not self.required:
            return True
        if "authorization" not in request.headers:
            return False
        held = self._scope(request)
        if held is None:
            raise Problem(401, "This token is not in force; make one with `facings token add` and send it as Bearer.")
        return held == scope

    def _scope(self, request: Request) -> str | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return scope_of(self._engine, token.strip()) if kind.lower() == "bearer" and token.strip() else None
