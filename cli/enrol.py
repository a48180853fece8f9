"""`facings enrol`: templates of a shopper's face from photographs, with a consent record."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, settings_of, show
from configs.errors import UsageError


@click.command(epilog="Example: facings enrol 4711 front.jpg left.jpg right.jpg --consent --name Ada")
@click.argument("shopper")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--consent", is_flag=True, help="The shopper has agreed to be recognised; without it nothing is done.")
@click.option("--store", help="Recognise the shopper in this store only (default: in every store of this home).")
@click.option("--name", "greeting", help="How the shopper chose to be greeted (default: without a name).")
@json_option
@click.pass_context
def enrol(
    context: click.Context,
    shopper: str,
    images: tuple[Path, ...],
    consent: bool,
    store: str | None,
    greeting: str | None,
    as_json: bool,
) -> None:
    """Enrol SHOPPER's face from one or more photographs, each of one person.

    The photographs are read and not kept; templates are kept encrypted in FACINGS_HOME. Needs no ingested data.
    Enrolled again, photographs are added to those before.
    """
    settings = settings_of(context)
    if not consent:
        raise UsageError("A face is enrolled only with the shopper's consent; ask for it and add --consent.")
    from identity.images import read_picture
    from identity.reader import FaceReader
    from pipelines import faces

    pictures = [(str(path), read_picture(path)) for path in images]
    report = faces.enrol(
        settings.paths,
        faces.open_consents(settings),
        FaceReader(),
        pictures,
        shopper_id=shopper,
        clock=settings.clock(),
        store=store,
        greeting=greeting,
    )
    where = f"store {', '.join(report.stores)}" if report.stores else "every store of this home"
    lines = [f"Enrolled from {report.photographs} photograph(s): {report.templates} template(s), for {where}."]
    show(report.model_dump(mode="json"), lines, as_json=as_json)
