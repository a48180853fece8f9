"""Decoding: what is a photograph, and a clear sentence for what is not."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from configs.errors import FacingsError
from identity.images import decode, read_picture


def _encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)  # type: ignore[arg-type]
    return content.getvalue()


def _gradient(mode: str = "RGB") -> Image.Image:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    return Image.fromarray(np.stack([ramp, 255 - ramp, ramp // 2], axis=-1)).convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_usual_formats_are_read(kind: str) -> None:
    assert decode(_encoded(_gradient(), kind)).shape == (48, 64, 3)


def test_the_channels_are_blue_green_red() -> None:
    pixels = decode(_encoded(Image.new("RGB", (40, 40), (10, 20, 30))))
    assert pixels[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_colours_become_three_channels(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode(_encoded(_gradient(mode), kind)).shape == (48, 64, 3)


def test_what_is_transparent_becomes_white() -> None:
    for mode, colour in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        assert decode(_encoded(Image.new(mode, (40, 40), colour))).min() == 255


def test_sixteen_bits_become_eight_by_scaling() -> None:
    deep = (np.tile(np.arange(64), (64, 1)) * 1024).astype(np.uint16)
    pixels = decode(_encoded(Image.fromarray(deep)))
    np.testing.assert_allclose(pixels[0, :, 0], np.arange(64) * 1024 / 65535 * 255, atol=1)


def test_a_photograph_taken_with_the_camera_turned_is_put_upright() -> None:
    image = Image.new("RGB", (80, 40), (255, 255, 255))
    image.paste((255, 0, 0), (0, 0, 40, 40))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    pixels = decode(_encoded(image, "JPEG", exif=exif))
    assert pixels.shape == (80, 40, 3)
    assert pixels[10, 20, 2] > 200
    assert pixels[10, 20, 0] < 60
    assert pixels[70, 20, 0] > 200


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7 something", b"\0" * 1000])
def test_what_is_no_image_is_told_by_name(content: bytes) -> None:
    with pytest.raises(FacingsError, match=r"^holiday\.jpg is (not an image|damaged)"):
        decode(content, "holiday.jpg")


def test_an_empty_file_is_told() -> None:
    with pytest.raises(FacingsError, match="is empty"):
        decode(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_an_image_that_is_cut_off_is_told(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    content = _encoded(noise, kind)
    with pytest.raises(FacingsError, match=r"damaged or cut off|not an image"):
        decode(content[: len(content) * 2 // 3])


def test_a_tiny_image_is_told() -> None:
    with pytest.raises(FacingsError, match=r"31 × 200 pixels.*at least 32"):
        decode(_encoded(Image.new("RGB", (31, 200))))


def test_a_small_file_that_would_fill_the_memory_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (8_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        with pytest.raises(FacingsError, match="more than 50,000,000"):
            decode(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(FacingsError, match="no file"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(FacingsError, match="is a folder"):
        read_picture(tmp_path)


@given(st.binary(max_size=400), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP"]), st.integers(0, 300))
def test_no_bytes_whatever_give_anything_but_a_picture_or_a_sentence(noise: bytes, kind: str, at: int) -> None:
    content = bytearray(_encoded(_gradient(), kind))
    content[at : at + len(noise)] = noise
    try:
        assert decode(bytes(content)).ndim == 3
    except FacingsError as error:
        assert "\n" not in str(error)
