"""The part of pconv's C API (include/pconv/pconv.h, network.h) that a comparison needs, by ctypes.

Tensors are whatever has PyTorch's data_ptr(), shape, stride() and element_size(): the library computes on their memory
and, on CUDA, on the caller's stream. Nothing here imports PyTorch.
"""
import ctypes
import os
import pathlib
import sys
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8
from ctypes import c_uint32, c_uint64, c_void_p

F32, F16, BF16, U8 = range(4)
CONTIGUOUS, CHANNELS_LAST = range(2)
SINGLE_CHANNEL, MULTI_CHANNEL = range(2)
NO_MASK, BINARY_MASK = range(2)
EXACT, FAST = range(2)
VERSION = (0, 2)

NO_ACTIVATION, RELU, LEAKY_RELU, GELU = range(4)
PARTIAL_CONV_LAYER, UPSAMPLE_LAYER = range(2)
PREVIOUS_LAYER = -2

AllocationCallback = ctypes.CFUNCTYPE(None, c_void_p, c_int64)


class Error(RuntimeError):
    """A call that failed, with the library's line on it."""


def sized(cls):
    """A structure whose first field is its own size."""
    value = cls()
    value.struct_size = ctypes.sizeof(cls)
    return value


class DeviceInfo(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("name", c_char * 256), ("backend", c_char * 16), ("type", c_int),
                ("uuid", c_uint8 * 16), ("memory_bytes", c_uint64), ("driver", c_char * 256), ("features", c_char * 256)]


class DeviceOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("memory_limit", c_uint64), ("threads", c_int32), ("verbosity", c_int32),
                ("message_callback", c_void_p), ("allocation_callback", AllocationCallback), ("user", c_void_p)]


class NativeDevice(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("backend", c_char_p), ("cuda_device", c_int32), ("cuda_stream", c_void_p),
                ("vulkan_instance", c_void_p), ("vulkan_physical_device", c_void_p), ("vulkan_device", c_void_p),
                ("vulkan_queue", c_void_p), ("vulkan_queue_family", c_uint32),
                ("vulkan_16bit_storage", c_uint32)]


class TensorView(ctypes.Structure):
    _fields_ = [("buffer", c_void_p), ("offset", c_size_t), ("data_type", c_int), ("rank", c_int32),
                ("dims", c_int64 * 5), ("strides", c_int64 * 5)]


class PartialConvDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("spatial_dims", c_int32), ("batch", c_int64), ("in_channels", c_int64),
                ("out_channels", c_int64), ("groups", c_int64), ("input_size", c_int64 * 3), ("kernel", c_int64 * 3),
                ("stride", c_int64 * 3), ("padding", c_int64 * 3), ("dilation", c_int64 * 3), ("data_type", c_int),
                ("input_layout", c_int), ("output_layout", c_int), ("mask_type", c_int), ("mask_mode", c_int),
                ("mask_window", c_int), ("normalization", c_int), ("eps", c_double), ("activation", c_int),
                ("negative_slope", c_float), ("math", c_int), ("has_bias", c_int32), ("input_is_masked", c_int32),
                ("training", c_int32), ("implementation", c_char_p), ("padding_end", c_int64 * 3), ("padding_mode", c_int)]

    def __init__(self):
        super().__init__(padding_end=(-1, -1, -1))  # as in front


class MaskSegment(ctypes.Structure):
    _fields_ = [("planes", TensorView), ("multiplicity", c_int64)]


class MaskStruct(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("polarity", c_int), ("segment_count", c_int32),
                ("segments", POINTER(MaskSegment))]


class Gradients(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("grad_input", POINTER(TensorView)), ("grad_weight", POINTER(TensorView)),
                ("grad_bias", POINTER(TensorView)), ("accumulate", c_int32)]


class Layer(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("type", c_int), ("name", c_char_p), ("input", c_int32),
                ("second_input", c_int32), ("factor", c_int64 * 3), ("conv", PartialConvDesc), ("batch_norm", c_char_p),
                ("batch_norm_eps", c_double)]


class NetworkDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("spatial_dims", c_int32), ("batch", c_int64), ("channels", c_int64),
                ("size", c_int64 * 3), ("data_type", c_int), ("layout", c_int), ("mask_type", c_int),
                ("mask_batch", c_int64), ("mask_planes", c_int64), ("polarity", c_int), ("math", c_int),
                ("layer_count", c_int32), ("layers", POINTER(Layer))]


# Of (user, name, rank, shape, optional, values): TENSOR_MISSING, ...
TensorSource = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int32, POINTER(c_int64), c_int32, POINTER(c_float))
TENSOR_MISSING, TENSOR_GIVEN, TENSOR_SHAPE_DIFFERS = range(3)

