"""What there is to compute on, and the devices that are open in this process."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from ctypes import byref, c_int32, c_void_p
from typing import NamedTuple

from . import _library
from ._library import Error, lib

_TYPES = ("cpu", "discrete gpu", "integrated gpu", "software", "other")


class Device(NamedTuple):
    """A device present here. ``index`` and ``backend`` select it: ``"0"``, ``"vulkan"``, ``"vulkan:1"``."""

    index: int  # type: ignore[assignment]  # which hides tuple.index
    name: str
    backend: str  #: "cpu", "vulkan" or "cuda"
    type: str  #: "cpu", "discrete gpu", "integrated gpu", "software" or "other"
    memory_bytes: int  #: 0 if unknown
    driver: str
    features: tuple[str, ...]


class Backend(NamedTuple):
    """A backend the library was built to look for; ``reason`` says why it has no device, "" where it has."""

    name: str
    device_count: int
    reason: str


def _text(function, index: int) -> list[str]:
    buffer = ctypes.create_string_buffer(2048)
    _library.check(function(index, buffer, len(buffer)))
    return buffer.value.decode(errors="replace").split("\t")


def devices() -> list[Device]:
    """The devices present, the preferred first: GPUs, then the CPU, then software devices. Probes all drivers."""
    count = c_int32()
    _library.check(lib.pconvGetDeviceCount(byref(count)))
    found = []
    for i in range(count.value):
        name, backend, kind, memory, driver, features = _text(lib.pconvPythonDescribeDevice, i)
        found.append(Device(i, name, backend, _TYPES[int(kind)], int(memory), driver, tuple(features.split())))
    return found


def backends() -> list[Backend]:
    """The backends, in order of preference, with the reason where one has no device here."""
    count = c_int32()
    _library.check(lib.pconvGetBackendCount(byref(count)))
    fields = [_text(lib.pconvPythonDescribeBackend, i) for i in range(count.value)]
    return [Backend(name, int(devices), reason) for name, devices, reason in fields]


def why_absent(backend: str) -> str:
    """A line on why a backend has no device here."""
    for one in backends():
        if one.name == backend:
            return one.reason or f"the backend {backend} has {one.device_count} devices"
    return f"this pconv was built without the module libpconv_{backend}"


class Handle:
    """A device that is open; closed with the last reference to it."""

    def __init__(self, open_, *arguments) -> None:
        self.value = None
        handle = c_void_p()
        _library.check(open_(*arguments, byref(handle)))
        self.value = handle.value
        self.is_cpu = arguments[0] == b"cpu"
        self._process = _library.process[0]

    # What is needed is bound here: at the interpreter's end a module's names go before its objects.
    def __del__(self, _release=lib.pconvReleaseDevice, _process=_library.process) -> None:
        # A child process has the parent's handles, but none of the threads and drivers behind them.
        if self.value and self._process == _process[0]:
            _release(self.value)


_open: dict[tuple, Handle] = {}
_lock = threading.Lock()


def _opened(key: tuple, open_, *arguments) -> Handle:
    handle = _open.get(key)
    if handle is None:
        with _lock:
            handle = _open.get(key)
            if handle is None:
                handle = _open[key] = Handle(open_, *arguments)
    return handle


def by_selector(selector: str | None) -> Handle:
    """The device of a selector of pconvCreateDevice; None for PCONV_DEVICE, else the preferred one."""
    if selector is not None and not isinstance(selector, str):
        raise TypeError(f"device is {type(selector).__name__}; expected a str such as 'cpu' or 'vulkan:1', or None")
    chosen = selector if selector is not None else os.environ.get("PCONV_DEVICE")
    return _opened(("selector", chosen), lib.pconvPythonOpenDevice, None if chosen is None else chosen.encode(), 0, None)


@functools.lru_cache(None)
def _openmp() -> int | None:
    """GOMP_parallel of the OpenMP runtime that PyTorch's threads belong to. Its threads spin between PyTorch's operations:
    beside them others would wait for processors. Not in a child process, where a team of the parent's hangs."""
    if _forked or "torch" not in sys.modules:
        return None
    try:
        runtime = ctypes.CDLL(sys.modules["torch"]._C.__file__)  # which finds what its dependencies have
        return ctypes.cast(runtime.GOMP_parallel, c_void_p).value
    except (OSError, AttributeError):
        return None


@functools.lru_cache(None)
def cpu(threads: int) -> Handle:
    try:
        return _opened(("cpu", threads), lib.pconvPythonOpenDevice, b"cpu", threads, _openmp())
    except (ValueError, RuntimeError) as error:
        raise Error(f"no CPU device: {why_absent('cpu')} ({error})") from error


def cuda(index: int, stream: int) -> Handle:
    """The host's CUDA device on the host's stream."""
    return _opened(("cuda", index, stream), lib.pconvPythonAdoptCuda, index, stream)


_forked = False


def _after_fork() -> None:
    global _lock, _forked
    _forked = True
    _openmp.cache_clear()
    _lock = threading.Lock()
    _open.clear()
    cpu.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
