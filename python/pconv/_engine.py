"""One operator call on the memory of PyTorch's tensors: plans by shape, mask sides by mask."""

from __future__ import annotations

import functools
import os
import weakref
from ctypes import byref, c_int64, c_void_p

import torch

from . import _devices, _library
from ._composite import repeat_channels
from ._library import lib
from ._settings import GROUP_CHANNELS, MULTI_CHANNEL, WEIGHT_MAGNITUDE, Settings

TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
NONE, BINARY, FRACTIONAL = range(3)
_PLANS_KEPT = 256
_SPARE_SIDES = 2
_UNSUPPORTED = 2  # PCONV_ERROR_UNSUPPORTED
_SMALL = 1 << 18  # products of a convolution

_forward, _backward = lib.pconvPythonForward, lib.pconvPythonBackward


def device_of(x: torch.Tensor, weight: torch.Tensor) -> _devices.Handle:
    if x.is_cpu:
        # To wake other threads takes longer than such work.
        small = x.numel() * weight.numel() < _SMALL * x.shape[1]
        return _devices.cpu(1 if small else torch.get_num_threads())
    return _devices.cuda(x.device.index, torch.cuda.current_stream(x.device).cuda_stream)


def dense(x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """`x`, or a copy without gaps, and whether its channels come last."""
    if x.is_contiguous():
        return x, False
    form = FORMATS.get(x.dim())
    if form is not None and x.is_contiguous(memory_format=form):
        return x, True
    return x.contiguous(), False


def empty(like: torch.Tensor, shape, last: bool) -> torch.Tensor:
    if last:
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=FORMATS[len(shape)])
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _numbers(settings: Settings, shape, weight_shape, dtype, last, mask_type, has_bias, training, mask=(0, 0, 0)):
    three = lambda values: [*values, *[1] * (3 - len(values))]  # noqa: E731
    numbers = [
        settings.dims, shape[0], shape[1], weight_shape[0], settings.groups, *three(shape[2:]),
        *three(weight_shape[2:]), *three(settings.stride), *three(settings.padding), *three(settings.dilation),
        TYPES[dtype], last, mask_type, settings.mode, settings.window, settings.normalization, has_bias,
        settings.input_is_masked, training, 0, *mask,
    ]  # fmt: skip
    return (c_int64 * len(numbers))(*map(int, numbers))


class Plan:
    """A convolution prepared for a shape. Keeps its device open."""

    __slots__ = ("_device", "_process", "handle", "output_shape")

    def __init__(self, device, settings, shape, weight_shape, dtype, last, mask_type, has_bias, training) -> None:
        self.handle = None
        self._device, self._process = device, os.getpid()
        numbers = _numbers(settings, shape, weight_shape, dtype, last, mask_type, has_bias, training)
        handle = c_void_p()
        status = lib.pconvPythonCreatePlan(device.value, numbers, settings.eps, None, byref(handle))
        if status == _UNSUPPORTED and device.is_cpu:
            # Some versions of oneDNN refuse odd shapes, such as gradients of one pixel, only when they are made.
            status = lib.pconvPythonCreatePlan(device.value, numbers, settings.eps, b"cpu:reference", byref(handle))
        _library.check(status)
        self.handle = handle.value
        size = settings.output_size(shape[2:], weight_shape[2:])
        self.output_shape = (shape[0], weight_shape[0], *size)

    # What is needed is bound here: at the interpreter's end a module's names go before its objects.
    def __del__(self, _release=lib.pconvPythonReleasePlan, _process=os.getpid) -> None:
        if self.handle and self._process == _process():
            _release(self.handle)

    @property
    def implementation(self) -> str:
        return lib.pconvPythonImplementation(self.handle).decode()


plan_of = functools.lru_cache(_PLANS_KEPT)(Plan)


class Pool:
    """Mask sides for masks of one form under one window, those that are free. Keeps its device open."""

    def __init__(self, device, settings, shape, weight_shape, dtype, mask_type, mask_shape, multiplicity) -> None:
        self.device, self.settings, self.mask_type, self.process = device, settings, mask_type, os.getpid()
        size = settings.output_size(shape[2:], weight_shape[2:])
        planes = settings.mask_planes(weight_shape[0], mask_type != NONE)
        self.updated_shape = (mask_shape[0] if mask_shape else 1, planes, *size)
        form = (mask_shape[0], mask_shape[1], multiplicity) if mask_shape else (1, 1, 1)
        self.numbers = _numbers(settings, shape, weight_shape, dtype, False, mask_type, True, False, form)
        self.out_channels = weight_shape[0]
        self.free: list[int] = []

    def take(self) -> int:
        try:
            return self.free.pop()
        except IndexError:
            handle = c_void_p()
            create = lib.pconvPythonCreateSide
            _library.check(create(self.device.value, self.numbers, self.settings.eps, None, byref(handle)))
            return handle.value

    def give(self, handle: int, _most=_SPARE_SIDES, _release=lib.pconvPythonReleaseSide, _process=os.getpid) -> None:
        if self.process != _process():
            return
        if len(self.free) < _most:
            self.free.append(handle)
        else:
            _release(handle)

    def __del__(self, _release=lib.pconvPythonReleaseSide, _process=os.getpid) -> None:
        if getattr(self, "free", None) and self.process == _process():
            for handle in self.free:
                _release(handle)


