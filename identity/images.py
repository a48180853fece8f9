"""From bytes to pixels, with a clear sentence for everything that is not a usable photograph.

Nothing here, or anywhere below `identity`, writes or logs an image.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from configs.errors import FacingsError

# Height × width × 3, uint8, in the order blue, green, red, as OpenCV's networks want it.
Picture = npt.NDArray[np.uint8]

MAX_PIXELS = 50_000_000
MIN_SIDE = 32
MAX_BYTES = 64 * 2**20
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_KNOWN = "JPEG, PNG, WebP, BMP, TIFF or GIF"


def read_picture(path: Path) -> Picture:
    """Read a photograph from a file.

    Raises:
        FacingsError: there is no such file, or its content is no usable photograph; the sentence names the file.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise FacingsError(f"{path} is a folder, not a photograph; name the files in it.")
        content = path.read_bytes() if size <= MAX_BYTES else None
    except FileNotFoundError:
        raise FacingsError(f"There is no file {path}; check the path.") from None
    except OSError as error:
        raise FacingsError(f"{path} cannot be read: {error.strerror}; check its permissions.") from None
    if content is None:
        raise FacingsError(f"{path} is {size:,} bytes; a photograph may have up to {MAX_BYTES:,}: make it smaller.")
    return decode(content, str(path))


def decode(content: bytes, name: str = "The image") -> Picture:
    """Decode a photograph, upright as its EXIF says; `name` is what the sentence of an error calls it.

    Grey becomes three equal channels, 16 bits become 8, transparent parts become white; of an animation the first
    picture is taken.

    Raises:
        FacingsError: it is empty, no image, cut off, too large (over 50 million pixels) or too small (a side under 32).
    """
    if not content:
        raise FacingsError(f"{name} is empty; give a photograph ({_KNOWN}).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning about sizes; ours is an error
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _check_size(image, name)
                image.load()
                return _pixels(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise FacingsError(f"{name} is not an image; give a photograph ({_KNOWN}).") from None
    except Image.DecompressionBombError:
        raise FacingsError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller.") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError, TypeError) as error:
        del error  # what Pillow says of a damaged file differs from format to format
        raise FacingsError(f"{name} is damaged or cut off; copy it again from the camera.") from None


def _check_size(image: Image.Image, name: str) -> None:
    """Judge by the header alone, before any pixel takes memory."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise FacingsError(f"{name} has {width} × {height} pixels, more than {MAX_PIXELS:,}; make it smaller.")
    if min(width, height) < MIN_SIDE:
        raise FacingsError(f"{name} has only {width} × {height} pixels; a face needs at least {MIN_SIDE} a side.")


def _pixels(image: Image.Image) -> Picture:
    if image.mode in {"I;16", "I;16L", "I;16B", "I", "F"}:  # Pillow would clip, not scale
        deep = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I;16") or deep.max(initial=0.0) > 255.0 else 255.0
        image = Image.fromarray((np.clip(deep / top, 0.0, 1.0) * 255.0).astype(np.uint8))
    if image.mode in {"LA", "PA", "RGBA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image.alpha_composite(layer)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), dtype=np.uint8)[:, :, ::-1])
