#!/usr/bin/env python3
"""Trains a small U-Net of partial convolutions to fill irregular holes in the pictures of a folder.

    examples/train_inpainting.py PICTURES --out RUN
    examples/train_inpainting.py PICTURES --out RUN --resume          # goes on exactly where it stopped
    examples/train_inpainting.py PICTURES --out RUN --device cuda --amp bf16 --size 256 --channels 64,128,256,512

RUN gets checkpoint.pt, valid_STEP.png (damaged, filled, original; one row a picture), log.csv, and at the end the model file:

    pconv inpaint photo.jpg --mask hole.png --model RUN/model.safetensors -o filled.jpg
"""

import argparse
import csv
import functools
import pathlib
import sys

import numpy
import torch
from PIL import Image
from torch import nn

import pconv
import pconv.masks
import pconv.nn
from pconv.losses import InpaintingLoss, composite

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class Block(nn.Module):
    """A partial convolution, batch normalization and an activation; what it makes of the mask goes along."""

    def __init__(self, channels, out_channels, kernel, stride=1, multi_channel=False, activation=None):
        super().__init__()
        self.conv = pconv.nn.PartialConv2d(
            channels, out_channels, kernel, stride, kernel // 2, bias=False, multi_channel=multi_channel, return_mask=True
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation or nn.ReLU()

    def forward(self, x, mask):
        x, mask = self.conv(x, mask)
        return self.activation(self.norm(x)), mask[:, :1]


class UNet(nn.Module):
    """The paper's network with as many levels as `channels` has; the size of its input is divisible by 2 ** levels."""

    def __init__(self, channels=(16, 32, 64)):
        super().__init__()
        before = [3, *channels[:-1]]
        self.encoder = nn.ModuleList(
            Block(a, b, 7 if i == 0 else 5 if i == 1 else 3, 2) for i, (a, b) in enumerate(zip(before, channels))
        )
        after = list(reversed(before))
        below = [channels[-1], *after[:-1]]
        self.decoder = nn.ModuleList(
            Block(a + b, max(b, 8), 3, multi_channel=True, activation=nn.LeakyReLU(0.2)) for a, b in zip(below, after)
        )
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x, mask):
        skips = []
        for block in self.encoder:
            skips.append((x, mask))
            x, mask = block(x, mask)
        for block, (skip, skip_mask) in zip(self.decoder, reversed(skips)):
            x, mask = (nn.functional.interpolate(t, scale_factor=2.0, mode="nearest") for t in (x, mask))
            planes = [m.expand(-1, t.shape[1], -1, -1) for t, m in ((x, mask), (skip, skip_mask))]
            x, mask = block(torch.cat([x, skip], 1), torch.cat(planes, 1))
        return self.last(x)


