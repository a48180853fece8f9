"""`facings identify`: say who, if anybody enrolled, is on a photograph."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show


@click.command(epilog="Example: facings identify visitor.jpg --store 367 --json")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--store", help="Look only among whom this store may recognise (default: the whole gallery).")
@json_option
@click.pass_context
def identify(context: click.Context, image: Path, store: str | None, as_json: bool) -> None:
    """Say who is on IMAGE: known, unknown, ambiguous, no_face, several_faces or low_quality.

    Exit code 0 for each of these, 1 when the file is no image. The score is a cosine, the margin by how much the
    runner-up is less similar.
    """
    settings = settings_of(context)
    from identity.images import read_picture
    from identity.reader import FaceReader
    from pipelines import faces

    picture = read_picture(image)
    gallery = faces.gallery_source(settings.paths, faces.open_consents(settings), store).current()
    for sentence in gallery.damaged:
        progress(f"facings: {sentence}")
    decision = faces.identify(picture, FaceReader(), gallery)
    result = {
        "status": str(decision.status),
        "shopper_id": decision.shopper_id,
        "score": None if decision.score is None else round(decision.score, 4),
        "margin": None if decision.margin is None else round(decision.margin, 4),
    }
    line = str(decision.status) if decision.shopper_id is None else f"{decision.status}: {decision.shopper_id}"
    if decision.score is not None and decision.margin is not None:
        line += f" (score {decision.score:.3f}, margin {decision.margin:.3f})"
    show(result, [line], as_json=as_json)
