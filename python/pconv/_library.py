"""The library, opened: the functions of python/native/binding.cpp by ctypes, and what their faults become."""

from __future__ import annotations

import ctypes
import os
import pathlib
import sys
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint64, c_void_p

HAS_FRACTIONS = 100
_STATUS = {
    1: ValueError,
    2: NotImplementedError,
    4: MemoryError,
    6: KeyboardInterrupt,
}

# PconvTensorSource of network.h.
TENSOR_SOURCE = CFUNCTYPE(c_int32, c_void_p, c_char_p, c_int32, POINTER(c_int64), c_int32, c_void_p)


# What this process is, for handles that no other one may release; kept, since to ask the system at each release costs.
process = [os.getpid()]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: process.__setitem__(0, os.getpid()))


class Error(RuntimeError):
    """A fault of a device or of the library, with the library's own line."""


_FUNCTIONS = {
    "pconvPythonOpenDevice": [c_char_p, c_int32, c_void_p, POINTER(c_void_p)],
    "pconvPythonAdoptCuda": [c_int32, c_uint64, POINTER(c_void_p)],
    "pconvPythonDescribeDevice": [c_int32, c_char_p, c_size_t],
    "pconvPythonDescribeBackend": [c_int32, c_char_p, c_size_t],
    "pconvPythonCreatePlan": [c_void_p, POINTER(c_int64), c_double, c_char_p, POINTER(c_void_p)],
    "pconvPythonForward": [c_void_p] * 6,
    "pconvPythonBackward": [c_void_p] * 9,
    "pconvPythonCreateSide": [c_void_p, POINTER(c_int64), c_double, c_char_p, POINTER(c_void_p)],
    "pconvPythonComputeSide": [c_void_p, c_void_p, c_int32, POINTER(c_int64), c_void_p],
    "pconvPythonComputeSideOnDevice": [c_void_p, c_void_p, c_void_p],
    "pconvPythonReadSide": [c_void_p, c_void_p],
    "pconvPythonInpaint": [
        c_void_p, c_void_p, c_int64, c_int64, c_int32, c_int32, c_int64, c_void_p, c_int32, c_void_p,
    ],
    "pconvPythonCreateNetwork": [
        c_void_p, POINTER(c_int64), c_int32, POINTER(c_int64), POINTER(c_double), POINTER(c_char_p), POINTER(c_int32),
        POINTER(POINTER(c_float)), TENSOR_SOURCE, POINTER(c_void_p),
    ],
    "pconvPythonGetNetworkOutput": [c_void_p, POINTER(c_int64)],
    "pconvPythonForwardNetwork": [
        c_void_p, c_void_p, c_void_p, c_int32, POINTER(c_int64), c_void_p, c_void_p, POINTER(c_int32),
    ],
    "pconvLoadModel": [c_char_p, POINTER(c_void_p)],
    "pconvGetDeviceCount": [POINTER(c_int32)],
    "pconvGetBackendCount": [POINTER(c_int32)],
}  # fmt: skip
_OTHERS = {
    "pconvGetLastError": ([], c_char_p),
    "pconvGetStatusName": ([c_int32], c_char_p),
    "pconvGetVersion": ([POINTER(c_int32)] * 3, None),
    "pconvReleaseDevice": ([c_void_p], None),
    "pconvPythonReleasePlan": ([c_void_p], None),
    "pconvPythonReleaseSide": ([c_void_p], None),
    "pconvPythonReleaseNetwork": ([c_void_p], None),
    "pconvReleaseModel": ([c_void_p], None),
    "pconvPythonImplementation": ([c_void_p], c_char_p),
    "pconvPythonCreateProgress": ([], c_void_p),
    "pconvPythonReleaseProgress": ([c_void_p], None),
    "pconvPythonCancel": ([c_void_p], None),
    "pconvPythonDone": ([c_void_p], c_double),
}


def _candidates() -> list[pathlib.Path]:
    given = os.environ.get("PCONV_PYTHON_LIBRARY")
    if given:
        return [pathlib.Path(given)]
    here = pathlib.Path(__file__).resolve().parent
    name = {"darwin": "libpconv_python.so", "win32": "pconv_python.dll"}.get(sys.platform, "libpconv_python.so")
    found = [here / "lib" / name]
    # A source tree: the package lies in python/pconv and the build in build/PRESET.
    found += [here.parents[1] / "build" / preset / "lib" / name for preset in ("release", "dev")]
    return found


def _open() -> ctypes.CDLL:
    paths = _candidates()
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise ImportError(
            f"pconv's library is missing; expected {paths[0]} (pip install builds it, and in a source tree "
            "cmake/build.sh release), or its path in PCONV_PYTHON_LIBRARY"
        )
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_int32
        for name, (arguments, result) in _OTHERS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, result
    except (OSError, AttributeError) as error:
        raise ImportError(f"pconv's library cannot be used: {error}; expected the one built with this package") from error
    return library


lib = _open()


def last_error() -> str:
    return lib.pconvGetLastError().decode(errors="replace")


def fail(status: int) -> None:
    """Raises what a status stands for, with the line of the calling thread's last failure."""
    text = last_error() or lib.pconvGetStatusName(status).decode()
    raise _STATUS.get(status, Error)(text)


def check(status: int) -> None:
    if status:
        fail(status)


def version() -> str:
    numbers = [c_int32() for _ in range(3)]
    lib.pconvGetVersion(*[ctypes.byref(n) for n in numbers])
    return ".".join(str(n.value) for n in numbers)
