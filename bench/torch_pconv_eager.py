"""torch_pconv's way in PyTorch's operations: one plane of the mask, and in-place products after the convolution."""
import torch
import torch.nn.functional as functional


class PConv2d(torch.nn.Module):
    def __init__(self, in_channels, out_channels, kernel, padding):
        super().__init__()
        self.convolution = torch.nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False)
        self.bias = torch.nn.Parameter(torch.zeros(1, out_channels, 1, 1))
        self.register_buffer("window", torch.ones(1, 1, kernel, kernel))
        self.counted, self.padding = in_channels, padding

    def forward(self, x, planes):
        mask = planes[:, None]
        y = self.convolution(x * mask)
        with torch.no_grad():
            s = functional.conv2d(mask, self.window, padding=self.padding) * self.counted
            updated = s.clamp(0, 1)
            ratio = self.counted * self.window.numel() / (s + 1e-8) * updated
        y *= ratio
        y += self.bias
        y *= updated
        return y
