"""CUDA tensors without a GPU: objects that have what the package asks of a CUDA tensor, in memory of the stand-in for CUDA's
runtime (tests/cuda_on_cpu), whose streams do nothing before someone waits for them.

What this shows: the device is adopted by number and stream, memory is used where it lies, work goes to the current stream and
nobody waits. What a driver, a GPU and PyTorch's CUDA tensors themselves do has never run."""

import ctypes
import os
import types

import pytest

torch = pytest.importorskip("torch")
if not os.environ.get("PCONV_CUDA_STAND_IN"):
    pytest.skip(
        "no stand-in for CUDA; expected PCONV_CUDA_STAND_IN, which ctest sets where the CUDA module is built",
        allow_module_level=True,
    )

from closeness import assert_close  # noqa: E402
from pconv import _composite, _devices, _engine  # noqa: E402
from pconv import functional as F  # noqa: E402

runtime = ctypes.CDLL(os.environ["PCONV_CUDA_STAND_IN"])


def ok(status):
    assert status == 0, f"the stand-in answers {status}"


class Quacking:
    """Has of a CUDA tensor what is asked for; `here` is the same memory as a tensor of the CPU."""

    is_cpu, is_cuda, requires_grad, _version = False, True, False, 0
    device = torch.device("cuda", 0)

    def __init__(self, values):
        values = values.contiguous() if not values.is_contiguous(memory_format=torch.channels_last) else values
        pointer = ctypes.c_void_p()
        ok(runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(values.numel() * values.element_size())))
        self._pointer = pointer.value
        memory = (ctypes.c_char * (values.numel() * values.element_size())).from_address(self._pointer)
        self.here = torch.frombuffer(memory, dtype=values.dtype).as_strided(values.shape, values.stride())
        self.here.copy_(values)

    @classmethod
    def __torch_function__(cls, function, kinds, args=(), kwargs=None):
        assert function is torch.empty_like, f"{function} of a CUDA tensor; expected memory alone"
        return cls(torch.full_like(args[0].here, float("nan")))

    shape = property(lambda self: self.here.shape)
    dtype = property(lambda self: self.here.dtype)

    def data_ptr(self):
        return self._pointer

    def __getattr__(self, name):
        if name in ("dim", "numel", "stride", "is_contiguous", "is_inference"):
            return getattr(self.here, name)
        raise AttributeError(name)

    def contiguous(self, memory_format=torch.contiguous_format):
        assert self.here.is_contiguous(memory_format=memory_format), "no tensor of this test needs a copy"
        return self

    def new_empty(self, shape, dtype=None):
        return Quacking(torch.full(tuple(shape), float("nan"), dtype=dtype or self.dtype))

    # Of masks: operations of PyTorch, which on a GPU are on the same stream.
    def __eq__(self, number):
        return self.here == number

    __hash__ = object.__hash__

    def __ne__(self, number):
        return types.SimpleNamespace(to=lambda dtype: Quacking((self.here != number).to(dtype)))

    def float(self):
        return self

    def to(self, dtype):
        assert dtype == self.dtype
        return self

    def clamp_(self, least, most):
        """Left to who reads it: the stand-in's streams know nothing of this."""

    def expand(self, *shape):
        return self.here.expand(*shape)


@pytest.fixture
def stream(monkeypatch):
    """A stream of the stand-in, which is PyTorch's current one for the time of a test."""
    handle = ctypes.c_void_p()
    ok(runtime.cudaStreamCreate(ctypes.byref(handle)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: types.SimpleNamespace(cuda_stream=handle.value))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    on_cpu = torch.empty

    def empty(shape, dtype=None, device=None, memory_format=torch.contiguous_format):
        if device != Quacking.device:
            return on_cpu(shape, dtype=dtype, device=device, memory_format=memory_format)
        return Quacking(on_cpu(shape, dtype=dtype, memory_format=memory_format).fill_(float("nan")))

    monkeypatch.setattr(torch, "empty", empty)
    yield handle
    ok(runtime.cudaStreamSynchronize(handle))


def a_case(last=False, fractions=False):
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 4, 9, 10), torch.randn(6, 4, 3, 3), torch.randn(6)
    mask = torch.rand(2, 1, 9, 10) if fractions else (torch.rand(2, 1, 9, 10) > 0.4).float()
    x = torch.where(mask == 0, float("nan"), x)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    settings = F.settings_of(2, 1, 1, 1, 1, 0, 0, 0, 1e-8)
    return x, w, b, mask, settings


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("fractions", [False, True])
def test_in_place_on_the_current_stream(stream, last, fractions):
    x, w, b, mask, settings = a_case(last, fractions)
    on_gpu = [Quacking(t) for t in (x, w, b, mask)]
    dense, is_last = _engine.dense(on_gpu[0])
    assert is_last == last and dense is on_gpu[0]
    call = _engine.call_of(dense, is_last, *on_gpu[1:], settings)
    assert call.prepared.device is _devices.cuda(0, stream.value) and not call.prepared.device.is_cpu
    y = call.forward(dense, on_gpu[1], on_gpu[2])
    grad = torch.randn(y.shape).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    grads = call.backward(dense, on_gpu[1], Quacking(grad), True, (True, True, True))
    updated = call.side.read(dense)
    if os.environ.get("PCONV_FAKE_LATE") == "1":
        for result in (y, *grads, updated):
            assert result.here.isnan().all(), "written before anybody waited for the stream"
    ok(runtime.cudaStreamSynchronize(stream))
    leaves = [t.detach().double().nan_to_num().requires_grad_() for t in (x, w, b)]
    expected, u = _composite.convolution(*leaves, mask.double(), settings)
    expected.backward(grad.double())
    assert_close(y.here, expected.detach(), "output")
    for got, leaf, name in zip(grads, leaves, ("input", "weight", "bias")):
        assert_close(got.here, leaf.grad, f"gradient of {name}")
    assert torch.equal(updated.here.clamp(0, 1).double(), u) if not fractions else True


def test_each_stream_has_its_device(stream):
    first = _devices.cuda(0, stream.value)
    other = ctypes.c_void_p()
    ok(runtime.cudaStreamCreate(ctypes.byref(other)))
    assert _devices.cuda(0, stream.value) is first and _devices.cuda(0, other.value) is not first


def test_memory_of_the_host_is_refused(stream):
    x, w, b, mask, settings = a_case()
    on_gpu = [Quacking(t) for t in (x, w, b, mask)]
    call = _engine.call_of(on_gpu[0], False, *on_gpu[1:], settings)
    stray = Quacking(w)
    stray._pointer = w.data_ptr()
    with pytest.raises((ValueError, RuntimeError), match=r"CUDA|device memory"):
        call.forward(on_gpu[0], stray, on_gpu[2])
