"""ivanstepanovftw/masked_torch: ``masked_torch.nn``. Modules take and return ``(input, mask)``; inputs are masked already."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ..nn import (
    ApplyMask,
    Masked,
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    MaskedBatchNorm3d,
    MaskedConv1d,
    MaskedConv2d,
    MaskedConv3d,
    MaskedSequential,
    MaskedSpatialMean,
    SpatialMean,
    UnMask,
    Unshuffle1d,
    Unshuffle2d,
    Unshuffle3d,
    _MaskedPartialConv,
)

__all__ = [
    "ApplyMask",
    "Masked",
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedBatchNorm3d",
    "MaskedConv1d",
    "MaskedConv2d",
    "MaskedConv3d",
    "MaskedSequential",
    "MaskedSpatialMean",
    "MaskedUnshuffle1d",
    "MaskedUnshuffle2d",
    "MaskedUnshuffle3d",
    "PartialConv1d",
    "PartialConv2d",
    "PartialConv3d",
    "SpatialMean",
    "UnMask",
    "Unshuffle1d",
    "Unshuffle2d",
    "Unshuffle3d",
]


class PartialConv1d(_MaskedPartialConv, nn.Conv1d):  # type: ignore[misc]
    __doc__ = _MaskedPartialConv.__doc__ or ""


class PartialConv2d(_MaskedPartialConv, nn.Conv2d):
    __doc__ = _MaskedPartialConv.__doc__ or ""


class PartialConv3d(_MaskedPartialConv, nn.Conv3d):  # type: ignore[misc]
    __doc__ = _MaskedPartialConv.__doc__ or ""


def _both(one: Callable[[Tensor], Tensor], input: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return one(input), None if mask is None else one(mask)


class MaskedUnshuffle1d(Unshuffle1d):
    __doc__ = Unshuffle1d.__doc__

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        return _both(super().forward, input, mask)


class MaskedUnshuffle2d(Unshuffle2d):
    __doc__ = Unshuffle2d.__doc__

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        return _both(super().forward, input, mask)


class MaskedUnshuffle3d(Unshuffle3d):
    __doc__ = Unshuffle3d.__doc__

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        return _both(super().forward, input, mask)