class Pictures:
    """Crops of a folder's pictures. What a step draws depends on the seed and the step alone, so that a run that is resumed
    goes on as it would have."""

    def __init__(self, folder, size):
        self.files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in PICTURES)
        if len(self.files) < 2:
            raise SystemExit(f"{folder} has {len(self.files)} pictures; expected at least 2 of {', '.join(PICTURES)}")
        self.size = size
        held_out = max(1, len(self.files) // 10)
        self.training, self.validation = self.files[:-held_out], self.files[-held_out:]

    @functools.lru_cache(4096)  # noqa: B019 - there is one of this class
    def read(self, path):
        picture = Image.open(path).convert("RGB")
        scale = self.size / min(picture.size)
        if scale > 1:
            picture = picture.resize([max(self.size, round(s * scale)) for s in picture.size], Image.BICUBIC)
        return numpy.asarray(picture)

    def crop(self, path, random):
        pixels = self.read(path)
        y, x = (int(random.integers(0, s - self.size + 1)) for s in pixels.shape[:2])
        return pixels[y : y + self.size, x : x + self.size]

    def batch(self, files, random):
        """Pictures [N, 3, S, S] in 0 to 1, and masks [N, 1, S, S], 1 where valid."""
        crops = numpy.stack([self.crop(f, random) for f in files])
        masks = [pconv.masks.irregular(self.size, self.size, int(random.integers(0, 6)), seed=random) for _ in files]
        pictures = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        return pictures, torch.from_numpy(numpy.stack(masks)).float().unsqueeze(1)

    def training_batch(self, count, seed, step):
        random = numpy.random.default_rng((seed, step))
        return self.batch([self.training[int(i)] for i in random.integers(0, len(self.training), count)], random)

    def validation_batch(self, count, seed):
        files = [self.validation[i % len(self.validation)] for i in range(count)]
        return self.batch(files, numpy.random.default_rng((seed, 2**40)))


def decibels(output, target, mask):
    """Peak signal-to-noise ratio within the holes."""
    error = ((output - target) ** 2 * (1 - mask)).sum() / (3 * (1 - mask).sum())
    return float(-10 * torch.log10(error.clamp_min(1e-12)))


def save_pictures(path, damaged, filled, target):
    rows = torch.cat([torch.cat(list(t), 1) for t in (damaged, filled, target)], 2).clamp(0, 1)
    Image.fromarray((rows.permute(1, 2, 0) * 255).round().byte().cpu().numpy()).save(path)


def save_model(path, model, size):
    """As a model file: the weights and what the network is."""
    example = torch.zeros(1, 3, size, size), torch.ones(1, 1, size, size)
    pconv.Network(model.eval(), example, device="cpu").save(path)


def replace(path, write):
    """Never half a file: written beside, then renamed."""
    beside = path.with_name(path.name + ".part")
    write(beside)
    beside.replace(path)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def bar(done, width=24):
    return "#" * round(done * width) + "." * (width - round(done * width))


class Training:
    def __init__(self, options):
        self.options, self.out = options, pathlib.Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device(options.device)
        self.pictures = Pictures(options.pictures, options.size)
        torch.manual_seed(options.seed)
        self.model = UNet(options.channels).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), options.rate)
        self.loss = InpaintingLoss()
        self.amp = {"off": None, "bf16": torch.bfloat16, "f16": torch.float16}[options.amp]
        scaled = self.amp == torch.float16 and self.device.type == "cuda"
        self.scaler = (
            torch.amp.GradScaler("cuda", enabled=scaled)
            if hasattr(torch.amp, "GradScaler")
            else torch.cuda.amp.GradScaler(enabled=scaled)
        )
        self.step, self.history = 0, []
        if options.resume:
            self.resume()

    def resume(self):
        path = self.out / "checkpoint.pt"
        if not path.exists():
            raise SystemExit(f"{path} is missing; expected the checkpoint of a run, or no --resume")
        state = torch.load(path, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.history = state["step"], state["history"]

    def save(self):
        state = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "step": self.step, "history": self.history,
        }  # fmt: skip
        replace(self.out / "checkpoint.pt", lambda p: torch.save(state, p))

    def forward(self, target, mask):
        with torch.autocast(self.device.type, dtype=self.amp or torch.bfloat16, enabled=self.amp is not None):
            return self.model(target * mask, mask).float()

    def validate(self):
        """The hole's mean absolute error and PSNR of the fixed validation batch."""
        target, mask = (t.to(self.device) for t in self.pictures.validation_batch(self.options.valid, self.options.seed))
        self.model.eval()
        with torch.no_grad():
            filled = composite(self.forward(target, mask), target, mask)
        self.model.train()
        error = float(((filled - target).abs() * (1 - mask)).sum() / (3 * (1 - mask).sum()))
        self.history.append({"step": self.step, "hole_error": error, "psnr": decibels(filled, target, mask)})
        save_pictures(self.out / f"valid_{self.step:06}.png", target * mask, filled, target)
        with open(self.out / "log.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0].keys())
            writer.writeheader()
            writer.writerows(self.history)
        progress("")
        print(f"step {self.step}: hole error {error:.4f}, PSNR {self.history[-1]['psnr']:.2f} dB", flush=True)

    def train_step(self):
        batch = self.pictures.training_batch(self.options.batch, self.options.seed, self.step)
        target, mask = (t.to(self.device, non_blocking=True) for t in batch)
        self.optimizer.zero_grad(set_to_none=True)
        total, _ = self.loss(self.forward(target, mask), target, mask)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        return total

    def run(self):
        options = self.options
        if self.step == 0:
            self.validate()
        while self.step < options.steps:
            total = self.train_step()
            if self.step % 10 == 0:
                progress(f"[{bar(self.step / options.steps)}] {self.step}/{options.steps}  loss {float(total):.4f}")
            if self.step % options.every == 0 or self.step == options.steps:
                self.validate()
                self.save()
        save_model(self.out / "model.safetensors", self.model, self.options.size)
        return self.history


def parse(words=None):
    whole = lambda text: int(text) if int(text) > 0 else int("x")  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", help="a folder; its last tenth is held out for validation")
    parser.add_argument("--out", required=True, help="the folder of the run")
    parser.add_argument("--size", type=whole, default=64, help="of crops; default: 64")
    parser.add_argument("--channels", default="16,32,64", help="of the encoder's levels; default: 16,32,64")
    parser.add_argument("--batch", type=whole, default=8, help="default: 8")
    parser.add_argument("--valid", type=whole, default=8, help="pictures to validate on; default: 8")
    parser.add_argument("--steps", type=whole, default=2000, help="default: 2000")
    parser.add_argument("--every", type=whole, default=200, help="steps between validations and checkpoints; default: 200")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate; default: 0.001")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--amp", choices=["off", "bf16", "f16"], default="off", help="automatic mixed precision")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resume", action="store_true", help="from RUN/checkpoint.pt")
    options = parser.parse_args(words)
    try:
        options.channels = tuple(whole(n) for n in options.channels.split(","))
    except ValueError:
        parser.error(f"--channels: '{options.channels}' is no list of positive numbers, such as 16,32,64")
    if options.size % 2 ** len(options.channels):
        parser.error(
            f"--size: {options.size} is not divisible by {2 ** len(options.channels)}, as {len(options.channels)} levels ask for"
        )
    return options


if __name__ == "__main__":
    Training(parse()).run()