_pool_of = functools.lru_cache(_PLANS_KEPT)(Pool)


class Side:
    """What one mask gives under one window, computed; with a copy of the mask's planes."""

    __slots__ = ("__weakref__", "_planes", "_updated", "handle", "pool")

    def __init__(self, pool: Pool) -> None:
        self.handle = None
        self.pool = pool
        self.handle = pool.take()
        self._updated: dict = {}
        self._planes = None

    def __del__(self) -> None:
        if self.handle:
            self.pool.give(self.handle)

    @property
    def mask_type(self) -> int:
        return self.pool.mask_type

    def compute(self, mask: torch.Tensor | None, weight: torch.Tensor | None) -> bool:
        """False where the mask is not of the pool's type."""
        w = None if weight is None else weight.data_ptr()
        if mask is None:
            _library.check(lib.pconvPythonComputeSide(self.handle, None, 0, None, w))
            return True
        if mask.is_cpu:
            strides = None if mask.is_contiguous() else (c_int64 * mask.dim())(*mask.stride())
            status = lib.pconvPythonComputeSide(self.handle, mask.data_ptr(), TYPES[mask.dtype], strides, w)
            if status == _library.HAS_FRACTIONS:
                return False
            _library.check(status)
            return True
        planes = (mask != 0).to(torch.uint8) if self.mask_type == BINARY else mask.float()
        self._planes = planes.contiguous()
        _library.check(lib.pconvPythonComputeSideOnDevice(self.handle, self._planes.data_ptr(), w))
        return True

    def read(self, like: torch.Tensor) -> torch.Tensor:
        """A new tensor of the updated mask in F32, [N or 1, planes, O...], on the device of `like`."""
        updated = torch.empty(self.pool.updated_shape, device=like.device)
        _library.check(lib.pconvPythonReadSide(self.handle, updated.data_ptr()))
        if not like.is_cpu and self.pool.settings.normalization != WEIGHT_MAGNITUDE:
            updated.clamp_(0, 1)
        return updated

    def updated(self, like: torch.Tensor, dtype: torch.dtype, channels: int) -> torch.Tensor:
        """The updated mask [N or 1, channels or its own planes where 0, O...]; the same tensor again as long as
        nobody writes to it."""
        known = self._updated.get((dtype, channels))
        if known is not None and known[0]._version == known[1]:
            return known[0]
        keep = not torch.is_inference_mode_enabled()
        base = self.read(like).to(dtype)
        if channels:
            base = repeat_channels(base, channels)
        if keep:
            self._updated[(dtype, channels)] = (base, base._version)
            if self.mask_type != FRACTIONAL and self.pool.settings.normalization != WEIGHT_MAGNITUDE:
                remember(base).mask_type = BINARY
        return base


class _Known:
    """What was found out about a mask, true as long as its version counter stands."""

    __slots__ = ("mask_type", "reference", "sides", "version")

    def __init__(self, mask: torch.Tensor) -> None:
        number, known = id(mask), _known  # bound here: at the interpreter's end a module's names go before its objects
        self.reference = weakref.ref(mask, lambda _: known.pop(number, None))
        self.version = mask._version
        self.mask_type: int | None = None
        self.sides: dict = {}


_known: dict[int, _Known] = {}


def remember(mask: torch.Tensor) -> _Known:
    entry = _known.get(id(mask))
    if entry is None or entry.reference() is not mask or entry.version != mask._version:
        entry = _known[id(mask)] = _Known(mask)
    return entry


def _is_binary(mask: torch.Tensor) -> bool:
    """Waits for the GPU: asked once for a mask."""
    if torch.cuda.is_current_stream_capturing():
        return False  # sums of F32 planes are right for any mask
    return bool(((mask == 0) | (mask == 1)).all())


