"""The operator under torch.func: grad, vjp, vmap and their combinations (PyTorch 2.0 and later)."""

from __future__ import annotations

import torch

from ._autograd import second_order
from ._engine import call_of, dense
from ._settings import Settings


def plain_forward(x, weight, bias, mask, settings: Settings):
    """Output and updated mask, both new, of tensors that nothing wraps; no graph is made."""
    with torch.no_grad():
        x, last = dense(x)
        weight = weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        call = call_of(x, last, weight, bias, mask, settings, kept=False)
        y = call.forward(x, weight, bias)
        return y, call.side.read(x)


def plain_backward(x, weight, grad_output, mask, settings: Settings, has_bias: bool, wanted):
    """The three gradients; empty tensors for those that are not wanted."""
    with torch.no_grad():
        x, last = dense(x)
        weight = weight.contiguous()
        bias = weight.new_empty(weight.shape[:1]) if has_bias else None  # of which nothing but the shape is read
        call = call_of(x, last, weight, bias, mask, settings, kept=False)
        grads = call.backward(x, weight, grad_output, has_bias, wanted)
        return tuple(x.new_empty(0) if g is None else g for g in grads)


def _front(t, at, size):
    """The mapped dimension first; repeated where the tensor has none."""
    return t.expand(size, *t.shape) if at is None else t.movedim(at, 0)


def _folded_mask(mask, at, size, batch):
    if mask is None or (at is None and mask.shape[0] == 1):
        return mask, False
    mask = _front(mask, at, size)
    return mask.expand(size, batch, *mask.shape[2:]).flatten(0, 1), True


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(x, weight, bias, mask, settings):
        return plain_forward(x, weight, bias, mask, settings)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, bias, mask, ctx.settings = inputs
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, mask)

    @staticmethod
    def backward(ctx, grad_output, _):
        if grad_output is None:
            return (None,) * 5
        x, weight, mask = ctx.saved_tensors
        wanted = tuple(ctx.needs_input_grad[:3])
        grads = Gradients.apply(x, weight, grad_output, mask, ctx.settings, ctx.has_bias, wanted)
        return (*(g if w else None for g, w in zip(grads, (*wanted[:2], wanted[2] and ctx.has_bias))), None, None)

    @staticmethod
    def vmap(info, in_dims, x, weight, bias, mask, settings):
        size = info.batch_size
        if in_dims[1] is None and in_dims[2] is None:
            x = _front(x, in_dims[0], size)
            batch = x.shape[1]
            folded, per_item = _folded_mask(mask, in_dims[3], size, batch)
            y, updated = Convolution.apply(x.flatten(0, 1), weight, bias, folded, settings)
            updated = updated.unflatten(0, (size, batch)) if per_item else updated
            return (y.unflatten(0, (size, batch)), updated), (0, 0 if per_item else None)
        tensors = [t if t is None else _front(t, at, size) for t, at in zip((x, weight, bias, mask), in_dims)]
        each = [Convolution.apply(*(t if t is None else t[i] for t in tensors), settings) for i in range(size)]
        return tuple(torch.stack(list(part)) for part in zip(*each)), (0, 0)


class Gradients(torch.autograd.Function):
    @staticmethod
    def forward(x, weight, grad_output, mask, settings, has_bias, wanted):
        return plain_backward(x, weight, grad_output, mask, settings, has_bias, wanted)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, grad_output, mask, ctx.settings, ctx.has_bias, ctx.wanted = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, grad_output, mask)

    @staticmethod
    def backward(ctx, *to):
        x, weight, grad_output, mask = ctx.saved_tensors
        wanted = (*ctx.wanted[:2], ctx.wanted[2] and ctx.has_bias)
        to = tuple(t if w else None for t, w in zip(to, wanted))
        rest = (ctx.settings, ctx.has_bias)
        parts = second_order(
            lambda a, w, b: Convolution.apply(a, w, b, mask, ctx.settings)[0],
            lambda a, w, wants: Gradients.apply(a, w, grad_output, mask, *rest, wants),
            x, weight, to, ctx.has_bias, ctx.needs_input_grad,
        )  # fmt: skip
        return (*parts, None, None, None, None)

    @staticmethod
    def vmap(info, in_dims, x, weight, grad_output, mask, settings, has_bias, wanted):
        size = info.batch_size
        tensors = [t if t is None else _front(t, at, size) for t, at in zip((x, weight, grad_output, mask), in_dims)]
        each = [Gradients.apply(*(t if t is None else t[i] for t in tensors), settings, has_bias, wanted) for i in range(size)]
        return tuple(torch.stack(list(part)) for part in zip(*each)), (0, 0, 0)
