"""The four published implementations' modules, under their own names, with their defaults and conventions, on pconv.

Change one import: ``from models.partialconv2d import PartialConv2d`` becomes
``from pconv.compat.nvidia import PartialConv2d``. What differs from the originals is in docs/python.md.
"""

from . import lyehe, masked_torch, nvidia, torch_pconv

__all__ = ["lyehe", "masked_torch", "nvidia", "torch_pconv"]
