"""Derivatives of first and second order, and that no gradient is silently 0."""

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close  # noqa: E402
from pconv import functional as F  # noqa: E402


def operands(dims=2, groups=1, fractional=False, multi=False, seed=0, last=False):
    g = torch.Generator().manual_seed(seed)
    size = {1: (11,), 2: (7, 8), 3: (4, 5, 6)}[dims]
    x = torch.randn(2, 4, *size, generator=g)
    w = torch.randn(6, 4 // groups, *[3] * dims, generator=g)
    b = torch.randn(6, generator=g)
    m = torch.rand(2, 4 if multi else 1, *size, generator=g)
    m = m * (m > 0.4) if fractional else (m > 0.4).float()
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x, w, b, m


def second_order(function, tensors, g):
    """Gradients of a scalar made of first gradients, by input, weight, bias and the output's gradient."""
    leaves = [t.detach().requires_grad_() for t in tensors]
    grad_output = g.detach().requires_grad_()
    first = torch.autograd.grad(function(*leaves), leaves, grad_output, create_graph=True)
    mix = sum((t * torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape)).sum() for t in first)
    second = torch.autograd.grad(mix, [*leaves, grad_output], allow_unused=True)
    return [torch.zeros_like(t) if s is None else s for s, t in zip(second, [*leaves, grad_output])]


@pytest.mark.parametrize("dims, last", [(1, False), (2, False), (2, True), (3, False)])
@pytest.mark.parametrize("fractional", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_double_backward(dims, last, fractional, has_bias):
    x, w, b, m = operands(dims, 2, fractional, last=last)

    def call(mask):
        return lambda *t: F.partial_conv(t[0], t[1], t[2] if has_bias else None, mask, 1, 1, 1, 2)

    tensors = (x, w, b) if has_bias else (x, w)
    g = torch.randn(call(m)(*tensors).shape)
    got = second_order(call(m), tensors, g)
    wide = second_order(call(m.double()), [t.double() for t in tensors], g.double())
    names = ["input", "weight", "bias", "grad_output"] if has_bias else ["input", "weight", "grad_output"]
    for a, e, name in zip(got, wide, names):
        if name != "bias":
            assert e.abs().max() > 0
        assert_close(a, e, f"second derivative by {name}", times=4)


def test_masked_conv_double_backward():
    x, w, b, m = operands(fractional=True, multi=True)
    g = torch.randn(2, 6, 7, 8)
    got = second_order(lambda *t: F.masked_conv(*t, m, 1, 1)[0], (x, w, b), g)
    wide = second_order(lambda *t: F.masked_conv(*t, m.double(), 1, 1)[0], [t.double() for t in (x, w, b)], g.double())
    for a, e in zip(got, wide):
        assert_close(a, e, "second derivative", times=4)


def test_composite_passes_gradcheck():
    x, w, b, m = (t.double() for t in operands(1, fractional=True))
    x, w, b, m = x[:1, :2], w[:2, :2], b[:2], m[:1]
    leaves = [t.requires_grad_() for t in (x, w, b)]
    assert torch.autograd.gradcheck(lambda *t: F.partial_conv(*t, m, 1, 1), leaves)
    assert torch.autograd.gradgradcheck(lambda *t: F.partial_conv(*t, m, 1, 1), leaves)


def test_third_order():
    x, w, b, m = operands()

    def value(t, width):
        t, ww, mm = t.to(width), w.to(width), m.to(width)
        t = t.detach().requires_grad_()
        y = F.partial_conv(t, ww, b.to(width), mm, 1, 1)
        first = torch.autograd.grad((y**3).sum(), t, create_graph=True)[0]
        second = torch.autograd.grad((first**2).sum(), t, create_graph=True)[0]
        return torch.autograd.grad(second.sum(), t)[0]

    assert_close(value(x, torch.float32), value(x, torch.float64), "third derivative", times=10)


def test_only_what_is_wanted():
    x, w, b, m = operands()
    for wanted in ((True, False, False), (False, True, False), (False, False, True)):
        leaves = [t.detach().requires_grad_(r) for t, r in zip((x, w, b), wanted)]
        F.partial_conv(*leaves, m, 1, 1).sum().backward()
        assert [t.grad is not None for t in leaves] == list(wanted)


def test_a_mask_that_requires_a_gradient_has_nvidias():
    x, w, b, m = operands(fractional=True)
    m.requires_grad_()
    y = F.partial_conv(x, w, b, m, padding=1)
    got = torch.autograd.grad(y.sum(), m)[0]
    # d(x * m) / dm = x, the ratio and the updated mask being constants
    leaf = x.double().requires_grad_()
    grad_x = torch.autograd.grad(F.partial_conv(leaf, w.double(), b.double(), m.double().detach(), padding=1).sum(), leaf)[0]
    inside = m.detach() != 0
    expected = (x.double() * grad_x / m.double().detach().clamp_min(1e-30)).sum(1, keepdim=True)
    assert_close((got * inside), expected * inside, "gradient of the mask", times=10)
    assert got[~inside].abs().max() > 0, "in holes too"


def test_gradients_do_not_see_holes_nor_later_writes_to_the_mask():
    x, w, b, m = operands()
    clean = x.clone().requires_grad_()
    dirty = x.masked_fill(m == 0, float("inf")).requires_grad_()
    for t in (clean, dirty):
        mask = m.clone()
        y = F.partial_conv(t, w, b, mask, padding=1)
        mask.fill_(7)
        y.sum().backward()
    assert torch.equal(clean.grad, dirty.grad) and clean.grad.isfinite().all()


def test_a_saved_input_that_was_written_to_is_an_error():
    x, w, b, m = operands()
    w.requires_grad_()
    y = F.partial_conv(x, w, b, m, padding=1)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_weights_that_change_in_any_way_are_seen():
    """By optimizers, by .data, by load_state_dict: nothing of a weight is kept between calls."""
    x, w, b, m = operands()
    weight = torch.nn.Parameter(w.clone())
    with torch.no_grad():
        for change in (lambda: weight.data.mul_(2), lambda: weight.mul_(0.5), lambda: weight.set_(w * 3)):
            change()
            y = F.partial_conv(x, weight, b, m, padding=1)
            expected = F.partial_conv(x.double(), weight.double(), b.double(), m.double(), padding=1)
            assert_close(y, expected, "output")


def directions(tensors, seed=1):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(t.shape, generator=g).to(t.dtype) for t in tensors]


