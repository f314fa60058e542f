"""torch.func, torch.compile, torch.export and opcheck; each from the PyTorch that has it on."""

import copy
import pathlib

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close  # noqa: E402
from pconv import compat, nn  # noqa: E402
from pconv import functional as F  # noqa: E402

VERSION = tuple(int(n) for n in torch.__version__.split(".")[:2])
transforms = pytest.mark.skipif(VERSION < (2, 0), reason=f"PyTorch {torch.__version__} has no torch.func; 2.0 has")
graphs = pytest.mark.skipif(VERSION < (2, 4), reason=f"PyTorch {torch.__version__} compiles no custom operators; 2.4 does")


def operands(dtype=torch.float32, fractional=False, channels=1):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 7, 8, generator=g).to(dtype)
    w, b = torch.randn(6, 4, 3, 3, generator=g).to(dtype), torch.randn(6, generator=g).to(dtype)
    m = torch.rand(3, channels, 7, 8, generator=g)
    return x, w, b, (m * (m > 0.4) if fractional else (m > 0.4).float()).to(dtype)


def wide(*tensors):
    return [t.double() for t in tensors]


@transforms
@pytest.mark.parametrize("fractional", [False, True])
def test_func_grad(fractional):
    x, w, b, m = operands(fractional=fractional)

    def loss(x, w, b, m):
        return F.partial_conv(x, w, b, m, padding=1).square().sum()

    got = torch.func.grad(loss, argnums=(0, 1, 2))(x, w, b, m)
    for a, e in zip(got, torch.func.grad(loss, argnums=(0, 1, 2))(*wide(x, w, b, m))):
        assert_close(a, e, "gradient", times=4)


@transforms
def test_func_jvp():
    x, w, b, m = operands()
    tangents = tuple(torch.randn_like(t) for t in (x, w, b))

    def value(m):
        return lambda x, w, b: F.partial_conv(x, w, b, m, padding=1).tanh()

    y, got = torch.func.jvp(value(m), (x, w, b), tangents)
    wide_y, expected = torch.func.jvp(value(m.double()), tuple(wide(x, w, b)), tuple(wide(*tangents)))
    assert expected.abs().max() > 0
    assert_close(y, wide_y, "value", times=4)
    assert_close(got, expected, "tangent", times=4)
    # J v is by reverse mode what <u, J v> has as its gradient by u.
    _, vjp = torch.func.vjp(value(m), x, w, b)
    _, again = torch.func.vjp(lambda u: sum((g * t).sum() for g, t in zip(vjp(u), tangents)), torch.zeros_like(y))
    assert_close(again(torch.tensor(1.0))[0], expected, "tangent by reverse mode", times=4)


@transforms
def test_func_hessian():
    x, w, _, m = (t[:1, :2, :3, :3] if t.dim() == 4 else t[:1] for t in operands())

    def value(m):
        return lambda w, x: F.partial_conv(x, w, None, m, padding=1).pow(3).sum()

    got = torch.func.hessian(value(m[:, :1]))(w, x)
    expected = torch.func.jacrev(torch.func.jacrev(value(m[:, :1].double())))(*wide(w, x))
    assert expected.abs().max() > 0
    assert_close(got, expected, "hessian", times=8)


@transforms
def test_func_second_order():
    x, w, b, m = operands()

    def second(x, w, b, m):
        first = torch.func.grad(lambda x: F.partial_conv(x, w, b, m, padding=1).pow(3).sum())
        return torch.func.grad(lambda x: first(x).square().sum())(x)

    expected = second(*wide(x, w, b, m))
    assert expected.abs().max() > 0
    assert_close(second(x, w, b, m), expected, "second derivative", times=10)

    def by_weight(x, w, b, m):
        first = torch.func.grad(lambda w: F.partial_conv(x, w, b, m, padding=1).pow(3).sum())
        return torch.func.vjp(first, w)[1](torch.ones_like(w))[0]

    assert_close(by_weight(x, w, b, m), by_weight(*wide(x, w, b, m)), "product with the Hessian", times=10)


@transforms
@pytest.mark.parametrize(
    "dims", [(0, None, None, 0), (0, None, None, None), (None, 0, None, None), (0, 0, 0, 0), (1, None, 0, None)]
)
def test_vmap(dims):
    x, w, b, m = operands()
    batched = []
    for t, d in zip((x, w, b, m), dims):
        batched.append(t if d is None else torch.stack([t * (i + 1) if t is not m else t.roll(i, 2) for i in range(2)], d))

    def call(x, w, b, m):
        return F.partial_conv(x, w, b, m, padding=1, return_mask=True)

    y, u = torch.func.vmap(call, in_dims=dims, out_dims=0)(*batched)
    for i in range(2):
        one = [t if d is None else t.select(d, i) for t, d in zip(batched, dims)]
        ey, eu = call(*wide(*one))
        assert_close(y[i], ey, "output")
        assert_close(u[i], eu, "updated mask")


@transforms
def test_gradients_of_each_sample():
    x, _, _, m = operands()
    layer = nn.PartialConv2d(4, 6, 3, padding=1)
    parameters = {k: p.detach() for k, p in layer.named_parameters()}

    def loss(parameters, x, m):
        return torch.func.functional_call(layer, parameters, (x[None], m[None])).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, m)
    for i in range(3):
        leaves = [p.double().requires_grad_() for p in parameters.values()]
        y = F.partial_conv(x[i : i + 1].double(), *leaves, m[i : i + 1].double(), padding=1)
        for name, e in zip(parameters, torch.autograd.grad(y.square().sum(), leaves)):
            assert_close(each[name][i], e, name, times=4)


