"""The networks' files: examined, and mended without a change of their output."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from configs.errors import FacingsError
from identity.graph import keep_input
from identity.weights import SFACE, SHA256, YUNET, read_weights, sface, weights_folder


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def test_the_installed_weights_are_those_that_were_examined() -> None:
    assert len(read_weights(YUNET)) > 50_000
    assert len(read_weights(SFACE)) > 1_000_000
    assert set(SHA256) == {YUNET, SFACE}


def test_other_weights_are_refused_in_one_sentence(tmp_path: Path) -> None:
    shutil.copy(weights_folder() / YUNET, tmp_path / YUNET)
    with (tmp_path / YUNET).open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\1\2\3")
    with pytest.raises(FacingsError, match=r"sha256 differs.*force-reinstall"):
        read_weights(YUNET, tmp_path)
    with pytest.raises(FacingsError, match=r"missing.*force-reinstall"):
        read_weights(SFACE, tmp_path)


def test_only_the_real_input_is_kept_and_all_else_is_copied() -> None:
    data, weight = _field(11, _field(1, b"data") + b"\x20\x05"), _field(11, _field(1, b"weight"))
    node, fixed = _field(1, b"a node"), b"\x1d\x00\x00\x80\x3f" + b"\x11" + bytes(8) + b"\x08\x96\x01"
    graph = node + weight + data + fixed
    model = b"\x08\x07" + _field(7, graph) + _field(8, b"opset")
    assert keep_input(model, "data") == b"\x08\x07" + _field(7, node + data + fixed) + _field(8, b"opset")


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\xff" * 40, _field(7, b"")])
def test_what_is_no_model_with_that_input_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no input|no ONNX|cut off"):
        keep_input(content, "data")


def test_the_mended_network_gives_what_the_original_gives() -> None:
    """OpenCV runs the unmended graph too, when told the input by name: the reference for the mended one."""
    picture = np.random.default_rng(0).integers(0, 255, (2, 1, 3, 112, 112)).astype(np.float32)
    original = cv2.dnn.readNetFromONNX(np.frombuffer(read_weights(SFACE), dtype=np.uint8))
    mended = cv2.dnn.readNetFromONNX(np.frombuffer(sface(), dtype=np.uint8))
    for blob in picture:
        original.setInput(blob, "data")
        mended.setInput(blob)
        np.testing.assert_array_equal(mended.forward(), original.forward())
