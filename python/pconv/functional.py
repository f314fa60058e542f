"""Partial and masked convolutions as functions. ``pconv.nn`` has them as modules.

Shapes: ``input`` is ``[N, Cin, S...]`` with 1, 2 or 3 spatial dimensions, contiguous or channels-last; ``weight`` is
``[Cout, Cin / groups, K...]``; ``bias`` is ``[Cout]``. ``mask`` is ``[N or 1, 1, S...]``, with ``multi_channel`` also
``[N or 1, Cin, S...]``: floating-point, 1 where the input is valid, 0 in a hole; fractions are allowed.

Data types: float32, float16 and bfloat16 run on pconv; float64, empty batches, masks that require a gradient and
tensors that are not plain ones (meta, fake, traced, subclasses) take the same formula in PyTorch's own operations.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import _composite, _devices, _engine
from ._autograd import apply_plainly
from ._settings import (
    ALL_CHANNELS,
    GROUP_CHANNELS,
    MASK_SUM,
    MULTI_CHANNEL,
    SINGLE_CHANNEL,
    WEIGHT_MAGNITUDE,
    WINDOW_RATIO,
    Settings,
    check_shapes,
    spatial,
)

_VERSION = tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2])
_HAS_TRANSFORMS = _VERSION >= (2, 0)
_HAS_OPS = _VERSION >= (2, 4)
_WINDOWS = {"all_channels": ALL_CHANNELS, "group_channels": GROUP_CHANNELS}
_NORMALIZATIONS = {"window_ratio": WINDOW_RATIO, "mask_sum": MASK_SUM}

if _HAS_OPS:
    from . import _ops, _transforms

    _is_compiling = torch.compiler.is_compiling
elif _HAS_TRANSFORMS:
    from . import _transforms

    def _is_compiling() -> bool:
        return False
else:

    def _is_compiling() -> bool:
        return False


if _HAS_TRANSFORMS:
    _transforming = torch._C._are_functorch_transforms_active
    _dispatch_modes = torch._C._len_torch_dispatch_stack
else:

    def _transforming() -> bool:
        return False

    def _dispatch_modes() -> int:
        return 0


if _HAS_OPS:

    def _autocast_dtype(x: Tensor) -> torch.dtype | None:
        if x.is_cpu:
            return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        kind = x.device.type
        if kind == "meta":  # which autocast does not know
            return None
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
else:

    def _autocast_dtype(x: Tensor) -> torch.dtype | None:
        if x.is_cpu:
            return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


_tracing_state = torch._C._get_tracing_state
_PLAIN = (Tensor, torch.nn.Parameter)


@functools.lru_cache(None)
def _cuda_is_here(_process: int = 0) -> bool:
    if any(b.name == "cuda" and b.device_count for b in _devices.backends()):
        return True
    reason = _devices.why_absent("cuda")
    if "no module" in reason:
        reason += "; built with pip install . --config-settings=cmake.define.PCONV_BACKEND_CUDA=ON it is there"
    warnings.warn(f"CUDA tensors run on PyTorch's own operations, not on pconv: {reason}", stacklevel=4)
    return False


def _describe(t) -> str:
    return f"{t.dtype} {list(t.shape)} on {t.device}" if isinstance(t, Tensor) else type(t).__name__


def _check(x, weight, bias, mask, settings: Settings) -> None:
    """TypeError and ValueError with what was expected. Cheap where all is well: it runs at every call."""
    if not isinstance(x, Tensor) or not isinstance(weight, Tensor):
        raise TypeError(f"input is {_describe(x)} and weight {_describe(weight)}; expected tensors")
    if mask is not None and not isinstance(mask, Tensor):
        raise TypeError(f"mask is {_describe(mask)}; expected a tensor")
    dtype, device = x.dtype, x.device
    if not dtype.is_floating_point:
        raise TypeError(f"input has dtype {dtype}; expected a floating-point type")
    if weight.dtype != dtype or (bias is not None and bias.dtype != dtype):
        of_bias = "" if bias is None else f" and bias {_describe(bias)}"
        raise TypeError(f"input is {_describe(x)}, weight {_describe(weight)}{of_bias}; expected one dtype")
    if weight.device != device or (bias is not None and bias.device != device):
        raise ValueError(f"input is on {device}, weight on {weight.device}; expected input, weight and bias on one device")
    if mask is not None:
        if not mask.dtype.is_floating_point:
            raise TypeError(f"mask has dtype {mask.dtype}; expected a floating-point type, as in mask.to(input.dtype)")
        if mask.device != device:
            raise ValueError(f"mask is on {mask.device} and input on {device}; expected one device")


def _check_shapes(x, weight, bias, mask, settings: Settings) -> None:
    check_shapes(x.shape, weight.shape, None if bias is None else bias.shape, None if mask is None else mask.shape, settings)


def _is_native(x, weight, mask) -> bool:
    """The library does it: plain tensors of its types, on a device it has, with anything in them."""
    return (
        x.dtype in _engine.TYPES
        and (x.is_cpu or (x.is_cuda and _cuda_is_here()))
        and (mask is None or (mask.dtype in _engine.TYPES and not (mask.requires_grad and torch.is_grad_enabled())))
        and x.numel() > 0
        and weight.numel() > 0
    )


def _is_plain(x, weight, bias, mask) -> bool:
    """Nothing of PyTorch looks on: no subclass, no tracer, no mode."""
    return (
        type(x) in _PLAIN
        and type(weight) in _PLAIN
        and (bias is None or type(bias) in _PLAIN)
        and (mask is None or type(mask) in _PLAIN)
        and not _dispatch_modes()
        and _tracing_state() is None
    )


def _spread(updated: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """The updated mask once for `channels`; as it is where they are 0."""
    updated = updated.to(dtype)
    return _composite.repeat_channels(updated, channels) if channels else updated


@overload
def convolution(x, weight, bias, mask, settings: Settings, channels: None, padding=None, padding_mode="zeros") -> Tensor: ...
@overload
def convolution(
    x, weight, bias, mask, settings: Settings, channels: int, padding=None, padding_mode="zeros"
) -> tuple[Tensor, Any]: ...
@overload
def convolution(x, weight, bias, mask, settings: Settings, channels: int | None, padding=None, padding_mode="zeros") -> Any: ...
def convolution(x, weight, bias, mask, settings: Settings, channels: int | None, padding=None, padding_mode="zeros"):
    """What all operators are made of. `channels` of the updated mask: None, it is not wanted; 0, as it is computed."""
    compiling = _is_compiling()
    dtype = _autocast_dtype(x) if isinstance(x, Tensor) and isinstance(weight, Tensor) else None
    if dtype is not None and x.dtype.is_floating_point and x.dtype != torch.float64:
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not compiling:
        _check(x, weight, bias, mask, settings)
    # Forward-mode derivatives, of whatever order and beside whichever others, are those of PyTorch's own operations.
    forward_mode = not compiling and forward_ad._current_level >= 0
    native = not forward_mode and padding is None and padding_mode == "zeros" and _is_native(x, weight, mask)
    mask_dtype = x.dtype if mask is None else mask.dtype
    if compiling:
        if native and _HAS_OPS and settings.normalization != WEIGHT_MAGNITUDE and not settings.input_is_masked:
            y, updated = _ops.partial_conv(x, weight, bias, mask, *_ops.arguments(settings))
            return y if channels is None else (y, _spread(updated, channels, mask_dtype))
        native = False
    if native and _HAS_TRANSFORMS and _transforming():
        _check_shapes(x, weight, bias, mask, settings)
        if settings.normalization != WEIGHT_MAGNITUDE and not settings.input_is_masked:
            y, updated = _transforms.Convolution.apply(x, weight, bias, mask, settings)
            return y if channels is None else (y, _spread(updated, channels, mask_dtype))
        native = False
    if native and _is_plain(x, weight, bias, mask):
        dense, last = _engine.dense(x)
        weight = weight if weight.is_contiguous() else weight.contiguous()
        grad = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad))
        call = _engine.call_of(dense, last, weight, bias, mask, settings)
        if not settings.input_is_masked or call.side.mask_type != _engine.FRACTIONAL:
            if bias is not None and not bias.is_contiguous():
                bias = bias.contiguous()
            y = apply_plainly(dense, weight, bias, call) if grad else call.forward(dense, weight, bias)
            if channels is None:
                return y
            if settings.normalization == WEIGHT_MAGNITUDE and mask is None:
                return y, None
            return y, call.side.updated(x, mask_dtype, channels)
    if not compiling:
        _check_shapes(x, weight, bias, mask, settings)
    y, updated = _composite.convolution(x, weight, bias, mask, settings, padding, padding_mode)
    if channels is None:
        return y
    return y, None if updated is None else _spread(updated, channels, mask_dtype)


def _chosen(value: str, names: dict, name: str) -> int:
    if value not in names:
        raise ValueError(f"{name} is {value!r}; expected {' or '.join(map(repr, names))}")
    return names[value]


@functools.lru_cache(1024)
def settings_of(
    dims: int, stride, padding, dilation, groups: int, mode: int, window: int, normalization: int, eps: float,
    input_is_masked: bool = False,
) -> Settings:  # fmt: skip
    """Checked and in canonical form. `padding` is not 'same' here."""
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"groups is {groups!r}; expected an int of at least 1")
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps is {eps!r}; expected a finite number of at least 0")
    window = window if mode == MULTI_CHANNEL else ALL_CHANNELS
    return Settings(
        dims, spatial(stride, dims, "stride", 1), spatial(padding, dims, "padding", 0), spatial(dilation, dims, "dilation", 1),
        groups, mode, window, normalization, float(eps), input_is_masked,
    )  # fmt: skip


def padding_of(padding, kernel: Sequence[int], dilation: Sequence[int]):
    """Numbers for 'valid' and for 'same' where it is even on both sides; else the word, which the composite knows."""
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return (0,) * len(kernel)
    if padding != "same":
        raise ValueError(f"padding is {padding!r}; expected 'same', 'valid' or numbers")
    totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
    return padding if any(t % 2 for t in totals) else tuple(t // 2 for t in totals)


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


@overload
def partial_conv(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0, dilation: int | Sequence[int] = 1, groups: int = 1, *, multi_channel: bool = False,
    mask_window: str = "all_channels", normalization: str = "window_ratio", eps: float = 1e-8,
    return_mask: Literal[False] = False,
) -> Tensor: ...  # fmt: skip
@overload
def partial_conv(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0, dilation: int | Sequence[int] = 1, groups: int = 1, *, multi_channel: bool = False,
    mask_window: str = "all_channels", normalization: str = "window_ratio", eps: float = 1e-8,
    return_mask: Literal[True],
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def partial_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    multi_channel: bool = False,
    mask_window: str = "all_channels",
    normalization: str = "window_ratio",
    eps: float = 1e-8,
    return_mask: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """A partial convolution, ``(conv(input * mask) * ratio + bias) * updated``, with derivatives of any order.

    Args:
        mask: 1 where valid; None for all valid, which leaves partial-convolution padding.
        stride, padding, dilation, groups: as in ``torch.nn.functional.conv2d``; padding also ``"same"``, ``"valid"``.
        multi_channel: every input channel has its own mask; a mask of one channel then serves them all.
        mask_window: with ``multi_channel`` and groups, ``"all_channels"`` counts all input channels (NVIDIA's rule),
            ``"group_channels"`` those of the output channel's group.
        normalization: ``"window_ratio"``, or ``"mask_sum"`` (divides by the window's sum alone).
        eps: added to the window's sum.
        return_mask: also return the updated mask.

    Returns:
        The output ``[N, Cout, O...]``; with ``return_mask`` also the updated mask ``[N or 1, Cout, O...]`` with
        ``multi_channel``, else ``[N or 1, 1, O...]``, in the mask's dtype and without a gradient. It may be a view in
        which channels share memory: ``clone()`` it before writing to it.

    A mask that requires a gradient gets that of ``input * mask`` alone, as in NVIDIA's module. What the input holds
    under a 0 of the mask, NaN included, reaches neither the output nor a gradient.
    """
    if not isinstance(weight, Tensor) or not 3 <= weight.dim() <= 5:
        raise TypeError(f"weight is {_describe(weight)}; expected a tensor [Cout, Cin / groups, K...] of 3 to 5 dimensions")
    dims, kernel = weight.dim() - 2, weight.shape[2:]
    dilation = spatial(dilation, dims, "dilation", 1)
    numbers = padding_of(padding, kernel, dilation)
    text = numbers if isinstance(numbers, str) else None
    settings = settings_of(
        dims, _hashable(stride), 0 if text else _hashable(numbers), dilation, groups,
        MULTI_CHANNEL if multi_channel else SINGLE_CHANNEL, _chosen(mask_window, _WINDOWS, "mask_window"),
        _chosen(normalization, _NORMALIZATIONS, "normalization"), eps,
    )  # fmt: skip
    channels = (weight.shape[0] if multi_channel else 0) if return_mask else None
    return convolution(input, weight, bias, mask, settings, channels, text)


def masked_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    eps: float = 1e-8,
) -> tuple[Tensor, Tensor | None]:
    """masked_torch's masked convolution: ``(conv(input) + bias) * updated``, and ``updated`` ``[N or 1, Cout, O...]``.

    ``updated`` is the mean of the mask at the windows' centres, weighted with the magnitudes of the weights; no gradient
    flows through it. ``mask`` is ``[N or 1, Cin or 1, S...]``. Without a mask: a plain convolution, and None.
    Kernel sizes are odd.
    """
    if not isinstance(weight, Tensor) or not 3 <= weight.dim() <= 5:
        raise TypeError(f"weight is {_describe(weight)}; expected a tensor [Cout, Cin / groups, K...] of 3 to 5 dimensions")
    if any(k % 2 == 0 for k in weight.shape[2:]):
        raise ValueError(f"weight has kernel {list(weight.shape[2:])}; expected odd sizes")
    dims = weight.dim() - 2
    settings = settings_of(
        dims, _hashable(stride), _hashable(padding), _hashable(dilation), groups, MULTI_CHANNEL, ALL_CHANNELS,
        WEIGHT_MAGNITUDE, eps,
    )  # fmt: skip
    return convolution(input, weight, bias, mask, settings, weight.shape[0])


def masked_batch_norm(
    input: Tensor,
    mask: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization with statistics over valid elements: with n the sum of the mask over a channel, ``mean = sum(x)
    / n`` and ``var = sum(((x - mean) * mask) ** 2) / n``, 0 and 0 where n is 0. Fractional masks are not multiplied into
    the input again. The running statistics are updated in place while ``training``."""
    if not training and (running_mean is None or running_var is None):
        raise ValueError("running_mean and running_var are None; expected both while training is False")
    _check_norm(input, mask)
    over = [0, *range(2, input.dim())]
    shape = [1, -1, *[1] * (input.dim() - 2)]
    x = input.masked_fill(mask == 0, 0)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if training:
        full = mask.to(wide.dtype).expand_as(wide)
        n = full.sum(over)
        part = torch.where(n > 0, 1 / n.clamp_min(torch.finfo(n.dtype).tiny), torch.zeros_like(n))
        mean = wide.sum(over) * part
        var = (((wide - mean.view(shape)) * full) ** 2).sum(over) * part
        with torch.no_grad():
            for running, batch in ((running_mean, mean), (running_var, var)):
                if running is not None:
                    running.mul_(1 - momentum).add_(batch.to(running.dtype), alpha=momentum)
    else:
        assert running_mean is not None and running_var is not None  # checked above
        mean, var = running_mean.to(wide.dtype), running_var.to(wide.dtype)
    y = (wide - mean.view(shape)) * torch.rsqrt(var.view(shape) + eps)
    if weight is not None:
        y = y * weight.to(wide.dtype).view(shape)
    if bias is not None:
        y = y + bias.to(wide.dtype).view(shape)
    return y.to(input.dtype)


def masked_spatial_mean(input: Tensor, mask: Tensor | None = None, eps: float = 1e-8) -> tuple[Tensor, Tensor | None]:
    """``sum of input / (sum of mask + eps)`` over the spatial dimensions, ``[N, C]``, and the mask's own mean, ``[N or 1, C]``.
    What the input holds where the mask is 0 counts as 0."""
    over = tuple(range(2, input.dim()))
    if mask is None:
        return input.mean(over), None
    _check_norm(input, mask)
    full = mask.expand(-1, input.shape[1], *mask.shape[2:])
    return input.masked_fill(mask == 0, 0).sum(over) / (full.sum(over) + eps), full.mean(over)


def _check_norm(input: Tensor, mask: Tensor) -> None:
    if not isinstance(mask, Tensor) or not mask.dtype.is_floating_point:
        raise TypeError(f"mask is {_describe(mask)}; expected a floating-point tensor")
    if mask.device != input.device:
        raise ValueError(f"mask is on {mask.device} and input on {input.device}; expected one device")
    shape, of_mask = input.shape, mask.shape
    if (
        len(of_mask) != len(shape)
        or of_mask[2:] != shape[2:]
        or of_mask[0] not in (1, shape[0])
        or of_mask[1] not in (1, shape[1])
    ):
        raise ValueError(
            f"mask has shape {list(of_mask)}; expected [{shape[0]} or 1, {shape[1]} or 1, {', '.join(map(str, shape[2:]))}]"
        )
