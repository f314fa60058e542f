#!/usr/bin/env python3
"""Partial-convolution padding against zero padding: two classifiers that differ in nothing else, on scikit-learn's digits.

    examples/train_classifier.py --out curves.csv

With no mask a partial convolution still weighs its windows at the border by how much of them lies inside (Liu et al., "Partial
Convolution based Padding", 2018). Prints, and with --out writes, both accuracies after each epoch.
"""

import argparse
import csv

import numpy
import torch
from torch import nn

import pconv.nn

KINDS = {"zero": nn.Conv2d, "partial": pconv.nn.PartialConv2d}


def network(kind, seed):
    torch.manual_seed(seed)
    layers, channels = [], 1
    for out_channels, stride in ((16, 1), (32, 2), (64, 2)):
        layers += [KINDS[kind](channels, out_channels, 3, stride, 1), nn.BatchNorm2d(out_channels), nn.ReLU()]
        channels = out_channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    order = numpy.random.default_rng(0).permutation(len(data.target))
    x = torch.from_numpy(data.images[order]).float().unsqueeze(1) / 16
    y = torch.from_numpy(data.target[order]).long()
    cut = len(y) * 3 // 4
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        right = (model(x).argmax(1) == y).float().mean().item()
    model.train()
    return right


def train(kind, epochs=10, seed=0, batch=64, rate=2e-3):
    """The accuracies on held-out digits, before training and after each epoch."""
    (x, y), held_out = digits()
    model = network(kind, seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    curve = [accuracy(model, *held_out)]
    for epoch in range(epochs):
        order = torch.from_numpy(numpy.random.default_rng((seed, epoch)).permutation(len(y)))
        for part in order.split(batch):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
        curve.append(accuracy(model, *held_out))
    return curve


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="a CSV file for the curves")
    options = parser.parse_args()
    curves = {kind: train(kind, options.epochs, options.seed) for kind in KINDS}
    rows = [{"epoch": i, **{kind: f"{curve[i]:.4f}" for kind, curve in curves.items()}} for i in range(options.epochs + 1)]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if options.out:
        with open(options.out, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
