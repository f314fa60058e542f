#!/usr/bin/env python3
"""Measures how close `pconv inpaint` comes to pictures whose holes it fills.

    inpaint_quality.py [--pconv COMMAND] PICTURE...

Each picture is cropped to a square and reduced to 256x256; three kinds of hole are cut, in three places each: thin
strokes over 10% of it, wide strokes over 20%, a square of 64x64. Prints the mean PSNR in dB over the whole picture
and over the holes, and where OpenCV for Python is installed, the same of its two methods.

Needs numpy and Pillow.
"""
import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image, ImageDraw

try:
    import cv2
except ImportError:
    cv2 = None

SIZE = 256


def load(path):
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((SIZE, SIZE), Image.BOX, box=box))


def strokes(seed, share, thinnest, widest):
    rng = np.random.RandomState(seed)
    image = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(image)
    while np.mean(np.asarray(image) > 0) < share:
        x, y = rng.randint(0, SIZE, 2)
        angle, width = rng.rand() * 2 * np.pi, rng.randint(thinnest, widest + 1)
        points = [(x, y)]
        for _ in range(rng.randint(2, 6)):
            angle += rng.uniform(-0.8, 0.8)
            length = rng.randint(20, 70)
            x, y = x + length * np.cos(angle), y + length * np.sin(angle)
            points.append((x, y))
        draw.line(points, fill=255, width=int(width), joint="curve")
    return np.asarray(image) > 0


def square(left, top):
    hole = np.zeros((SIZE, SIZE), bool)
    hole[top : top + 64, left : left + 64] = True
    return hole


def holes():
    return {
        "thin strokes, 10%": [strokes(100 + i, 0.10, 1, 4) for i in range(3)],
        "wide strokes, 20%": [strokes(200 + i, 0.20, 10, 20) for i in range(3)],
        "a square of 64x64": [square(at, at) for at in (60, 96, 130)],
    }


def psnr(a, b):
    error = np.mean((a.astype(float) - b) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))


def by_command(command, folder):
    def fill(picture, hole):
        Image.fromarray(np.dstack([picture, np.where(hole, 0, 255).astype(np.uint8)])).save(folder / "in.png")
        subprocess.run([command, "inpaint", folder / "in.png", "-o", folder / "out.png"], check=True)
        return np.asarray(Image.open(folder / "out.png").convert("RGB"))

    return fill


def by_opencv(method):
    return lambda picture, hole: cv2.inpaint(picture, hole.astype(np.uint8), 3, method)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", type=pathlib.Path)
    parser.add_argument("--pconv", default="build/release/bin/pconv", metavar="COMMAND")
    arguments = parser.parse_args()
    pictures = [load(path) for path in arguments.pictures]
    with tempfile.TemporaryDirectory() as folder:
        methods = {"pconv": by_command(arguments.pconv, pathlib.Path(folder))}
        if cv2:
            methods["OpenCV, Telea"] = by_opencv(cv2.INPAINT_TELEA)
            methods["OpenCV, Navier-Stokes"] = by_opencv(cv2.INPAINT_NS)
        for kind, masks in holes().items():
            for name, fill in methods.items():
                results = [(p, fill(p, hole), hole) for hole in masks for p in pictures]
                whole = np.mean([psnr(p, r) for p, r, _ in results])
                inside = np.mean([psnr(p[hole], r[hole]) for p, r, hole in results])
                print(f"{kind:18}  {name:22}  picture {whole:6.2f} dB  holes {inside:6.2f} dB", flush=True)


if __name__ == "__main__":
    main()
