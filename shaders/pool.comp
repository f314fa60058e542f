// Max and average pooling.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "pass_outputs.glsl"

layout(constant_id = SPEC_POOL) const int kPool = POOL_MAX;

layout(binding = 0) readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) writeonly buffer Output {
    ELEMENT y[];
};

layout(push_constant) uniform Push {
    int begin_d, begin_h, begin_w;
    int size_c, size_d, size_h, size_w;  // of the box; in n and c the bases begin at it
    int x_n, x_c, x_d, x_h, x_w;
    int y_n, y_c, y_d, y_h, y_w;
    int x_base, y_base;
    int input_d, input_h, input_w;
    int kernel_d, kernel_h, kernel_w;
    int stride_d, stride_h, stride_w;
    int padding_d, padding_h, padding_w;
    int count;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    Place p = placeAt(id, ivec4(push.size_c, push.size_d, push.size_h, push.size_w));
    ivec3 at = ivec3(p.d + push.begin_d, p.h + push.begin_h, p.w + push.begin_w);
    ivec3 kernel = ivec3(push.kernel_d, push.kernel_h, push.kernel_w);
    ivec3 begin = at * ivec3(push.stride_d, push.stride_h, push.stride_w) -
                  ivec3(push.padding_d, push.padding_h, push.padding_w);
    ivec3 end = min(begin + kernel, ivec3(push.input_d, push.input_h, push.input_w));
    begin = max(begin, ivec3(0));
    int from = push.x_base + p.n * push.x_n + p.c * push.x_c;
    const float first = kPool == POOL_MAX ? uintBitsToFloat(0xFF800000u) : 0.0;
    float result = first;
    for (int d = begin.x; d < end.x; ++d)
        for (int h = begin.y; h < end.y; ++h) {
            float row = first;  // on its own first: a long sum of floats loses digits
            for (int w = begin.z; w < end.z; ++w) {
                float value = FROM_ELEMENT(x[from + d * push.x_d + h * push.x_h + w * push.x_w]);
                if (kPool == POOL_MAX)
                    row = value > row || isnan(value) ? value : row;
                else
                    row += value;
            }
            if (kPool == POOL_MAX)
                result = row > result || isnan(row) ? row : result;
            else
                result += row;
        }
    ivec3 inside = kPool == POOL_AVERAGE_INSIDE ? end - begin : kernel;
    if (kPool != POOL_MAX) result /= float(inside.x * inside.y * inside.z);
    y[push.y_base + p.n * push.y_n + p.c * push.y_c + p.d * push.y_d + p.h * push.y_h + p.w * push.y_w] =
        TO_ELEMENT(result);
}
