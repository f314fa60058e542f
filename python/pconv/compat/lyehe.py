"""lyehe/pconv: ``pconv2d.py`` and ``pconv3d.py``. eps is 1e-6, and a window counts the channels of its group."""

from __future__ import annotations

from torch import Tensor, nn

from .. import functional as F
from ..nn import _PartialConv

__all__ = ["PConv2d", "PConv3d"]

EPSILON = 1e-6


class _Lyehe(_PartialConv):
    def __init__(self, *args, multi_channel: bool = False, return_mask: bool = False, cache_masks: bool = True, **kwargs) -> None:
        super().__init__(
            *args,
            multi_channel=multi_channel,
            return_mask=return_mask,
            eps=EPSILON,
            mask_window="group_channels",
            **kwargs,
        )
        self.cache_masks = cache_masks

    def clear_cache(self) -> None:
        """Nothing to do: what is kept of a mask is kept only while the mask's version counter stands."""

    def forward(self, input_tensor: Tensor, mask: Tensor | None = None):
        if mask is not None and not self.multi_channel and mask.dim() > 1 and mask.shape[1] != 1:
            mask = mask[:, :1]
        settings, text = self._settings()
        result = F.convolution(
            input_tensor,
            self.weight,
            self.bias,
            mask,
            settings,
            0 if self.return_mask else None,
            text,
            self.padding_mode,
        )
        if self.return_mask and mask is None:
            y, updated = result
            return y, updated.expand(y.shape[0], *updated.shape[1:])
        return result

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.bias is not None:
            bias = self.bias if keep_vars else self.bias.detach()
            destination[prefix + "_bias_view"] = bias.view(1, -1, *[1] * len(self.kernel_size))


class PConv2d(_Lyehe, nn.Conv2d):
    """``nn.Conv2d``'s arguments, ``multi_channel=False``, ``return_mask=False``, ``cache_masks=True``."""


class PConv3d(_Lyehe, nn.Conv3d):
    """``nn.Conv3d``'s arguments, ``multi_channel=False``, ``return_mask=False``, ``cache_masks=True``."""
