"""Fills holes through libpconv's C interface by ctypes alone, for programs whose Python has nothing else.

The library is the one that PCONV_LIBRARY names, or the system's. krita_fill_selection.py and blender_fill_transparent.py
use this.
"""

import ctypes
import ctypes.util
import os

SAMPLE_TYPES = {"U8": 0, "U16": 1, "F32": 2, "F16": 3}
SAMPLE_BYTES = {"U8": 1, "U16": 2, "F32": 4, "F16": 2}
BLEND, CONFIDENCE = 1, 2  # PconvMaskLevels


class _Image(ctypes.Structure):  # PconvImage of pconv/inpaint.h
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("channels", ctypes.c_int32),
        ("sample_type", ctypes.c_int),
        ("pixel_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("transfer", ctypes.c_int),
        ("value_min", ctypes.c_float),
        ("value_max", ctypes.c_float),
    ]


class _Options(ctypes.Structure):  # PconvInpaintOptions
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("polarity", ctypes.c_int),
        ("mask_row_stride", ctypes.c_int64),
        ("progress", ctypes.c_void_p),
        ("user", ctypes.c_void_p),
        ("mask_levels", ctypes.c_int),
    ]


def _library():
    name = os.environ.get("PCONV_LIBRARY") or ctypes.util.find_library("pconv")
    if name is None:
        raise RuntimeError("there is no libpconv here; expected the package libpconv0, or its path in PCONV_LIBRARY")
    library = ctypes.CDLL(name)
    library.pconvGetLastError.restype = ctypes.c_char_p
    library.pconvReleaseDevice.argtypes = [ctypes.c_void_p]
    return library


def fill(pixels, width, height, channels, pixel_stride, sample_type, holes, levels=BLEND, linear=False, most=None,
         bottom_up=False, device="cpu"):  # fmt: skip
    """Fills `channels` of each pixel in place.

    pixels: a writable buffer of width x height pixels, each of `pixel_stride` samples of `sample_type`, a key of SAMPLE_TYPES
    holes: bytes, one a pixel, 255 where there is all hole; what lies between is blended, or with CONFIDENCE how little is known
    linear: the samples are linear light
    bottom_up: the first row is the lowest
    most: what white is, for floats; None: the largest number of the type, or found from the samples
    """
    size = width * height
    if len(holes) != size or memoryview(pixels).nbytes != size * pixel_stride * SAMPLE_BYTES[sample_type]:
        raise ValueError(f"pixels and holes are not those of {width} x {height} pixels")
    library = _library()

    def check(status):
        if status != 0:
            raise RuntimeError(library.pconvGetLastError().decode(errors="replace"))

    samples = (ctypes.c_char * memoryview(pixels).nbytes).from_buffer(pixels)
    # From the highest row on, so that the same picture is filled the same way, however it is stored.
    row = width * pixel_stride * SAMPLE_BYTES[sample_type]
    first, step = (height - 1, -1) if bottom_up else (0, 1)
    image = _Image(
        ctypes.sizeof(_Image), ctypes.addressof(samples) + first * row, width, height, channels, SAMPLE_TYPES[sample_type],
        pixel_stride, step * row, 1 if linear else 0, 0.0, most or 0.0,
    )  # fmt: skip
    options = _Options(ctypes.sizeof(_Options), 1, step * width, None, None, levels)  # 1: holes are what is 255
    mask = (ctypes.c_char * size).from_buffer_copy(holes)
    mask_rows = ctypes.c_void_p(ctypes.addressof(mask) + first * width)
    handle = ctypes.c_void_p()
    check(library.pconvCreateDevice(device.encode(), None, ctypes.byref(handle)))
    try:
        check(library.pconvInpaint(handle, ctypes.byref(image), mask_rows, ctypes.byref(options)))
    finally:
        library.pconvReleaseDevice(handle)
