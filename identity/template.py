"""What an embedding is here: its model, its shape, and the one check that everything that receives one makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from configs.errors import FacingsError

FloatArray = npt.NDArray[np.float32]

# SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition"), block-quantised
# to int8 by the OpenCV zoo. Embeddings of two models cannot be compared, so each one travels with its model's name.
MODEL = "sface-2021dec-int8bq"
DIMENSION = 128


def unit(values: npt.ArrayLike) -> FloatArray:
    """Return an embedding scaled to length 1; shape (128,), float32.

    Raises:
        FacingsError: it has another shape, a value is not finite, or all are zero.
    """
    try:
        vector = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise FacingsError(f"The embedding is not a list of {DIMENSION} numbers; send what {MODEL} gives.") from None
    if vector.shape != (DIMENSION,):
        raise FacingsError(
            f"The embedding has the shape {vector.shape} instead of ({DIMENSION},); send what {MODEL} gives."
        )
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length < 1e-6:
        raise FacingsError(f"The embedding holds no direction (zero or not finite); send what {MODEL} gives.")
    return np.asarray(vector / np.float32(length), dtype=np.float32)


def check_model(name: str) -> None:
    """Refuse an embedding of another model.

    Raises:
        FacingsError: `name` is not the model of this gallery.
    """
    if name != MODEL:
        raise FacingsError(
            f"The embedding comes from the model {name[:64]!r}, this gallery is made with {MODEL!r}; "
            "update the camera agent or enrol again."
        )