FUNCTIONS = {
    "pconvCreateDevice": [c_char_p, POINTER(DeviceOptions), POINTER(c_void_p)],
    "pconvAdoptDevice": [POINTER(NativeDevice), POINTER(DeviceOptions), POINTER(c_void_p)],
    "pconvGetInfoOfDevice": [c_void_p, POINTER(DeviceInfo)],
    "pconvWait": [c_void_p],
    "pconvImportHostBuffer": [c_void_p, c_void_p, c_size_t, POINTER(c_void_p)],
    "pconvImportNativeBuffer": [c_void_p, c_uint64, c_size_t, c_size_t, POINTER(c_void_p)],
    "pconvCreateMaskUpdate": [c_void_p, POINTER(PartialConvDesc), POINTER(MaskStruct), POINTER(c_void_p)],
    "pconvComputeMaskUpdate": [c_void_p, POINTER(MaskStruct)],
    "pconvCreatePartialConv": [c_void_p, POINTER(PartialConvDesc), POINTER(c_void_p)],
    "pconvGetPartialConvImplementation": [c_void_p, POINTER(c_char_p)],
    "pconvSetPartialConvWeights": [c_void_p, POINTER(TensorView), POINTER(TensorView)],
    "pconvForwardPartialConv": [c_void_p, c_void_p, POINTER(TensorView), POINTER(TensorView)],
    "pconvCreateNetwork": [c_void_p, POINTER(NetworkDesc), POINTER(c_void_p)],
    "pconvSetNetworkWeights": [c_void_p, c_int32, POINTER(TensorView), POINTER(TensorView)],
    "pconvForwardNetwork": [c_void_p, POINTER(TensorView), POINTER(TensorView), POINTER(TensorView)],
    "pconvGetNetworkImplementation": [c_void_p, c_int32, POINTER(c_char_p)],
    "pconvCreateModel": [c_char_p, c_void_p, POINTER(c_void_p)],
    "pconvGetModelNetworkDesc": [c_void_p, POINTER(NetworkDesc)],
    "pconvReadNetworkWeights": [c_void_p, TensorSource, c_void_p],
    "pconvBackwardPartialConv": [c_void_p, c_void_p, POINTER(TensorView), POINTER(TensorView), POINTER(Gradients)],
}
RELEASES = ("Device", "Buffer", "MaskUpdate", "PartialConv", "Network", "Model")


def library_names():
    return {"darwin": ["libpconv.dylib"], "win32": ["pconv.dll"]}.get(sys.platform, ["libpconv.so.0", "libpconv.so"])


def find_library(given):
    """`given`, else PCONV_LIBRARY, else the one built in this source tree, else the installed one."""
    for path in (given, os.environ.get("PCONV_LIBRARY")):
        if path:
            return path
    root = pathlib.Path(__file__).resolve().parent.parent
    for name in library_names():
        for folder in ("lib", "lib64", "bin"):
            for path in (root / "build" / "release" / folder / name, root / "build" / folder / name):
                if path.exists():
                    return str(path)
    return library_names()[0]


class Library:
    """libpconv, opened. Functions that return a status raise Error instead."""

    def __init__(self, path=None):
        path = find_library(path)
        try:
            self._library = ctypes.CDLL(path)
            self._library.pconvGetLastError.restype = c_char_p
        except (OSError, AttributeError) as error:
            raise Error(f"cannot open pconv's library '{path}' ({error}); expected its path in --library or PCONV_LIBRARY")
        numbers = [c_int() for _ in range(3)]
        self._library.pconvGetVersion(*[byref(n) for n in numbers])
        self.version = tuple(n.value for n in numbers)
        if self.version[:2] != VERSION:
            raise Error(f"'{path}' is pconv {self.version[0]}.{self.version[1]}; expected {VERSION[0]}.{VERSION[1]}")
        for name, arguments in FUNCTIONS.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = c_int
            function.errcheck = self._check
            setattr(self, name[len("pconv"):], function)
        for kind in RELEASES:
            function = getattr(self._library, "pconvRelease" + kind)
            function.argtypes = [c_void_p]
            function.restype = None
            setattr(self, "Release" + kind, function)

    def _check(self, status, _function, _arguments):
        if status != 0:
            raise Error(self._library.pconvGetLastError().decode(errors="replace"))
        return status


class Handle:
    """An object of the library, released with this one."""

    def __init__(self, library, kind, create, *arguments):
        self.library = library
        self.handle = c_void_p()
        self._release = getattr(library, "Release" + kind)
        create(*arguments, byref(self.handle))

    def __del__(self):
        if self.handle:
            self._release(self.handle)
            self.handle = c_void_p()


