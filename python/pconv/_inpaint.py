"""Filling holes in pictures that are NumPy arrays."""

from __future__ import annotations

import threading
from typing import Callable

import numpy

from . import _devices, _library
from ._library import lib

_SAMPLES = {"uint8": 0, "uint16": 1, "float32": 2, "float16": 2}
_POLLING_SECONDS = 0.05


def _checked(image, mask) -> tuple[numpy.ndarray, numpy.ndarray]:
    if not isinstance(image, numpy.ndarray):
        raise TypeError(f"image is {type(image).__name__}; expected a numpy.ndarray")
    if image.dtype.name not in _SAMPLES:
        raise TypeError(f"image has dtype {image.dtype}; expected uint8, uint16, float16 or float32")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image has shape {image.shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if 0 in image.shape:
        raise ValueError(f"image has shape {image.shape}; expected at least one pixel")
    mask = numpy.asarray(mask)
    if mask.shape != image.shape[:2]:
        raise ValueError(f"mask has shape {mask.shape}; expected {image.shape[:2]}, the image's (H, W)")
    if mask.dtype.kind not in "biuf":
        raise TypeError(f"mask has dtype {mask.dtype}; expected bool or numbers")
    return image, mask


def inpaint(
    image: numpy.ndarray,
    mask: numpy.ndarray,
    *,
    device: str | None = None,
    valid_is_one: bool = False,
    progress: Callable[[float], object] | None = None,
) -> numpy.ndarray:
    """Fills the holes of a picture, smoothly and without trained weights, and returns the result as a new array.

    Args:
        image: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` of uint8, uint16, float16 or float32, channels in any order.
            A fourth channel is alpha: it is kept as it is. Float samples are nominally 0 to 1.
        mask: ``(H, W)`` of bool or numbers. What is not 0 is a hole, as in ``cv2.inpaint`` and in
            ``skimage.restoration.inpaint_biharmonic``.
        device: ``"cpu"``, ``"vulkan"``, ``"vulkan:1"``, part of a device's name; None for PCONV_DEVICE, else the
            preferred one.
        valid_is_one: the mask is the other way round: 0 is a hole, as in partial-convolution networks.
        progress: called in the calling thread with the fraction done, from 0 to 1. What it raises ends the work.

    Returns:
        An array of the image's shape and dtype. Valid pixels keep their bits. A picture without a hole comes back as
        it is, one that is all hole comes back middle gray.

    Runs without the GIL; Ctrl-C (KeyboardInterrupt) stops it within moments.
    """
    image, mask = _checked(image, mask)
    handle = _devices.by_selector(device)
    filled = numpy.array(image, dtype="float32" if image.dtype == numpy.float16 else image.dtype, order="C", copy=True)
    holes = numpy.ascontiguousarray(mask != 0).view(numpy.uint8)
    channels = 1 if filled.ndim == 2 else filled.shape[2]
    state = lib.pconvPythonCreateProgress()
    if not state:
        raise MemoryError("no memory for the progress of an inpainting")
    outcome: list[Exception | None] = []

    def work() -> None:
        try:
            status = lib.pconvPythonInpaint(
                handle.value, filled.ctypes.data, filled.shape[1], filled.shape[0], min(channels, 3),
                _SAMPLES[image.dtype.name], channels, holes.ctypes.data, valid_is_one, state,
            )  # fmt: skip
            _library.check(status)
            outcome.append(None)
        except Exception as error:  # for the calling thread
            outcome.append(error)
        except KeyboardInterrupt:  # what a cancelled status is called; the caller raises its own
            outcome.append(None)

    thread = threading.Thread(target=work, name="pconv.inpaint", daemon=True)
    thread.start()
    told = -1.0
    try:
        while True:
            thread.join(_POLLING_SECONDS)
            done = lib.pconvPythonDone(state)
            if progress is not None and done > told:
                progress(done)
                told = done
            if not thread.is_alive():
                break
    except BaseException:
        lib.pconvPythonCancel(state)
        raise
    finally:
        thread.join()
        lib.pconvPythonReleaseProgress(state)
    if outcome[0] is not None:
        raise outcome[0]
    if image.dtype != filled.dtype:
        # Rounding a filled sample is all that may change: valid ones go back and forth without loss.
        return filled.astype(image.dtype)
    return filled
