"""torch.ops.pconv: what compiled and exported graphs call (PyTorch 2.4 and later).

Annotations are read by PyTorch, so they are not postponed here."""

# ruff: noqa: UP006, UP035
from typing import List, Optional, Tuple

import torch
from torch import Tensor

from ._autograd import second_order
from ._engine import FORMATS, dense
from ._settings import Settings
from ._transforms import plain_backward, plain_forward


def arguments(settings: Settings) -> tuple:
    """The settings as the operators take them, after their tensors."""
    s = settings
    return list(s.stride), list(s.padding), list(s.dilation), s.groups, s.mode, s.window, s.normalization, s.eps


def _settings(dims, stride, padding, dilation, groups, mode, window, normalization, eps) -> Settings:
    return Settings(dims, tuple(stride), tuple(padding), tuple(dilation), groups, mode, window, normalization, eps)


@torch.library.custom_op("pconv::partial_conv", mutates_args=())
def partial_conv(
    x: Tensor, weight: Tensor, bias: Optional[Tensor], mask: Optional[Tensor], stride: List[int], padding: List[int],
    dilation: List[int], groups: int, mode: int, window: int, normalization: int, eps: float,
) -> Tuple[Tensor, Tensor]:  # fmt: skip
    """The output, and the updated mask in F32, [N or 1, 1 or groups, O...]."""
    settings = _settings(x.dim() - 2, stride, padding, dilation, groups, mode, window, normalization, eps)
    return plain_forward(x, weight, bias, mask, settings)


@torch.library.custom_op("pconv::partial_conv_backward", mutates_args=())
def partial_conv_backward(
    x: Tensor, weight: Tensor, grad_output: Tensor, mask: Optional[Tensor], stride: List[int], padding: List[int],
    dilation: List[int], groups: int, mode: int, window: int, normalization: int, eps: float, has_bias: bool,
    wanted: List[bool],
) -> Tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of x, weight and bias; empty where `wanted` has none."""
    settings = _settings(x.dim() - 2, stride, padding, dilation, groups, mode, window, normalization, eps)
    return plain_backward(x, weight, grad_output, mask, settings, has_bias, wanted)


def _like(x: Tensor, shape) -> Tensor:
    if dense(x)[1]:
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=FORMATS[x.dim()])
    return x.new_empty(shape)


@partial_conv.register_fake
def _(x, weight, bias, mask, stride, padding, dilation, groups, mode, window, normalization, eps):
    settings = _settings(x.dim() - 2, stride, padding, dilation, groups, mode, window, normalization, eps)
    size = settings.output_size(x.shape[2:], weight.shape[2:])
    updated = (1 if mask is None else mask.shape[0], settings.mask_planes(weight.shape[0], mask is not None), *size)
    return _like(x, (x.shape[0], weight.shape[0], *size)), x.new_empty(updated, dtype=torch.float32)


@partial_conv_backward.register_fake
def _(x, weight, grad_output, mask, *rest):
    has_bias, wanted = rest[-2:]
    nothing = lambda: x.new_empty(0)  # noqa: E731
    return (
        _like(x, x.shape) if wanted[0] else nothing(),
        weight.new_empty(weight.shape) if wanted[1] else nothing(),
        weight.new_empty(weight.shape[:1]) if wanted[2] and has_bias else nothing(),
    )


def _setup_forward(ctx, inputs, output):
    x, weight, bias, mask, *ctx.rest = inputs
    ctx.has_bias = bias is not None
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, weight, mask)


def _forward_backward(ctx, grad_output, _):
    x, weight, mask = ctx.saved_tensors
    wanted = [*ctx.needs_input_grad[:2], bool(ctx.needs_input_grad[2]) and ctx.has_bias]
    grads = partial_conv_backward(x, weight, grad_output, mask, *ctx.rest, ctx.has_bias, wanted)
    return (*(g if w else None for g, w in zip(grads, wanted)), *[None] * (1 + len(ctx.rest)))


def _setup_backward(ctx, inputs, output):
    x, weight, grad_output, mask, *rest = inputs
    *ctx.rest, ctx.has_bias, ctx.wanted = rest
    ctx.save_for_backward(x, weight, grad_output, mask)


def _backward_backward(ctx, *to):
    x, weight, grad_output, mask = ctx.saved_tensors
    rest, has_bias = ctx.rest, ctx.has_bias
    wanted = (*ctx.wanted[:2], ctx.wanted[2] and has_bias)
    parts = second_order(
        lambda a, w, b: partial_conv(a, w, b, mask, *rest)[0],
        lambda a, w, wants: partial_conv_backward(a, w, grad_output, mask, *rest, has_bias, list(wants)),
        x, weight, tuple(t if w else None for t, w in zip(to, wanted)), has_bias, ctx.needs_input_grad,
    )  # fmt: skip
    return (*parts, *[None] * (3 + len(rest)))


partial_conv.register_autograd(_forward_backward, setup_context=_setup_forward)
partial_conv_backward.register_autograd(_backward_backward, setup_context=_setup_backward)
