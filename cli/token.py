"""`facings token`: tokens for devices and services."""

from __future__ import annotations

import click

from cli.output import json_option, settings_of, show
from configs.errors import FacingsError


@click.group(epilog="Example: facings token add entrance-1 --scope screen:entrance-1")
def token() -> None:
    """Make, list and revoke tokens. A server that is not bound to loopback answers nobody without one."""


@token.command(epilog="Example: facings token add till-3 --scope events --json")
@click.argument("name")
@click.option("--scope", required=True, help="screen:<screen_id>, recommend, events or admin.")
@json_option
@click.pass_context
def add(context: click.Context, name: str, scope: str, as_json: bool) -> None:
    """Make a token; it is shown this once and kept only as a hash."""
    from state.engine import open_engine
    from state.tokens import add_token

    settings = settings_of(context)
    made = add_token(open_engine(settings.state_uri), name, scope, settings.clock().now())
    show({"token": made, "name": name, "scope": scope}, [made], as_json=as_json)


@token.command(name="list", epilog="Example: facings token list --json")
@json_option
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List names, scopes and times; never a token."""
    from state.engine import open_engine
    from state.tokens import list_tokens

    rows = list_tokens(open_engine(settings_of(context).state_uri))
    lines = [f"{row['name']}  {row['scope']}  {'revoked' if row['revoked_at'] else 'in force'}" for row in rows]
    show(rows, lines or ["There is no token yet."], as_json=as_json)


@token.command(epilog="Example: facings token revoke till-3")
@click.argument("name")
@json_option
@click.pass_context
def revoke(context: click.Context, name: str, as_json: bool) -> None:
    """End a token at once."""
    from state.engine import open_engine
    from state.tokens import revoke_token

    settings = settings_of(context)
    if not revoke_token(open_engine(settings.state_uri), name, settings.clock().now()):
        raise FacingsError(f"There is no token {name!r} in force; `facings token list` shows what there is.")
    show({"revoked": name}, [f"{name} is revoked"], as_json=as_json)
