// What the convolution's matrix products share: weights [channels, depth] by input windows [depth, columns], where a column is
// an output of one of the dispatch's images, and a workgroup makes a tile of the product from slices of depth.
#ifndef IMPLICIT_GEMM_GLSL
#define IMPLICIT_GEMM_GLSL

#include "partial_conv.glsl"
#include "product_tile.glsl"
#include "walk.glsl"

layout(constant_id = SPEC_CUT) const int kCut = 0;
layout(constant_id = SPEC_TWO_ROWS) const int kTwoRows = 0;

// Where depth is cut: the sums of every part, [part, block, kBlockM, columns of the dispatch's tiles].
layout(binding = 7) restrict buffer Sums {
    float sums[];
};

// Where the rows of two slices of the input read: elements from the window's origin; which row of the mask, and a column's bit
// among those of it, from which column of the window on.
shared ivec4 tap_offsets[2 * kBlockK / 4];
shared ivec4 tap_keys[2 * kBlockK / 4];
shared ivec4 tap_bits[2 * kBlockK / 4];
shared ivec4 tap_rows[2 * kBlockK];  // plane and row in the window, first column, the mask's plane

// Whether anything in the tile is valid: the first. Drivers align shared arrays to their elements' components, and what has
// vectors of 16 bytes should begin at such.
shared uint any_valid[4];

// Depth runs over kernel planes and rows, channels, kernel columns, as the packed weights do.
void storeTap(int slot, ivec3 place, int group) {
    int dz = place.z / p.kernel_h * p.dilation_d;
    int dy = place.z % p.kernel_h * p.dilation_h;
    int dx = place.x * p.dilation_w;
    int words = (p.kernel_w - 1) * p.dilation_w / 32 + 1;
    int plane = kMaskMulti != 0 ? planeOfRun(runOf(group * group_in + place.y, channels)) : 0;
    tap_offsets[slot >> 2][slot & 3] =
        place.y * push.x_stride_c + dz * push.x_stride_d + dy * push.x_stride_h + dx * push.x_stride_w;
    tap_keys[slot >> 2][slot & 3] = (plane * p.kernel_d * p.kernel_h + place.z) * words + dx / 32;
    tap_bits[slot >> 2][slot & 3] = dx & 31;
    tap_rows[slot] = ivec4(dz, dy, dx & ~31, plane);
}

// A column's output, its image, and whether there is one.
struct Column {
    ivec3 at;  // along W, H and D
    int n;
    bool wanted;
};

int columnsOfDispatch() {
    return (push.end - push.first) * push.images;
}

Column columnAt(int at) {
    int a_image = push.end - push.first;
    int inside = min(at, a_image * push.images - 1);
    int image = push.images > 1 ? inside / a_image : 0;
    return Column(placeOf(push.first + inside - image * a_image, ivec2(p.output_w, p.output_h)), push.n0 + image,
                  at < a_image * push.images);
}

// Its window's first column, row and plane in the input.
ivec3 windowOf(Column column) {
    return ivec3(column.at.x * p.stride_w - p.padding_w, column.at.y * p.stride_h - p.padding_h,
                 column.at.z * p.stride_d - p.padding_d);
}

int originOf(Column column, ivec3 window, int group) {
    return push.x_base + column.n * push.x_stride_n + group * group_in * push.x_stride_c + window.z * push.x_stride_d +
           window.y * push.x_stride_h + window.x * push.x_stride_w;
}

// Whether an output's window has anything valid in it.
bool isValid(Column column, int group) {
    return column.wanted &&
           (gain == GAIN_CHANNELS || gainAt(column.n, group, 0, column.at.z, column.at.y, column.at.x).x > 0.0);
}

int outputIndex(Column column, int channel) {
    return push.y_base + column.n * push.y_stride_n + channel * push.y_stride_c + column.at.z * push.y_stride_d +
           column.at.y * push.y_stride_h + column.at.x * push.y_stride_w;
}

// Bits for the columns from the window's first on of the row that a tap reads: 1 where they are inside and, in a binary mask,
// no holes.
uint insideRow(ivec4 tap_row, int n, ivec3 window) {
    int z = window.z + tap_row.x;
    int iy = window.y + tap_row.y;
    bool inside = z >= 0 && z < p.input_d && iy >= 0 && iy < p.input_h;
    if (kMaskKind == MASK_BITS) return rowBits(inside, maskRow(n, tap_row.w, z, iy), window.x + tap_row.z, p.row_words);
    return inside ? insideBits(window.x + tap_row.z, p.input_w) : 0u;
}

// The row of the mask that was fetched last: neighbouring taps read the same.
struct FetchedRow {
    int key;
    uint bits;
};

void fetchRow(int key, int slot, Column column, ivec3 window, inout FetchedRow row) {
    if (key == row.key) return;
    row.key = key;
    row.bits = column.wanted ? insideRow(tap_rows[slot], column.n, window) : 0u;
}

// For which of eight taps, from a slot on that 8 divides, the column's window has something; there are `left` of them. Behind the
// last tap are rows of no window, which may lie outside what is bound.
uint validTaps(int slot, int left, Column column, ivec3 window, inout FetchedRow row) {
    ivec4 keys[2] = ivec4[](tap_keys[slot >> 2], tap_keys[(slot >> 2) + 1]);
    ivec4 bits[2] = ivec4[](tap_bits[slot >> 2], tap_bits[(slot >> 2) + 1]);
    int count = min(left, 8);
    if (count <= 0) return 0u;
    uint valid = 0u;
    if (kTwoRows != 0) {
        fetchRow(keys[0].x, slot, column, window, row);
        uint first = row.bits;
        int last = slot + count - 1;
        fetchRow(tap_keys[last >> 2][last & 3], last, column, window, row);
        [[unroll]] for (int i = 0; i < 8; ++i) {
            uint of_tap = keys[i / 4][i % 4] == keys[0].x ? first : row.bits;
            valid |= (of_tap >> uint(bits[i / 4][i % 4]) & 1u) << uint(i);
        }
    } else {
        [[dont_unroll]] for (int done = 0; done < count;) {
            int key = tap_keys[slot + done >> 2][slot + done & 3];
            fetchRow(key, slot + done, column, window, row);
            int next = 8;
            [[unroll]] for (int i = 7; i >= 0; --i) {
                bool same = keys[i / 4][i % 4] == key;
                if (same) valid |= (row.bits >> uint(bits[i / 4][i % 4]) & 1u) << uint(i);
                if (!same && i > done) next = i;
            }
            done = next;
        }
    }
    return valid & (0xFFu >> uint(8 - count));
}

#endif
