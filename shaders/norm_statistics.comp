// The statistics of masked batch normalization by channel: the means from sums, the scales and shifts from the squares of
// deviations, with the running statistics brought up to date, or both from running statistics.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "flat_grid.glsl"
#include "sum.glsl"

layout(binding = 0) restrict readonly buffer Sums {
    float sums[];
};
layout(binding = 1) restrict buffer Statistics {
    float statistics[];
};
layout(binding = 2) readonly buffer Weight {
    float weight[];
};
layout(binding = 3) readonly buffer Bias {
    float bias[];
};
layout(binding = 4) buffer RunningMean {
    float running_mean[];
};
layout(binding = 5) buffer RunningVar {
    float running_var[];
};

layout(push_constant) uniform Push {
    int batch, channels, parts;  // parts: sums of a channel of an image
    int step;  // 0: means from sums, 1: the rest from deviations, 2: all from running statistics
    int affine, running;
    int unbiased;  // the running variance's divisor is one less than the count
    int weight_base, bias_base, mean_base, var_base;
    float eps, momentum;
} push;

void main() {
    int c = flatInvocation();
    if (c >= push.channels) return;
    float total = 0.0;
    float total_lost = 0.0;
    float count = 0.0;
    float count_lost = 0.0;
    if (push.step < 2)
        for (int i = 0; i < push.batch * push.parts; ++i) {
            int at = 2 * ((i / push.parts * push.channels + c) * push.parts + i % push.parts);
            addTo(total, total_lost, sums[at]);
            addTo(count, count_lost, sums[at + 1]);
        }
    float quotient = count > 0.0 ? total / count : 0.0;
    if (push.step == 0) {
        statistics[c] = quotient;
        statistics[push.channels + c] = count;
        return;
    }
    float mean;
    float variance;
    if (push.step == 1) {
        mean = statistics[c];
        variance = quotient;
        if (push.running != 0) {
            float remembered = push.unbiased != 0 && count > 1.0 ? variance * (count / (count - 1.0)) : variance;
            running_mean[push.mean_base + c] =
                running_mean[push.mean_base + c] * (1.0 - push.momentum) + push.momentum * mean;
            running_var[push.var_base + c] =
                running_var[push.var_base + c] * (1.0 - push.momentum) + push.momentum * remembered;
        }
    } else {
        mean = running_mean[push.mean_base + c];
        variance = running_var[push.var_base + c];
    }
    statistics[c] = mean;
    statistics[2 * push.channels + c] =
        (push.affine != 0 ? weight[push.weight_base + c] : 1.0) / sqrt(variance + push.eps);
    statistics[3 * push.channels + c] = push.affine != 0 ? bias[push.bias_base + c] : 0.0;
}