def finite_difference(function, tensors, tangents, step=1e-5):
    ahead, behind = ([t + s * step * d for t, d in zip(tensors, tangents)] for s in (1, -1))
    return (function(*ahead) - function(*behind)) / (2 * step)


@pytest.mark.parametrize("operator", ["partial", "masked"])
def test_forward_mode(operator):
    from torch.autograd import forward_ad

    x, w, b, m = operands(fractional=True, multi=True)

    def call(mask):
        if operator == "partial":
            return lambda x, w, b: F.partial_conv(x, w, b, mask, 1, 1, multi_channel=True)
        return lambda x, w, b: F.masked_conv(x, w, b, mask, 1, 1)[0]

    tangents = directions((x, w, b))
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(t, d) for t, d in zip((x, w, b), tangents)]
        got = forward_ad.unpack_dual(call(m)(*duals)).tangent
    wide = [t.double() for t in (x, w, b)]
    if operator == "partial":
        expected = finite_difference(call(m.double()), wide, [t.double() for t in tangents])
    else:
        expected = masked_tangent(call(m.double()), wide, [t.double() for t in tangents])
    assert got is not None and expected.abs().max() > 0
    assert_close(got, expected, "the tangent", times=4)


def masked_tangent(function, tensors, tangents):
    """By reverse mode, which leaves the updated mask without a derivative too: J v is the gradient of <J^T u, v> by u."""
    leaves = [t.requires_grad_() for t in tensors]
    y = function(*leaves)
    u = torch.zeros_like(y, requires_grad=True)
    grads = torch.autograd.grad(y, leaves, u, create_graph=True)
    return torch.autograd.grad(sum((g * t).sum() for g, t in zip(grads, tangents)), u)[0]


def test_a_forward_mode_derivative_is_never_silently_left_out():
    from torch.autograd import forward_ad

    x, w, b, m = operands()
    y = F.partial_conv(x, w.requires_grad_(), b, m, 1, 1)
    with forward_ad.dual_level():
        g = forward_ad.make_dual(torch.ones_like(y), torch.ones_like(y))
        with pytest.raises((NotImplementedError, RuntimeError), match="forward"):
            torch.autograd.grad(y, w, g)