@transforms
def test_masked_conv_in_transforms():
    x, w, b, m = operands(channels=4)
    call = lambda w: F.masked_conv(x.to(w.dtype), w, b.to(w.dtype), m.to(w.dtype), padding=1)[0].square().sum()  # noqa: E731
    assert_close(torch.func.grad(call)(w), torch.func.grad(call)(w.double()), "gradient", times=4)


class Net(torch.nn.Module):
    """A small one with a mask that goes from layer to layer."""

    def __init__(self, last=False):
        super().__init__()
        self.one = nn.PartialConv2d(3, 8, 3, 2, 1, return_mask=True)
        self.two = nn.PartialConv2d(8, 8, 3, 1, 1, groups=2, multi_channel=True, return_mask=True)
        self.three = compat.masked_torch.MaskedConv2d(8, 4, 3, padding=1)
        self.four = nn.PartialConv2d(4, 2, 3, padding=1)

    def forward(self, x, mask):
        x, mask = self.one(x, mask)
        x, mask = self.two(torch.relu(x), mask)
        x, mask = self.three(x, mask)
        return self.four(x)


def net_and_inputs():
    torch.manual_seed(0)
    return Net(), torch.randn(2, 3, 16, 16), (torch.rand(2, 1, 16, 16) > 0.4).float()


@graphs
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
@pytest.mark.parametrize("last", [False, True])
def test_compile(backend, last):
    if backend == "inductor":
        pytest.importorskip("setuptools.command.build_ext", reason="inductor needs setuptools; expected python3-setuptools")
        folders = [pathlib.Path(torch.__file__).parent / "include", pathlib.Path("/usr/include")]
        if not any((f / "ATen" / "NumericUtils.h").exists() for f in folders):
            pytest.skip("inductor needs PyTorch's headers; expected libtorch-dev, or a wheel of PyPI")
    net, x, mask = net_and_inputs()
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(net), fullgraph=True, backend=backend)
    expected = copy.deepcopy(net).double()
    inner = x.clone().requires_grad_()
    deep = x.double().requires_grad_()
    for _ in range(2):
        y, e = compiled(inner, mask), expected(deep, mask.double())
        assert_close(y.detach(), e.detach(), "output", times=4)
        leaves = [[t, *n.parameters()] for t, n in ((inner, compiled), (deep, expected))]
        for a, b in zip(*(torch.autograd.grad(v.square().sum(), part) for v, part in zip((y, e), leaves))):
            assert_close(a, b, "gradient", times=8)


@graphs
def test_compile_with_other_sizes_and_types():
    net, _, _ = net_and_inputs()
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for size in (16, 24, 20):
            x, mask = torch.randn(1, 3, size, size), torch.ones(1, 1, size, size)
            assert_close(compiled(x, mask), copy.deepcopy(net).double()(x.double(), mask.double()), "output", times=4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert compiled(x, mask).dtype == torch.bfloat16


@graphs
def test_export():
    net, x, mask = net_and_inputs()
    program = torch.export.export(net.eval(), (x, mask))
    names = {str(n.target) for n in program.graph.nodes}
    assert any("pconv.partial_conv" in n for n in names), names
    assert_close(program.module()(x + 1, mask).detach(), net.double()(x.double() + 1, mask.double()).detach(), "output", times=4)


@graphs
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("has_mask", [False, True])
def test_opcheck(last, has_mask):
    x, w, b, m = operands()
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    m = m if has_mask else None
    rest = ([1, 1], [1, 1], [1, 1], 1, 0, 0, 0, 1e-8)
    leaves = [t.requires_grad_() for t in (x, w, b)]
    torch.library.opcheck(torch.ops.pconv.partial_conv.default, (*leaves, m, *rest))
    g = torch.randn(3, 6, 7, 8)
    backward = torch.ops.pconv.partial_conv_backward.default
    torch.library.opcheck(backward, (*leaves[:2], g.requires_grad_(), m, *rest, True, [True, True, True]))
    torch.library.opcheck(backward, (x.detach(), w.detach(), g.detach(), m, *rest, False, [True, False, False]))


@graphs
def test_the_operators_own_derivatives_of_second_order():
    x, w, b, m = operands()
    rest = ([1, 1], [1, 1], [1, 1], 1, 0, 0, 0, 1e-8)
    leaf = x.requires_grad_()
    y, _ = torch.ops.pconv.partial_conv(leaf, w, b, m, *rest)
    first = torch.autograd.grad(y.pow(3).sum(), leaf, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), leaf)[0]
    deep = x.detach().double().requires_grad_()
    y = F.partial_conv(deep, *wide(w, b, m), padding=1)
    first = torch.autograd.grad(y.pow(3).sum(), deep, create_graph=True)[0]
    assert_close(second, torch.autograd.grad(first.square().sum(), deep)[0], "second derivative", times=10)


@graphs
def test_a_fake_tensor_is_no_memory():
    from torch._subclasses.fake_tensor import FakeTensorMode

    x, _, _, m = operands()
    with FakeTensorMode() as mode:
        layer = nn.PartialConv2d(4, 6, 3, padding=1, return_mask=True)
        y, u = layer(mode.from_tensor(x), mode.from_tensor(m))
    assert y.shape == (3, 6, 7, 8) and u.shape == (3, 1, 7, 8)