def _form(settings: Settings, x_shape, mask: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The planes that differ, and how many channels each serves."""
    if settings.mode != MULTI_CHANNEL:
        return mask, 1
    channels = x_shape[1]
    if mask.shape[1] == 1:
        return mask, channels
    if mask.stride(1) == 0:
        return mask[:, :1], channels
    return mask, 1


@functools.lru_cache(1024)
def _mask_side_of(settings: Settings, shape, weight_shape) -> tuple[Settings, tuple, tuple]:
    """The same with all that has no part in the mask side made equal, so that layers share it."""
    if settings.normalization == WEIGHT_MAGNITUDE:
        return settings, tuple(shape), tuple(weight_shape)
    groups = settings.groups if settings.mode == MULTI_CHANNEL and settings.window == GROUP_CHANNELS else 1
    channels = shape[1] if settings.mode == MULTI_CHANNEL else 1
    shape, weight_shape = (shape[0], channels, *shape[2:]), (groups, channels // groups, *weight_shape[2:])
    return settings._replace(groups=groups, input_is_masked=False), shape, weight_shape


def side_of(device, settings: Settings, shape, weight: torch.Tensor, mask: torch.Tensor | None, kept: bool) -> Side:
    """The computed mask side; where it may be `kept`, the one of an earlier call if nothing has changed since."""
    weighted = settings.normalization == WEIGHT_MAGNITUDE
    dtype = weight.dtype if weighted else torch.float32
    settings, shape, weight_shape = _mask_side_of(settings, shape, weight.shape)
    if mask is None:
        return _full_side(device, settings, shape, weight_shape, dtype)
    entry = remember(mask) if kept and not mask.is_inference() else None
    planes, multiplicity = _form(settings, shape, mask)
    mask_type = BINARY if entry is None or entry.mask_type is None else entry.mask_type
    if not mask.is_cpu and mask_type == BINARY and (entry is None or entry.mask_type is None):
        # Inside compiled graphs nothing may wait: sums of F32 planes are right for any mask.
        mask_type = BINARY if kept and _is_binary(planes) else FRACTIONAL
    while True:
        pool = _pool_of(device, settings, shape, weight_shape, dtype, mask_type, planes.shape, multiplicity)
        if entry is not None and not weighted:
            side = entry.sides.get(pool)
            if side is not None:
                return side
        side = Side(pool)
        if side.compute(planes, weight if weighted else None):
            break
        mask_type = FRACTIONAL
    if entry is not None:
        entry.mask_type = mask_type
        if not weighted:
            entry.sides[pool] = side
    return side


@functools.lru_cache(_PLANS_KEPT)
def _full_side(device, settings: Settings, shape, weight_shape, dtype) -> Side:
    side = Side(_pool_of(device, settings, shape, weight_shape, dtype, NONE, None, 1))
    side.compute(None, None)
    return side


class Call:
    """The plan and the mask side of one call: all that a backward pass needs beside tensors."""

    __slots__ = ("device", "last", "settings", "side")

    def __init__(self, settings: Settings, side: Side, device, last: bool) -> None:
        self.settings, self.side, self.device, self.last = settings, side, device, last

    def plan(self, x: torch.Tensor, weight: torch.Tensor, has_bias: bool, training: bool) -> Plan:
        mask_type = self.side.pool.mask_type
        return plan_of(self.device, self.settings, x.shape, weight.shape, x.dtype, self.last, mask_type, has_bias, training)

    def forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """`x` is dense in the call's layout, `weight` and `bias` are contiguous."""
        plan = self.plan(x, weight, bias is not None, False)  # one for training packs the weights twice
        y = empty(x, plan.output_shape, self.last)
        side, b = self.side.handle, None if bias is None else bias.data_ptr()
        status = _forward(plan.handle, side, x.data_ptr(), weight.data_ptr(), b, y.data_ptr())
        if status:
            _library.fail(status)
        return y

    def backward(self, x, weight, grad_output, has_bias: bool, wanted) -> tuple:
        """The gradients of x, weight and bias that `wanted` has, None for the others."""
        plan = self.plan(x, weight, has_bias, True)
        grad_output = grad_output.contiguous(memory_format=FORMATS[x.dim()] if self.last else torch.contiguous_format)
        dx = empty(x, x.shape, self.last) if wanted[0] else None
        dw = empty(weight, weight.shape, False) if wanted[1] else None
        db = empty(weight, weight.shape[:1], False) if wanted[2] and has_bias else None
        # What a bias holds has no part in gradients: any memory of its size will do, and the weight has no less.
        memory = [None if t is None else t.data_ptr() for t in (x, weight, weight if has_bias else None, grad_output, dx, dw, db)]
        status = _backward(plan.handle, self.side.handle, *memory)
        if status:
            _library.fail(status)
        return dx, dw, db


def call_of(x, last: bool, weight, mask, settings: Settings, kept: bool = True) -> Call:
    """`kept`: the mask is known by identity and version counter. Compiled code writes without counting."""
    device = device_of(x, weight)
    return Call(settings, side_of(device, settings, x.shape, weight, mask, kept), device, last)


def _after_fork() -> None:
    plan_of.cache_clear()
    _pool_of.cache_clear()
    _full_side.cache_clear()
    _known.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
