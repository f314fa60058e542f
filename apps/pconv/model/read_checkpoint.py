"""Reads a checkpoint's tensors and writes them as safetensors: read_checkpoint.py CHECKPOINT OUT.

PyTorch's .pth and .pt, of both formats, and Keras's .h5. Nothing of a pickle is executed: the reader below knows tensors, numbers, texts and plain
containers, and refuses everything else by its name. Needs nothing but Python; h5py for .h5. A fault is a line in OUT, and exit code 2.
"""
import array
import io
import json
import os
import pickletools
import signal
import struct
import sys
import zipfile


class Fault(Exception):
    """What is wrong with the file, in one line."""


# ---- Pickles -----------------------------------------------------------------------------------------------------------

# By the storage's name: safetensors' name for its elements.
DTYPES = {"FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64",
          "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "U8"}
ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1}
MOST_OPERATIONS = 20_000_000
MOST_PICKLE_BYTES = 1 << 28
MOST_OF_A_LINE = 300


class Name:
    """A global the pickle names: only looked up in the table of what is known."""

    def __init__(self, module, name):
        self.text = f"{module}.{name}"


class Storage:
    def __init__(self, dtype, key, count):
        self.dtype, self.key, self.count = dtype, key, count


class Tensor:
    """Where a tensor lies in its storage."""

    def __init__(self, storage, offset, shape, stride):
        self.storage, self.offset, self.shape, self.stride = storage, offset, tuple(shape), tuple(stride)


class Ignored:
    """An object of an optimizer or the like, of which only its existence is kept."""


def storage_of(name):
    module, _, kind = name.text.rpartition(".")
    if module in ("torch", "torch.cuda", "torch.storage") and kind in DTYPES:
        return DTYPES[kind]
    raise Fault(f"a storage of type {name.text}")


def rebuild(name, arguments):
    """What a call in the pickle stands for."""
    text = name.text
    if text in ("collections.OrderedDict", "builtins.dict"):
        return dict(*arguments)
    if text in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
        storage, offset, shape, stride = arguments[:4]
        if not isinstance(storage, Storage):
            raise Fault("a tensor without a storage")
        return Tensor(storage, offset, shape, stride)
    if text == "torch._utils._rebuild_parameter":
        return arguments[0]
    if text in ("torch.Size", "builtins.tuple"):
        return tuple(arguments[0]) if arguments else ()
    if text in ("builtins.set", "builtins.list"):
        return list(arguments[0]) if arguments else []
    if text in ("torch.device", "torch.serialization._get_layout"):
        return None
    if text in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode"):
        return Ignored()
    raise Fault(f"it holds {text}, which is no tensor, number, text or plain container")


