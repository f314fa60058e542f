// The updated mask of a masked convolution: for each output channel the mask under the window's centre, weighed by what
// each input channel contributes.
#version 450
#extension GL_GOOGLE_include_directive : require

#include "sum.glsl"
#include "window.glsl"

#define MASK_BINDING 0
#define RUNS_BINDING 2
#include "mask_planes.glsl"

layout(binding = 1) restrict readonly buffer Magnitude {
    float magnitude[];  // [output channels, channels of a group]
};
layout(binding = 3) restrict writeonly buffer UpdatedMask {
    float updated_mask[];
};
layout(binding = 4) uniform Params {
    WindowParams p;
};

layout(push_constant) uniform Push {
    int first, end;       // outputs of this dispatch among [batch, output channels, D, H, W]
    int mask_base;        // word of image 0's planes in the bound range
    int mask_stride_n;    // words
    int magnitude_base;   // of output channel 0
    int updated_base;     // of the first output of all
    int in_channels, out_channels, group_in, group_out;
    float eps;
} push;

void main() {
    int at = push.first + int(gl_GlobalInvocationID.x);
    if (at >= push.end) return;
    int ow = at % p.output_w;
    int oh = at / p.output_w % p.output_h;
    int od = at / (p.output_w * p.output_h) % p.output_d;
    int outer = at / (p.output_w * p.output_h * p.output_d);
    int channel = outer % push.out_channels;
    int n = outer / push.out_channels;
    int z = od * p.stride_d - p.padding_d + p.kernel_d / 2 * p.dilation_d;
    int y = oh * p.stride_h - p.padding_h + p.kernel_h / 2 * p.dilation_h;
    int x = ow * p.stride_w - p.padding_w + p.kernel_w / 2 * p.dilation_w;
    float value = 0.0;
    if (z >= 0 && z < p.input_d && y >= 0 && y < p.input_h && x >= 0 && x < p.input_w) {
        int first = channel / push.group_out * push.group_in;
        float sum = 0.0;
        float sum_lost = 0.0;
        float total = 0.0;
        float total_lost = 0.0;
        for (int j = 0; j < push.group_in; ++j) {
            float a = magnitude[push.magnitude_base + channel * push.group_in + j];
            int plane = planeOfRun(runOf(first + j, push.in_channels));
            int row = push.mask_base + n * push.mask_stride_n +
                      ((plane * p.input_d + z) * p.input_h + y) * p.row_words;
            float m = maskValue(row, x);
            addTo(sum, sum_lost, a * m);
            addTo(total, total_lost, a);
        }
        precise float divisor = total + push.eps;
        if (divisor > 0.0) value = sum / divisor;
    }
    updated_mask[push.updated_base + at] = value;
}
