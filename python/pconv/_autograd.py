"""The operator's derivatives. It is bilinear in input and weight, so that every derivative is made of the same two calls."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

from ._engine import Call, dense


class Convolution(torch.autograd.Function):
    """y(x, weight, bias) under the mask of a call."""

    @staticmethod
    def forward(ctx, x, weight, bias, call: Call):
        ctx.call = call
        ctx.save_for_backward(x, weight)
        return call.forward(x, weight, bias)

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        has_bias = ctx.call.prepared.has_bias
        if torch.is_grad_enabled():
            grads = Gradients.apply(x, weight, grad_output, ctx.call, has_bias, wanted)
        else:
            if forward_ad._current_level >= 0 and forward_ad.unpack_dual(grad_output).tangent is not None:
                raise NotImplementedError(
                    "forward-mode derivative of a backward pass whose forward pass was made before; expected both in dual_level"
                )
            grads = ctx.call.backward(x, weight, grad_output, has_bias, wanted)
        return (*grads, None)


# Function.apply without what it looks for first, transforms of torch.func, of which the caller knows that there are none.
apply_plainly = super(torch.autograd.Function, Convolution).apply


class Gradients(torch.autograd.Function):
    """The gradients of x, weight and bias as functions of x, weight and the output's gradient."""

    @staticmethod
    def forward(ctx, x, weight, grad_output, call: Call, has_bias: bool, wanted):
        ctx.call, ctx.has_bias = call, has_bias
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, grad_output)
        return call.backward(x, weight, grad_output, has_bias, wanted)

    @staticmethod
    def backward(ctx, to_x, to_weight, to_bias):
        x, weight, grad_output = ctx.saved_tensors
        parts = second_order(
            lambda a, w, b: Convolution.apply(*_laid(ctx.call, a, w), b, ctx.call),
            lambda a, w, wanted: Gradients.apply(*_laid(ctx.call, a, w), grad_output, ctx.call, ctx.has_bias, wanted),
            x, weight, (to_x, to_weight, to_bias), ctx.has_bias, ctx.needs_input_grad,
        )  # fmt: skip
        return (*parts, None, None, None)


def _laid(call: Call, x: torch.Tensor, weight: torch.Tensor):
    x, last = dense(x)
    if last != call.last:
        form = {4: torch.channels_last, 5: torch.channels_last_3d}[x.dim()] if call.last else torch.contiguous_format
        x = x.contiguous(memory_format=form)
    return x, weight.contiguous()


def second_order(convolve, gradients, x, weight, to, has_bias: bool, needs):
    """The gradients of x, weight and grad_output from those of the three gradients, any of which may be None.

    `convolve(x, weight, bias)` and `gradients(x, weight, wanted)` are the operator and its gradients."""
    to_x, to_weight, to_bias = to
    grad_x = grad_weight = grad_grad = None
    if to_weight is None and to_bias is not None:
        to_weight = torch.zeros_like(weight)
    if needs[2]:
        none = torch.zeros_like(weight[:, 0].flatten(1)[:, 0]) if has_bias else None
        if to_x is not None:
            grad_grad = convolve(to_x, weight, none)
        if to_weight is not None:
            term = convolve(x, to_weight, none if to_bias is None else to_bias)
            grad_grad = term if grad_grad is None else grad_grad + term
    if needs[0] and to_weight is not None:
        grad_x = gradients(x, to_weight, (True, False, False))[0]
    if needs[1] and to_x is not None:
        grad_weight = gradients(to_x, weight, (False, True, False))[1]
    return grad_x, grad_weight, grad_grad