def unpickle(data, storages):
    """The object of the first pickle in `data`, a binary stream. `storages` gives persistent ids their meaning."""
    stack, marks, memo = [], [], {}

    def pop_mark():
        nonlocal stack
        items = stack
        stack = marks.pop()
        return items

    known = {"collections", "torch", "builtins", "__builtin__", "numpy", "_codecs"}
    operations = 0
    for operation, argument, _ in pickletools.genops(data):
        operations += 1
        if operations > MOST_OPERATIONS:
            raise Fault("a pickle of more than 20 million operations")
        name = operation.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "BINUNICODE",
                      "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING",
                      "SHORT_BINSTRING", "STRING", "BYTEARRAY8"):
            stack.append(argument)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}[name]())
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            pop_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("TUPLE", "LIST", "FROZENSET"):
            items = pop_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name == "DICT":
            items = pop_mark()
            stack.append(dict(zip(items[::2], items[1::2])))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name in ("APPENDS", "ADDITEMS"):
            items = pop_mark()
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            items = pop_mark()
            stack[-1].update(zip(items[::2], items[1::2]))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "GLOBAL":
                module, kind = argument.split(" ", 1)
            else:
                kind, module = stack.pop(), stack.pop()
            module = "builtins" if module == "__builtin__" else module
            if str(module).split(".")[0] not in known:
                raise Fault(f"it holds {module}.{kind}, which is no tensor, number, text or plain container")
            stack.append(Name(module, kind))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            if not isinstance(function, Name) or not isinstance(arguments, tuple):
                raise Fault("a call of what is no function")
            stack.append(rebuild(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes, such as an OrderedDict's _metadata
        elif name == "BINPERSID":
            stack.append(storages(stack.pop()))
        else:
            raise Fault(f"the pickle operation {name}")
    raise Fault("the pickle has no end")


def persistent(ident):
    """A storage, as its persistent id says."""
    if not isinstance(ident, tuple) or len(ident) < 5 or ident[0] not in ("storage", b"storage") or not isinstance(ident[1], Name):
        raise Fault("a persistent id that is no storage")
    return Storage(storage_of(ident[1]), str(ident[2]), int(ident[4]))


def checked(storage, raw):
    """A storage's bytes, as many as it says."""
    size = ITEM_BYTES[storage.dtype] * storage.count
    if storage.count < 0 or len(raw) < size:
        raise Fault(f"storage {storage.key} has {len(raw)} bytes; expected {size}")
    return raw


def materialize(tensor, raw):
    """The type, shape and bytes of a tensor in C order."""
    shape, stride, item = tensor.shape, tensor.stride, ITEM_BYTES[tensor.storage.dtype]
    if len(shape) != len(stride) or any(type(n) is not int or n < 0 for n in (*shape, *stride, tensor.offset)):
        raise Fault("a tensor of no sound shape")
    count, contiguous = 1, True
    for size, step in zip(reversed(shape), reversed(stride)):
        contiguous = contiguous and (size == 1 or step == count)
        count *= size
    if count > tensor.storage.count:
        raise Fault("a tensor that reaches beyond its storage")
    if count and tensor.offset + sum((n - 1) * s for n, s in zip(shape, stride)) >= tensor.storage.count:
        raise Fault("a tensor that reaches beyond its storage")
    if contiguous or not count:
        return tensor.storage.dtype, shape, bytes(raw[tensor.offset * item:(tensor.offset + count) * item])
    offsets = [tensor.offset]
    for size, step in zip(shape, stride):
        offsets = [o + i * step for o in offsets for i in range(size)]
    return tensor.storage.dtype, shape, b"".join(raw[o * item:(o + 1) * item] for o in offsets)


def member(archive, name, most):
    """A file of the archive, of at most so many bytes: what is compressed could be of any size."""
    if archive.getinfo(name).file_size > most:
        raise Fault(f"{name} has {archive.getinfo(name).file_size} bytes; expected {most} at most")
    return archive.read(name)


def read_zip(path):
    try:
        archive = zipfile.ZipFile(path)
        pickles = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
        if not pickles:
            raise Fault("a zip archive without data.pkl: no checkpoint of PyTorch")
        folder = pickles[0][:-len("data.pkl")]
        root = unpickle(io.BytesIO(member(archive, pickles[0], MOST_PICKLE_BYTES)), persistent)

        def load(storage):
            try:
                return checked(storage, member(archive, f"{folder}data/{storage.key}", ITEM_BYTES[storage.dtype] * storage.count))
            except KeyError:
                raise Fault(f"storage {storage.key} is missing") from None

        return root, load
    except zipfile.BadZipFile as error:
        raise Fault(f"the archive is damaged: {error}") from None


def read_legacy(path):
    """Magic number, protocol, system, the object, the keys of storages, and these one after another."""
    with open(path, "rb") as file:
        magic = unpickle(file, persistent)
        if magic != 0x1950A86A20F9469CFC6C:
            raise Fault("neither a zip archive nor a checkpoint of PyTorch's old format")
        unpickle(file, persistent)
        unpickle(file, persistent)
        found = {}

        def storages(ident):
            if ident[0] in ("module", b"module"):
                raise Fault("a whole module, with its source; save its state_dict()")
            return found.setdefault(str(ident[2]), persistent(ident))

        root = unpickle(file, storages)
        keys = unpickle(file, persistent)
        raw = {}
        for key in keys:
            count = struct.unpack("<q", file.read(8))[0]
            storage = found.get(str(key))
            if storage is None or count != storage.count:
                raise Fault(f"storage {key} has {count} elements, which no tensor expects")
            raw[str(key)] = file.read(ITEM_BYTES[storage.dtype] * count)

        def load(storage):
            if storage.key not in raw:
                raise Fault(f"storage {storage.key} is missing")
            return checked(storage, raw[storage.key])

        return root, load


def state_dict(root):
    """The dictionary of tensors: the object itself, or what known wrappers call it."""
    for _ in range(4):
        if not isinstance(root, dict):
            break
        tensors = {k: v for k, v in root.items() if isinstance(k, str) and isinstance(v, Tensor)}
        if tensors:
            return tensors
        for wrapper in ("state_dict", "model_state_dict", "model", "netG", "generator", "net", "params"):
            if isinstance(root.get(wrapper), dict):
                root = root[wrapper]
                break
        else:
            break
    raise Fault("it holds no dictionary of tensors")


def read_pytorch(path):
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    root, load = read_zip(path) if is_zip else read_legacy(path)
    loaded = {}
    tensors = {}
    for name, tensor in state_dict(root).items():
        key = tensor.storage.key
        if key not in loaded:
            loaded[key] = load(tensor.storage)
        tensors[name] = materialize(tensor, loaded[key])
    return tensors


# ---- Keras -------------------------------------------------------------------------------------------------------------

def read_keras(path):
    """MathiasGruber's PConv-Keras: its layers in their order, under the names of pconv's network keras_pconv."""
    try:
        import h5py
        import numpy as np
    except ImportError:
        raise Fault("h5py is needed for .h5 files (Debian: python3-h5py)") from None
    with h5py.File(path, "r") as file:
        root = file["model_weights"] if "model_weights" in file else file
        if "layer_names" not in root.attrs:
            raise Fault("an HDF5 file without the weights of a Keras model")
        layers = []
        for layer in root.attrs["layer_names"]:
            group = root[layer]
            names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs.get("weight_names", [])]
            if names:
                layers.append({n.split("/")[-1].split(":")[0]: np.asarray(group[n]) for n in names})
    convs = [l for l in layers if "img_kernel" in l]
    norms = [l for l in layers if "gamma" in l]
    last = [l for l in layers if "kernel" in l and l["kernel"].ndim == 4]
    if len(convs) < 8 or len(convs) % 2 or len(norms) != len(convs) - 2 or len(last) != 1:
        raise Fault(f"{len(convs)} partial convolutions and {len(norms)} batch normalizations: no PConv-Keras U-Net")
    levels = len(convs) // 2
    sides = [f"enc{i}" for i in range(1, levels + 1)] + [f"dec{i}" for i in range(levels, 0, -1)]
    tensors = {}
    for side, conv in zip(sides, convs):
        kernel = conv["img_kernel"].astype("f4")
        # Its ratio is |K| / sum where ours divides by the sum.
        tensors[f"{side}.conv.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)) * np.float32(kernel.shape[0] * kernel.shape[1])
        tensors[f"{side}.conv.bias"] = conv["bias"]
    for side, norm in zip([s for s in sides if s not in ("enc1", "dec1")], norms):
        for ours, theirs in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_variance")):
            tensors[f"{side}.bn.{ours}"] = norm[theirs]
    tensors["out.weight"] = np.ascontiguousarray(last[0]["kernel"].transpose(3, 2, 0, 1))
    tensors["out.bias"] = last[0]["bias"]
    return {name: ("F32", values.shape, values.astype("<f4").tobytes()) for name, values in tensors.items()}


# ---- Safetensors -------------------------------------------------------------------------------------------------------

def write(path, tensors):
    header, offset, ordered = {}, 0, []
    singles = {}
    for name, (kind, shape, data) in tensors.items():
        if kind == "F64":
            doubles = array.array("d", data)
            if sys.byteorder == "big":
                doubles.byteswap()
            kind, data = "F32", struct.pack(f"<{len(doubles)}f", *doubles)
        singles[name] = kind, shape, data
    for name in sorted(singles, key=lambda n: (-ITEM_BYTES[singles[n][0]], n)):
        kind, shape, data = singles[name]
        ordered.append(data)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for data in ordered:
            file.write(data)


def main(path, out):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command says what there is to say
    try:
        with open(path, "rb") as file:
            is_hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
        tensors = read_keras(path) if is_hdf5 else read_pytorch(path)
        write(out, tensors)
    except Fault as fault:
        line = str(fault)
    except MemoryError:
        line = "not enough memory for what it says it holds"
    except OSError as error:
        line = error.strerror or str(error)
    except Exception as error:  # whatever a damaged file makes of the reader: it is the file's fault
        line = f"the file is damaged ({type(error).__name__}: {error})"
    else:
        return 0
    # Names in it are the file's own: nothing of them may move a terminal's cursor.
    line = "".join(c if c.isprintable() else "?" for c in " ".join(line.split()))
    line = f"'{os.path.basename(path)}': {line[:MOST_OF_A_LINE]}\n"
    try:
        with open(out, "w", encoding="utf-8") as file:
            file.write(line)
    except OSError:  # the disk is full; or the folder is gone with the command, which was interrupted
        if os.path.isdir(os.path.dirname(out)):
            sys.stderr.write(line)
        return 1
    return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
