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
from ._settings import GROUP_CHANNELS, MULTI_CHANNEL, WEIGHT_MAGNITUDE, Settings, check_shapes

TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
NONE, BINARY, FRACTIONAL = range(3)
_PLANS_KEPT = 256
_SPARE_SIDES = 2
_UNSUPPORTED = 2  # PCONV_ERROR_UNSUPPORTED
_SMALL = 1 << 18  # products of a convolution

_forward, _backward = lib.pconvPythonForward, lib.pconvPythonBackward


def place_of(x: torch.Tensor):
    """Where a call of `x` runs: so many threads of the CPU, or the number of a CUDA device and its current stream."""
    if x.is_cpu:
        return torch.get_num_threads()
    return x.device.index, torch.cuda.current_stream(x.device).cuda_stream


def _device_at(place, shape, weight_shape) -> _devices.Handle:
    if isinstance(place, int):
        # To wake other threads takes longer than such work.
        small = torch.Size(shape).numel() * torch.Size(weight_shape).numel() < _SMALL * shape[1]
        return _devices.cpu(1 if small else place)
    return _devices.cuda(*place)


def dense(x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """`x`, or a copy without gaps, and whether its channels come last."""
    if x.is_contiguous():
        return x, False
    form = FORMATS.get(x.dim())
    if form is not None and x.is_contiguous(memory_format=form):
        return x, True
    return x.contiguous(), False


def empty(like: torch.Tensor, shape, last: bool) -> torch.Tensor:
    """Memory for a result of a dense tensor's kind."""
    if shape == like.shape:
        return torch.empty_like(like)
    if last:
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=FORMATS[len(shape)])
    return like.new_empty(shape)


def _numbers(settings: Settings, shape, weight_shape, dtype, last, mask_type, has_bias, training, mask=(0, 0, 0)):
    three = lambda values: [*values, *[1] * (3 - len(values))]  # noqa: E731
    numbers = [
        weight_shape[0], settings.groups, *three(weight_shape[2:]), *three(settings.stride), *three(settings.padding),
        *three(settings.dilation), settings.mode, settings.window, settings.normalization, has_bias,
        settings.dims, shape[0], shape[1], *three(shape[2:]), TYPES[dtype], last, mask_type,
        settings.input_is_masked, training, 0, *mask,
    ]  # fmt: skip
    return (c_int64 * len(numbers))(*map(int, numbers))


class Plan:
    """A convolution prepared for a shape. Keeps its device open."""

    __slots__ = ("_device", "_process", "handle", "output_shape")

    def __init__(self, device, settings, shape, weight_shape, dtype, last, mask_type, has_bias, training) -> None:
        self.handle = None
        self._device, self._process = device, _library.process[0]
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
    def __del__(self, _release=lib.pconvPythonReleasePlan, _process=_library.process) -> None:
        if self.handle and self._process == _process[0]:
            _release(self.handle)

    @property
    def implementation(self) -> str:
        return lib.pconvPythonImplementation(self.handle).decode()


plan_of = functools.lru_cache(_PLANS_KEPT)(Plan)


class Pool:
    """Mask sides for masks of one form under one window, those that are free. Keeps its device open."""

    def __init__(self, device, settings, shape, weight_shape, dtype, mask_type, mask_shape, multiplicity) -> None:
        self.device, self.settings, self.mask_type, self.process = device, settings, mask_type, _library.process[0]
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
            return handle.value or 0

    def give(self, handle: int, _most=_SPARE_SIDES, _release=lib.pconvPythonReleaseSide, _process=_library.process) -> None:
        if self.process != _process[0]:
            return
        if len(self.free) < _most:
            self.free.append(handle)
        else:
            _release(handle)

    def __del__(self, _release=lib.pconvPythonReleaseSide, _process=_library.process) -> None:
        if getattr(self, "free", None) and self.process == _process[0]:
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
        self._planes: torch.Tensor | None = None

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
        planes = ((mask != 0).to(torch.uint8) if self.mask_type == BINARY else mask.float()).contiguous()
        self._planes = planes  # stay in use
        _library.check(lib.pconvPythonComputeSideOnDevice(self.handle, planes.data_ptr(), w))
        return True

    def read(self, like: torch.Tensor) -> torch.Tensor:
        """A new tensor of the updated mask in F32, [N or 1, planes, O...], on the device of `like`."""
        updated = like.new_empty(self.pool.updated_shape, dtype=torch.float32)
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
        self.begin(mask)

    def begin(self, mask: torch.Tensor) -> None:
        self.version = mask._version
        self.mask_type: int | None = None
        self.sides: dict[Pool, Side] = {}  # a new one, not an empty one: another thread's side of before goes to that of before


