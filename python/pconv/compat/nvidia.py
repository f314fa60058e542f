"""NVIDIA/partialconv: ``models/partialconv2d.py`` and ``partialconv3d.py``. eps is 1e-8."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import _PartialConv

__all__ = ["PartialConv2d", "PartialConv3d"]


class _Nvidia(_PartialConv):
    def __init__(self, *args, multi_channel: bool = False, return_mask: bool = False, **kwargs) -> None:
        super().__init__(*args, multi_channel=multi_channel, return_mask=return_mask, **kwargs)

    @property
    def slide_winsize(self) -> int:
        taps = 1
        for k in self.kernel_size:
            taps *= k
        return taps * (self.in_channels if self.multi_channel else 1)

    def forward(self, input: Tensor, mask_in: Tensor | None = None):
        dims = len(self.kernel_size) + 2
        if input.dim() != dims:
            raise AssertionError(f"input has shape {list(input.shape)}; expected {dims} dimensions")
        result = super().forward(input, mask_in)
        if self.return_mask and mask_in is None and self.multi_channel:
            y, updated = result
            return y, updated.expand(y.shape[0], *updated.shape[1:])
        return result


class PartialConv2d(_Nvidia, nn.Conv2d):
    """``nn.Conv2d``'s arguments, ``multi_channel=False``, ``return_mask=False``; ``forward(input, mask_in=None)``."""


class PartialConv3d(_Nvidia, nn.Conv3d):
    """``nn.Conv3d``'s arguments, ``multi_channel=False``, ``return_mask=False``; ``forward(input, mask_in=None)``."""
