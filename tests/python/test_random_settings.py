"""Random settings of all kinds against the oracles in float64: values, updated masks, gradients, and NaN in holes."""

import random

import pytest

torch = pytest.importorskip("torch")

import oracles  # noqa: E402
from closeness import assert_close  # noqa: E402
from pconv import functional as F  # noqa: E402

COUNTS = {(False, "all_channels"): "one", (True, "all_channels"): "all", (True, "group_channels"): "group"}


class Setting:
    """Everything of one call, drawn from a seed."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.dims = draw.choice([1, 2, 2, 2, 3])
        self.groups = draw.choice([1, 1, 1, 2, 4])
        self.batch = draw.choice([1, 2, 3])
        self.cin = self.groups * draw.choice([1, 2, 3, 4])
        self.cout = self.groups * draw.choice([1, 2, 3, 5])
        self.kernel = tuple(draw.choice([1, 2, 3, 5]) for _ in range(self.dims))
        self.stride = tuple(draw.choice([1, 1, 2, 3]) for _ in range(self.dims))
        self.dilation = tuple(draw.choice([1, 1, 2]) for _ in range(self.dims))
        self.padding = tuple(draw.choice([0, 1, 2]) for _ in range(self.dims))
        most = {1: 40, 2: 16, 3: 9}[self.dims]
        self.size = tuple(max(d * (k - 1) + 1, draw.randint(3, most)) for d, k in zip(self.dilation, self.kernel))
        self.multi, self.window = draw.choice([(False, "all_channels"), (True, "all_channels"), (True, "group_channels")])
        self.mask_kind = draw.choice(["none", "binary", "binary", "full", "empty", "fractional", "one for all"])
        self.has_bias = draw.random() < 0.7
        self.last = draw.random() < 0.4 and self.dims > 1
        self.eps = draw.choice([1e-8, 1e-6, 1e-3])
        self.generator = torch.Generator().manual_seed(seed)

    def random(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def mask(self):
        if self.mask_kind == "none":
            return None
        shape = (self.batch, self.cin if self.multi and self.mask_kind != "one for all" else 1, *self.size)
        if self.mask_kind == "one for all":
            shape = (1, *shape[1:])
        values = torch.rand(*shape, generator=self.generator)
        if self.mask_kind == "fractional":
            return values * (values > 0.3)
        return {"full": torch.ones(shape), "empty": torch.zeros(shape)}.get(self.mask_kind, (values > 0.5).float())

    def tensors(self):
        x = self.random(self.batch, self.cin, *self.size)
        w = self.random(self.cout, self.cin // self.groups, *self.kernel)
        return x, w, self.random(self.cout) if self.has_bias else None, self.mask()

    def ours(self, x, w, b, mask):
        return F.partial_conv(
            x, w, b, mask, self.stride, self.padding, self.dilation, self.groups, multi_channel=self.multi,
            mask_window=self.window, eps=self.eps, return_mask=True,
        )  # fmt: skip

    def expected(self, x, w, b, mask):
        return oracles.partial_conv(
            x, w, b, mask, self.stride, self.padding, self.dilation, self.groups,
            counts=COUNTS[self.multi, self.window], eps=self.eps,
        )  # fmt: skip


def leaves(tensors, dtype):
    return [None if t is None else t.to(dtype).detach().requires_grad_() for t in tensors]


def in_format(x, last):
    if not last:
        return x
    return x.detach().contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d).requires_grad_()


@pytest.mark.parametrize("seed", range(200))
def test_agrees_in_float32(seed):
    setting = Setting(seed)
    *operands, mask = setting.tensors()
    ours, theirs = leaves(operands, torch.float32), leaves(operands, torch.float64)
    ours[0] = in_format(ours[0], setting.last)
    if mask is not None:  # a hole may hold anything
        with torch.no_grad():
            ours[0].masked_fill_((mask == 0).expand_as(ours[0]), float("nan"))
    y, u = setting.ours(*ours, mask)
    expected, updated = setting.expected(*theirs, None if mask is None else mask.double())
    assert_close(y.detach(), expected.detach(), "output")
    if setting.multi:
        updated = updated.repeat_interleave(setting.cout // updated.shape[1], 1)
    assert_close(u, updated, "updated mask")
    g = setting.random(*y.shape)
    ours, theirs = ([t for t in part if t is not None] for part in (ours, theirs))
    for got, want, name in zip(
        torch.autograd.grad(y, ours, g), torch.autograd.grad(expected, theirs, g.double()), ("input", "weight", "bias")
    ):
        assert_close(got, want, f"gradient of the {name}", times=2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("seed", range(200, 212))
def test_agrees_in_16_bits(seed, dtype):
    setting = Setting(seed)
    *operands, mask = setting.tensors()
    operands = [None if t is None else t.to(dtype) for t in operands]
    mask = None if mask is None else mask.to(dtype)
    y, u = setting.ours(*operands, mask)
    assert y.dtype == dtype and u.dtype == dtype
    expected, updated = setting.expected(*[None if t is None else t.double() for t in (*operands, mask)])
    assert_close(y, expected, "output")
    if setting.multi:
        updated = updated.repeat_interleave(setting.cout // updated.shape[1], 1)
    assert_close(u, updated, "updated mask")


@pytest.mark.parametrize("seed", range(300, 330))
def test_composite_agrees(seed):
    """float64 takes PyTorch's own operations; so do meta tensors, for shapes."""
    setting = Setting(seed)
    *operands, mask = setting.tensors()
    ours, theirs = leaves(operands, torch.float64), leaves(operands, torch.float64)
    mask = None if mask is None else mask.double()
    y, _ = setting.ours(*ours, mask)
    expected, _ = setting.expected(*theirs, mask)
    assert_close(y.detach(), expected.detach(), "output")
    g = setting.random(*y.shape).double()
    ours, theirs = ([t for t in part if t is not None] for part in (ours, theirs))
    for got, want in zip(torch.autograd.grad(y, ours, g), torch.autograd.grad(expected, theirs, g)):
        assert_close(got, want, "gradient")
    meta = setting.ours(*[None if t is None else t.to("meta") for t in (*operands, mask)])[0]
    assert meta.shape == y.shape and meta.device.type == "meta"


@pytest.mark.parametrize("seed", range(400, 424))
def test_masked_conv_agrees(seed):
    setting = Setting(seed)
    setting.kernel = tuple(k | 1 for k in setting.kernel)
    setting.size = tuple(max(d * (k - 1) + 1, s) for d, k, s in zip(setting.dilation, setting.kernel, setting.size))
    setting.multi = True
    *operands, mask = setting.tensors()
    ours, theirs = leaves(operands, torch.float32), leaves(operands, torch.float64)
    window = (setting.stride, setting.padding, setting.dilation, setting.groups)
    y, u = F.masked_conv(*ours, mask, *window)
    expected, updated = oracles.masked_conv(*theirs, None if mask is None else mask.double(), *window)
    assert_close(y.detach(), expected.detach(), "output")
    assert (u is None) == (updated is None)
    if u is not None:
        assert_close(u, updated, "updated mask")
    g = setting.random(*y.shape)
    ours, theirs = ([t for t in part if t is not None] for part in (ours, theirs))
    for got, want in zip(torch.autograd.grad(y, ours, g), torch.autograd.grad(expected, theirs, g.double())):
        assert_close(got, want, "gradient", times=2)
    again, updated = F.masked_conv(*[None if t is None else t.double() for t in (*operands, mask)], *window)
    assert_close(again, expected.detach(), "composite")
