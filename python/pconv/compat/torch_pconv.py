"""DesignStripe/torch_pconv: ``PConv2d`` with one mask ``[N, H, W]`` for all channels, which count each in the window."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .. import functional as F
from .._settings import ALL_CHANNELS, MULTI_CHANNEL, WINDOW_RATIO

__all__ = ["PConv2d"]


def _pair(value) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


class PConv2d(nn.Module):
    """torch_pconv's arguments and defaults; ``forward(x, mask)`` returns ``(output, updated mask [N, H', W'])``.

    ``x`` and ``mask`` are float32, ``[N, C, H, W]`` and ``[N, H, W]``; TypeError otherwise. ``legacy_behaviour`` is taken
    and changes nothing: the result is NVIDIA's within rounding either way."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 1,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = False,
        legacy_behaviour: bool = False,
    ) -> None:
        super().__init__()
        self.legacy_behaviour = legacy_behaviour
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        self.use_bias = bias
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        # Modules that only hold weights, so that state dicts have the original's names.
        self.regular_conv = nn.Conv2d(in_channels, out_channels, *window, bias=False)
        self.mask_conv = nn.Conv2d(1, 1, *window, bias=False).requires_grad_(False)
        nn.init.constant_(self.mask_conv.weight, 1.0)
        if bias:
            self.bias = nn.Parameter(torch.empty(1, out_channels, 1, 1))
            bound = 1 / math.sqrt(in_channels * self.kernel_size[0] * self.kernel_size[1])
            nn.init.uniform_(self.bias, -bound, bound)
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(x, Tensor) or x.dim() != 4:
            raise TypeError(f"x is {F._describe(x)}; expected 4 dimensions, [N, C, H, W]")
        if not isinstance(mask, Tensor) or mask.shape != (x.shape[0], *x.shape[2:]):
            raise TypeError(f"mask is {F._describe(mask)}; expected [{x.shape[0]}, {x.shape[2]}, {x.shape[3]}]")
        if mask.dtype != torch.float32:
            raise TypeError(f"mask has dtype {mask.dtype}; expected torch.float32, with values of 0.0 or 1.0")
        if x.dtype != torch.float32:
            raise TypeError(f"x has dtype {x.dtype}; expected torch.float32")
        settings = F.settings_of(
            2, self.stride, self.padding, self.dilation, 1, MULTI_CHANNEL, ALL_CHANNELS, WINDOW_RATIO, 1e-8
        )  # fmt: skip
        bias = None if self.bias is None else self.bias.view(-1)
        y, updated = F.convolution(x, self.regular_conv.weight, bias, mask[:, None], settings, 0)
        return y, updated[:, 0]

    def set_weight(self, w: Tensor) -> PConv2d:
        with torch.no_grad():
            self.regular_conv.weight.copy_(w)
        return self

    def set_bias(self, b: Tensor) -> PConv2d:
        with torch.no_grad():
            self.bias.copy_(b.view(1, self.out_channels, 1, 1))
        return self

    def get_weight(self) -> Tensor:
        return self.regular_conv.weight

    def get_bias(self) -> Tensor | None:
        return self.bias

    def extra_repr(self) -> str:
        window = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{self.in_channels}, {self.out_channels}, {window}"