_known: dict[int, _Known] = {}


def remember(mask: torch.Tensor) -> _Known:
    entry = _known.get(id(mask))
    if entry is None or entry.reference() is not mask:
        entry = _known[id(mask)] = _Known(mask)
    elif entry.version != mask._version:
        entry.begin(mask)
    return entry


def _is_binary(mask: torch.Tensor) -> bool:
    """Waits for the GPU: asked once for a mask."""
    if torch.cuda.is_current_stream_capturing():
        return False  # sums of F32 planes are right for any mask
    return bool(((mask == 0) | (mask == 1)).all())


@functools.lru_cache(1024)
def _mask_side_of(settings: Settings, shape, weight_shape) -> tuple[Settings, tuple, tuple]:
    """The same with all that has no part in the mask side made equal, so that layers share it."""
    if settings.normalization == WEIGHT_MAGNITUDE:
        return settings, tuple(shape), tuple(weight_shape)
    groups = settings.groups if settings.mode == MULTI_CHANNEL and settings.window == GROUP_CHANNELS else 1
    channels = shape[1] if settings.mode == MULTI_CHANNEL else 1
    shape, weight_shape = (shape[0], channels, *shape[2:]), (groups, channels // groups, *weight_shape[2:])
    return settings._replace(groups=groups, input_is_masked=False), shape, weight_shape


class Prepared:
    """What shapes, types and settings decide of a call, found by one look-up: its device, plans and pools of mask sides.

    `shares`: the channels of the mask share memory, so that one plane says all."""

    __slots__ = ("_plans", "_pools", "device", "has_bias", "key", "last", "of_pool", "settings", "shares", "weighted")

    def __init__(self, settings, shape, weight_shape, bias_shape, mask_shape, dtype, last, shares, place) -> None:
        check_shapes(shape, weight_shape, bias_shape, mask_shape, settings)
        self.settings, self.last, self.has_bias = settings, last, bias_shape is not None
        self.weighted = settings.normalization == WEIGHT_MAGNITUDE
        self.device = _device_at(place, shape, weight_shape)
        self.key = (shape, weight_shape, dtype)
        self._plans: list[Plan | None] = [None] * 6
        self._pools: list[Pool | None] = [None] * 3
        multiplicity = 1
        self.shares = False
        if mask_shape is not None and settings.mode == MULTI_CHANNEL:
            self.shares = shares and mask_shape[1] > 1
            if self.shares or mask_shape[1] == 1:
                mask_shape, multiplicity = (mask_shape[0], 1, *mask_shape[2:]), shape[1]
        of_side, side_shape, side_weight = _mask_side_of(settings, shape, weight_shape)
        mask_shape = None if mask_shape is None else tuple(mask_shape)
        self.of_pool = (of_side, side_shape, side_weight, dtype if self.weighted else torch.float32), mask_shape, multiplicity

    def plan(self, mask_type: int, training: bool) -> Plan:
        at = 2 * mask_type + training
        plan = self._plans[at]
        if plan is None:
            shape, weight_shape, dtype = self.key
            plan = self._plans[at] = plan_of(
                self.device, self.settings, shape, weight_shape, dtype, self.last, mask_type, self.has_bias, training
            )
        return plan

    def pool(self, mask_type: int) -> Pool:
        pool = self._pools[mask_type]
        if pool is None:
            of_side, mask_shape, multiplicity = self.of_pool
            pool = self._pools[mask_type] = _pool_of(self.device, *of_side, mask_type, mask_shape, multiplicity)
        return pool


_prepared = functools.lru_cache(_PLANS_KEPT)(Prepared)


def _side_of(prepared: Prepared, weight: torch.Tensor, mask: torch.Tensor | None, kept: bool) -> Side:
    """The computed mask side; where it may be `kept`, the one of an earlier call if nothing has changed since."""
    if mask is None:
        return _full_side(prepared.pool(NONE))
    weighted = prepared.weighted
    entry = remember(mask) if kept and not mask.is_inference() else None
    sides = None if entry is None else entry.sides
    known = None if entry is None else entry.mask_type
    mask_type = BINARY if known is None else known
    planes = mask[:, :1] if prepared.shares else mask
    if known is None and not mask.is_cpu:
        # Inside compiled graphs nothing may wait: sums of F32 planes are right for any mask.
        mask_type = BINARY if kept and _is_binary(planes) else FRACTIONAL
    while True:
        pool = prepared.pool(mask_type)
        if sides and not weighted:
            side = sides.get(pool)
            if side is not None:
                return side
        side = Side(pool)
        if side.compute(planes, weight if weighted else None):
            break
        mask_type = FRACTIONAL
    if entry is not None and sides is entry.sides:
        entry.mask_type = mask_type
        if not weighted:
            sides[pool] = side
    return side


@functools.lru_cache(_PLANS_KEPT)
def _full_side(pool: Pool) -> Side:
    side = Side(pool)
    side.compute(None, None)
    return side


class Call:
    """What was prepared and the mask side of one call: all that a backward pass needs beside tensors."""

    __slots__ = ("last", "prepared", "settings", "side")

    def __init__(self, prepared: Prepared, side: Side) -> None:
        self.prepared, self.side = prepared, side
        self.settings, self.last = prepared.settings, prepared.last

    def forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """`x` is dense in the call's layout, `weight` and `bias` are contiguous."""
        side = self.side
        plan = self.prepared.plan(side.pool.mask_type, False)  # one for training packs the weights twice
        y = empty(x, plan.output_shape, self.last)
        b = None if bias is None else bias.data_ptr()
        status = _forward(plan.handle, side.handle, x.data_ptr(), weight.data_ptr(), b, y.data_ptr())
        if status:
            _library.fail(status)
        return y

    def backward(self, x, weight, grad_output, has_bias: bool, wanted) -> tuple:
        """The gradients of x, weight and bias that `wanted` has, None for the others."""
        side, last = self.side, self.last
        plan = self.prepared.plan(side.pool.mask_type, True)
        grad_output = grad_output.contiguous(memory_format=FORMATS[x.dim()] if last else torch.contiguous_format)
        dx = torch.empty_like(x) if wanted[0] else None
        dw = torch.empty_like(weight) if wanted[1] else None
        db = weight.new_empty(weight.shape[:1]) if wanted[2] and has_bias else None
        w = weight.data_ptr()
        # What a bias holds has no part in gradients: any memory of its size will do, and the weight has no less.
        status = _backward(
            plan.handle, side.handle, x.data_ptr(), w, w if has_bias else None, grad_output.data_ptr(),
            None if dx is None else dx.data_ptr(), None if dw is None else dw.data_ptr(), None if db is None else db.data_ptr(),
        )  # fmt: skip
        if status:
            _library.fail(status)
        return dx, dw, db


def call_of(x, last: bool, weight, bias, mask, settings: Settings, kept: bool = True) -> Call:
    """`kept`: the mask is known by identity and version counter. Compiled code writes without counting. ValueError where
    shapes do not belong together."""
    prepared = _prepared(
        settings, x.shape, weight.shape, None if bias is None else bias.shape, None if mask is None else mask.shape, x.dtype,
        last, mask is not None and mask.stride()[1:2] == (0,), place_of(x),
    )  # fmt: skip
    return Call(prepared, _side_of(prepared, weight, mask, kept))


def _after_fork() -> None:
    _prepared.cache_clear()
    plan_of.cache_clear()
    _pool_of.cache_clear()
    _full_side.cache_clear()
    _known.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
