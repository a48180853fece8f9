"""A real face for the demonstration: the portrait that scikit-image ships (NASA, public domain; Eileen Collins).

Enrolled and probe picture are different crops, sizes and lights of the same photograph. That shows the machinery at
work; it says nothing of how well two photographs of a person are matched (benchmarks/faces_lfw_small.py does).
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from configs.errors import FacingsError
from state.files import write_atomic

NOTE = "one NASA portrait (scikit-image's astronaut.png) in two crops and lights, not two photographs"


def portrait() -> Image.Image:
    """Load the portrait, 512 × 512, from the installed package's own files, without importing it or a network.

    Raises:
        FacingsError: scikit-image is not installed, or without its pictures.
    """
    spec = find_spec("skimage")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    try:
        if folder is None:
            raise FileNotFoundError
        with Image.open(folder / "data" / "astronaut.png") as image:
            return image.convert("RGB")
    except (OSError, FileNotFoundError):
        raise FacingsError(
            "The demonstration's portrait (scikit-image's data/astronaut.png) is missing; "
            "install it again with `pip install --force-reinstall scikit-image`."
        ) from None


def enrol_picture() -> Image.Image:
    """The crop that is enrolled: head and shoulders, as photographed."""
    return portrait().crop((80, 0, 380, 300))


def probe_picture() -> Image.Image:
    """The picture that the camera "sees": mirrored, cropped otherwise, smaller, darker, softer and turned a little."""
    image = ImageOps.mirror(portrait().crop((40, 0, 440, 340)))
    image = image.rotate(6, resample=Image.Resampling.BICUBIC).crop((40, 40, 360, 300))
    image = image.resize((288, 234), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.8))
    return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(0.7)).enhance(0.9)


def write_demo_photographs(folder: Path) -> tuple[Path, Path]:
    """Write enrol.png and probe.png into `folder` and return their paths; for commands that take files."""
    paths = folder / "enrol.png", folder / "probe.png"
    for path, image in zip(paths, (enrol_picture(), probe_picture()), strict=True):
        content = io.BytesIO()
        image.save(content, "PNG")
        write_atomic(path, content.getvalue())
    return paths