class Device(Handle):
    """The CPU with so many threads, or the CUDA device and stream of the host. Counts what the library allocates."""

    def __init__(self, library, threads=0, cuda=None):
        self.allocated = self.peak = 0
        self._callback = AllocationCallback(self._count)
        options = sized(DeviceOptions)
        options.threads = threads
        options.verbosity = -1
        options.allocation_callback = self._callback
        self.is_cuda = cuda is not None
        if cuda:
            native = sized(NativeDevice)
            native.backend = b"cuda"
            native.cuda_device, native.cuda_stream = cuda
            super().__init__(library, "Device", library.AdoptDevice, byref(native), byref(options))
        else:
            super().__init__(library, "Device", library.CreateDevice, b"cpu", byref(options))

    def _count(self, _user, count):
        self.allocated += count
        self.peak = max(self.peak, self.allocated)

    def info(self):
        info = sized(DeviceInfo)
        self.library.GetInfoOfDevice(self.handle, byref(info))
        return info

    def wait(self):
        self.library.Wait(self.handle)


class Tensor:
    """A view of a tensor of the host, which the caller keeps alive."""

    def __init__(self, device, tensor, data_type):
        self.device = device
        self.view = TensorView()
        self.view.data_type = data_type
        self.view.rank = tensor.dim()
        self.view.dims[:tensor.dim()] = tensor.shape
        self.view.strides[:tensor.dim()] = tensor.stride()
        self.bytes = tensor.numel() * tensor.element_size()
        self.handle = c_void_p()
        self.bind(tensor)

    def bind(self, tensor):
        """Looks at another tensor of the same shape, strides and type from now on."""
        library = self.device.library
        handle = c_void_p()
        if self.device.is_cuda:
            library.ImportNativeBuffer(self.device.handle, tensor.data_ptr(), 0, self.bytes, byref(handle))
        else:
            library.ImportHostBuffer(self.device.handle, tensor.data_ptr(), self.bytes, byref(handle))
        library.ReleaseBuffer(self.handle)
        self.handle = handle
        self.view.buffer = handle.value

    def __del__(self):
        self.device.library.ReleaseBuffer(self.handle)


class Mask:
    """One segment of binary planes [N or 1, P, S...], 1 where valid."""

    def __init__(self, device, planes):
        self.planes = Tensor(device, planes, U8)
        self.segment = MaskSegment(self.planes.view, 1)
        self.struct = sized(MaskStruct)
        self.struct.segment_count = 1
        self.struct.segments = ctypes.pointer(self.segment)


def reference(thing):
    return None if thing is None else byref(thing.struct if isinstance(thing, Mask) else thing.view)


class MaskUpdate(Handle):
    def __init__(self, device, desc, mask):
        super().__init__(device.library, "MaskUpdate", device.library.CreateMaskUpdate, device.handle, byref(desc),
                         reference(mask))

    def compute(self, mask):
        self.library.ComputeMaskUpdate(self.handle, reference(mask))


class PartialConv(Handle):
    def __init__(self, device, desc):
        super().__init__(device.library, "PartialConv", device.library.CreatePartialConv, device.handle, byref(desc))

    def implementation(self):
        name = c_char_p()
        self.library.GetPartialConvImplementation(self.handle, byref(name))
        return name.value.decode()

    def set_weights(self, weight, bias):
        self.library.SetPartialConvWeights(self.handle, reference(weight), reference(bias))

    def forward(self, update, x, y):
        self.library.ForwardPartialConv(self.handle, update.handle, byref(x.view), byref(y.view))

    def backward(self, update, x, grad_output, grad_input, grad_weight, grad_bias):
        gradients = sized(Gradients)
        gradients.grad_input = ctypes.pointer(grad_input.view)
        gradients.grad_weight = ctypes.pointer(grad_weight.view)
        if grad_bias is not None:
            gradients.grad_bias = ctypes.pointer(grad_bias.view)
        self.library.BackwardPartialConv(self.handle, update.handle, byref(x.view), byref(grad_output.view),
                                         byref(gradients))


class Network(Handle):
    def __init__(self, device, desc):
        super().__init__(device.library, "Network", device.library.CreateNetwork, device.handle, byref(desc))

    def implementation(self, layer):
        name = c_char_p()
        self.library.GetNetworkImplementation(self.handle, layer, byref(name))
        return name.value.decode()

    def set_weights(self, layer, weight, bias):
        self.library.SetNetworkWeights(self.handle, layer, reference(weight), reference(bias))

    def forward(self, x, planes, y):
        """`planes` None: the mask is as it was in the call before."""
        self.library.ForwardNetwork(self.handle, byref(x.view), reference(planes), byref(y.view))

    def read_weights(self, tensors):
        """Contiguous f32 tensors of the host, by name."""
        def answer(_user, name, rank, shape, _optional, values):
            tensor = tensors.get(name.decode())
            if tensor is None:
                return TENSOR_MISSING
            if list(tensor.shape) != shape[:rank]:
                return TENSOR_SHAPE_DIFFERS
            if values:
                ctypes.memmove(values, tensor.data_ptr(), tensor.numel() * 4)
            return TENSOR_GIVEN
        self.library.ReadNetworkWeights(self.handle, TensorSource(answer), None)


class Model(Handle):
    """A network that the library knows by name."""

    def __init__(self, library, name):
        super().__init__(library, "Model", library.CreateModel, name.encode(), None)
