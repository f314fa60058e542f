// The transpose of pad.comp: an invocation adds up all that one element became.
#version 450
#extension GL_GOOGLE_include_directive : require

#include "element.glsl"
#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) restrict readonly buffer Padded {
    ELEMENT padded[];
};
layout(binding = 1) restrict buffer Gradient {
    ELEMENT gradient[];
};

layout(push_constant) uniform Push {
    int size_c, size_d, size_h, size_w;  // of the destination's box
    int from[5], to[5];                  // strides
    int first[3];                        // where the box begins in the destination
    int extent[3];                       // of the destination, D, H, W
    int mode;                            // PADDING_
    int from_base, to_base;
    int count;
    int begin[3], end[3];  // how much there is in front and behind
    int parts;             // which images are added up, FOLD_ bits from the axis's place on
    int accumulate;
} push;

// The images of an element along one axis: itself, those in front and those behind.
struct Images {
    int itself, itself_count;
    int front, front_count;
    int back, back_count;
};

Images imagesOf(int axis, int at) {
    int size = push.extent[axis];
    int begin = push.begin[axis];
    int last = size - 1 - at;
    Images images = Images(begin + at, 1, 0, 0, begin + size, 0);
    if (push.mode == PADDING_REPLICATE) {
        images.front_count = at == 0 ? begin : 0;
        images.back_count = last == 0 ? push.end[axis] : 0;
    } else {
        bool reflect = push.mode == PADDING_REFLECT;
        int in_front = reflect ? at : last + 1;
        int behind = reflect ? last : at + 1;
        images.front = begin - in_front;
        images.front_count = in_front >= 1 && in_front <= begin ? 1 : 0;
        images.back = begin + size - 1 + behind;
        images.back_count = behind >= 1 && behind <= push.end[axis] ? 1 : 0;
    }
    int parts = push.parts >> FOLD_AXIS_BITS * axis;
    if ((parts & FOLD_ITSELF) == 0) images.itself_count = 0;
    if ((parts & FOLD_FRONT) == 0) images.front_count = 0;
    if ((parts & FOLD_BACK) == 0) images.back_count = 0;
    return images;
}

int imageCount(Images images) {
    return images.itself_count + images.front_count + images.back_count;
}

int imageAt(Images images, int i) {
    if (i < images.itself_count) return images.itself;
    i -= images.itself_count;
    return i < images.front_count ? images.front + i : images.back + i - images.front_count;
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    int w = id % push.size_w;
    id /= push.size_w;
    int h = id % push.size_h;
    id /= push.size_h;
    int d = id % push.size_d;
    id /= push.size_d;
    int c = id % push.size_c;
    int n = id / push.size_c;
    int from = push.from_base + n * push.from[0] + c * push.from[1];
    Images in_d = imagesOf(0, push.first[0] + d);
    Images in_h = imagesOf(1, push.first[1] + h);
    Images in_w = imagesOf(2, push.first[2] + w);
    float value = 0.0;
    for (int i = 0; i < imageCount(in_d); ++i)
        for (int j = 0; j < imageCount(in_h); ++j)
            for (int k = 0; k < imageCount(in_w); ++k)
                value += FROM_ELEMENT(padded[from + imageAt(in_d, i) * push.from[2] + imageAt(in_h, j) * push.from[3] +
                                             imageAt(in_w, k) * push.from[4]]);
    int to = push.to_base + n * push.to[0] + c * push.to[1] + d * push.to[2] + h * push.to[3] + w * push.to[4];
    if (push.accumulate != 0) value += FROM_ELEMENT(gradient[to]);
    gradient[to] = TO_ELEMENT(value);
}
