"""Two processes of DDP and of FSDP, by gloo, learn what one process learns."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

if not torch.distributed.is_available():
    pytest.skip("this PyTorch was built without torch.distributed", allow_module_level=True)

PROGRAM = """
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pconv import nn


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.PartialConv2d(4, 6, 3, padding=1, return_mask=True)
        self.second = nn.PartialConv2d(6, 4, 3, padding=1)

    def forward(self, x, mask):
        x, mask = self.first(x, mask)
        return self.second(x.relu(), mask)


def model():
    torch.manual_seed(0)
    return Model()


def data():
    g = torch.Generator().manual_seed(1)
    return torch.randn(4, 4, 8, 8, generator=g), (torch.rand(4, 1, 8, 8, generator=g) > 0.4).float()


def shared(kind):
    if kind == "DDP":
        return torch.nn.parallel.DistributedDataParallel(model())
    if kind == "FSDP":
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(model(), device_id=torch.device("cpu"))
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    net, mesh = model(), init_device_mesh("cpu", (2,))
    for part in (net.first, net.second, net):
        fully_shard(part, mesh=mesh)
    return net


def whole(net, kind):
    if kind == "FSDP":
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(net):
            return [p.detach().clone() for p in net.parameters()]
    return [p.full_tensor() if kind == "fully_shard" else p.detach() for p in net.parameters()]


def step(net, x, mask):
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    net(x, mask).square().mean().backward()
    optimizer.step()


def work(rank, file, kind):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method="file://" + file, rank=rank, world_size=2)
    net, one = shared(kind), model()
    x, mask = data()
    half = slice(2 * rank, 2 * rank + 2)
    for _ in range(2):
        step(net, x[half], mask[half])
        step(one, x, mask)
        for p in [*net.parameters(), *one.parameters()]:
            p.grad = None
    got = torch.cat([p.flatten() for p in whole(net, kind)])
    expected = torch.cat([p.detach().flatten() for p in one.parameters()])
    start = torch.cat([p.detach().flatten() for p in model().parameters()])
    moved = (expected - start).abs().max()
    assert moved > 1e-3 and (got - expected).abs().max() <= 1e-5 * moved, (moved, (got - expected).abs().max())
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, args=tuple(sys.argv[1:]), nprocs=2)
    print("equal")
"""


def is_there(kind):
    """FSDP shards on a CPU from PyTorch 2.1 on, fully_shard where a CPU's streams have events."""
    if kind == "FSDP" and not hasattr(torch, "compiler"):
        return False
    return kind != "fully_shard" or hasattr(getattr(torch.cpu, "Stream", None), "record_event")


@pytest.mark.parametrize("kind", ["DDP", *(pytest.param(k, marks=pytest.mark.long) for k in ("FSDP", "fully_shard"))])
def test_two_processes_learn_what_one_does(kind, tmp_path):
    if not is_there(kind):
        pytest.skip(f"{kind} of PyTorch {torch.__version__} does not run on a CPU")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), GLOO_SOCKET_IFNAME="lo")
    answer = subprocess.run(
        [sys.executable, script, tmp_path / "meet", kind], capture_output=True, text=True, env=environment, timeout=500
    )
    assert answer.stdout == "equal\n", answer.stdout + answer.stderr
