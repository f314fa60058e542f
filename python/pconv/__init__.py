"""pconv: partial convolutions, the convolutions over data with holes.

``pconv.nn``, ``pconv.functional``, ``pconv.compat``, ``pconv.losses``, ``pconv.convert`` and ``pconv.Network`` need PyTorch and
are imported when they are first used; ``pconv.inpaint``, ``pconv.masks`` and ``pconv.devices`` need NumPy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._devices import Backend, Device, backends, devices
from ._inpaint import inpaint
from ._library import Error
from ._library import version as _version

if TYPE_CHECKING:
    from . import compat, functional, losses, masks, nn
    from ._convert import convert
    from ._network import Network

__version__ = _version()
__all__ = [
    "Backend",
    "Device",
    "Error",
    "Network",
    "backends",
    "compat",
    "convert",
    "devices",
    "functional",
    "inpaint",
    "losses",
    "masks",
    "nn",
]

_MODULES = ("compat", "functional", "losses", "masks", "nn")
_FUNCTIONS = {"Network": "_network", "convert": "_convert"}


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
