// The gradient of the weights as a matrix product, the gradient of the sums [output channels, outputs] by the input
// windows [outputs, (tap, input channel)]: a workgroup makes a tile of the product from slices in shared memory, for one
// of the parts into which the outputs are cut.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grad_weight.glsl"
#include "gradient_tile.glsl"
#include "walk.glsl"

// Slices are loaded whole, the sums in vectors, the windows by runs of up to eight: kBlockK and kBlockN divide kLanes, which divides
// both slices.
const int kLoadsA = kBlockM * kBlockK / (4 * kLanes);
const int kLoadsB = kBlockN * kBlockK / kLanes;
const int kRun = kLoadsB < 8 ? kLoadsB : 8;
const int kRuns = kBlockN / kRun;  // of the tile's columns
const int kNowhere = -0x40000000;

// What the tile's columns read, from a window's place: along D, H and W and rows of the mask; elements of the input.
shared ivec4 pair_at[kBlockN];
shared int pair_offset[kBlockN];
// Where the windows of two slices lie, and the sums of their outputs.
shared ivec4 window_at[2 * kBlockK];
shared int window_offset[2 * kBlockK], window_sum[2 * kBlockK];

// Pairs run over taps, then channels: neighbours lie together where channels do. Columns take one pair of every run, so that lanes
// that store one of a run meet no bank oftener than they must.
int first_channel, channels, taps;

int pairOf(int column) {
    uint at = uint(column);
    return int(gl_WorkGroupID.x) * kBlockN + int(at % uint(kRuns) * uint(kRun) + at / uint(kRuns));
}

int columnOfPair(uint pair) {
    return int(pair % uint(kRun) * uint(kRuns) + pair / uint(kRun));
}

void decodePair(int column, int group) {
    int pair = pairOf(column);
    bool wanted = pair < taps * channels;
    int tap = wanted ? pair / channels : 0;
    int channel = group * p.group_in + first_channel + (wanted ? pair - tap * channels : 0);
    int z = tap / p.w.kernel_w / p.w.kernel_h * p.w.dilation_d;
    int y = tap / p.w.kernel_w % p.w.kernel_h * p.w.dilation_h;
    int x = tap % p.w.kernel_w * p.w.dilation_w;
    int mask_row = ((planeOf(channel) * p.w.input_d + z) * p.w.input_h + y) * p.w.row_words;
    pair_at[column] = ivec4(wanted ? z : kNowhere, y, x, mask_row);
    pair_offset[column] = channel * push.stride_c + z * push.stride_d + y * push.stride_h + x * push.stride_w;
}

// Of an output: column, row of the dispatch's, image of the dispatch's.
void storeWindow(int slot, ivec3 place, bool wanted) {
    int row = push.row0 + place.y;
    int n = push.n0 + place.z;
    int od = p.w.output_d > 1 ? row / p.w.output_h : 0;
    int z = od * p.w.stride_d - p.w.padding_d;
    int y = (row - od * p.w.output_h) * p.w.stride_h - p.w.padding_h;
    int x = place.x * p.w.stride_w - p.w.padding_w;
    int mask_row = push.mask_base + n * push.mask_stride_n + (z * p.w.input_h + y) * p.w.row_words;
    window_at[slot] = ivec4(wanted ? z : kNowhere, y, x, mask_row);
    window_offset[slot] = push.x_base + n * push.stride_n + z * push.stride_d + y * push.stride_h + x * push.stride_w;
    window_sum[slot] =
        wanted ? push.sum_base + ((n * p.w.output_d * p.w.output_h + row) * p.w.output_w + place.x) * p.out_channels
               : 2 * kNowhere;
}

// The mask under a tap of a window; 0 outside the input.
float maskUnder(ivec4 window, ivec4 pair) {
    ivec3 at = window.xyz + pair.xyz;
    bool inside = uint(at.x) < uint(p.w.input_d) && uint(at.y) < uint(p.w.input_h) && uint(at.z) < uint(p.w.input_w);
    float m = maskValue(inside ? window.w + pair.w : 0, inside ? at.z : 0);
    return inside ? m : 0.0;
}

// Where the mask is 0 the input is replaced, not multiplied.
float loadInput(float m, int at) {
    float value = FROM_ELEMENT(x[m != 0.0 ? at : 0]);
    if (kMaskKind == MASK_FRACTIONAL && p.scales_input != 0) value *= m;
    return m != 0.0 ? value : 0.0;
}

// A slice on its way from memory: all of it is asked for before any of it is stored.
vec4 some_sums[kLoadsA];
float some_inputs[kLoadsB];

void fetchSums(int slot, uint lane, int first, int end_channel, bool vectors) {
    [[unroll]] for (int i = 0; i < kLoadsA; ++i) {
        uint at = lane + uint(i * kLanes);
        int channel = first + int(at % uint(kBlockM / 4)) * 4;
        int from = window_sum[slot + int(at / uint(kBlockM / 4))] + channel;
        if (vectors) {
            bool ok = from >= 0 && channel >= push.c0 && channel < end_channel;
            vec4 four = grad_sum4[ok ? from >> 2 : 0];
            some_sums[i] = ok ? four : vec4(0.0);
        } else {
            [[unroll]] for (int j = 0; j < 4; ++j) {
                bool ok = from >= 0 && channel + j >= push.c0 && channel + j < end_channel;
                float value = grad_sum[ok ? from + j : 0];
                some_sums[i][j] = ok ? value : 0.0;
            }
        }
    }
}

int columnOfLoad(uint lane, int i) {
    return i % kRun * kRuns + int(lane / uint(kBlockK)) + i / kRun * (kLanes / kBlockK);
}

// Lanes run over outputs, of which each loads runs of pairs, which look at the mask once where they are channels of one tap.
void fetchByOutputs(int slot, uint lane, bool one_tap) {
    int row = int(lane % uint(kBlockK));
    ivec4 window = window_at[slot + row];
    int origin = window_offset[slot + row];
    float m = 0.0;
    [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
        int column = columnOfLoad(lane, i);
        if (i % kRun == 0 || kMaskMulti != 0 || !one_tap) m = maskUnder(window, pair_at[column]);
        some_inputs[i] = loadInput(m, origin + pair_offset[column]);
    }
}

// Lanes run over pairs, which lie together in memory, of which each loads a run of outputs.
void fetchByPairs(int slot, uint lane) {
    int column = columnOfPair(lane % uint(kBlockN));
    ivec4 pair = pair_at[column];
    int offset = pair_offset[column];
    [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
        int row = slot + int(lane / uint(kBlockN)) * kLoadsB + i;
        some_inputs[i] = loadInput(maskUnder(window_at[row], pair), window_offset[row] + offset);
    }
}

void storeSlices(uint lane, bool by_pairs) {
    [[unroll]] for (int i = 0; i < kLoadsA; ++i) slice_a[lane + uint(i * kLanes)] = some_sums[i];
    if (by_pairs) {
        int column = columnOfPair(lane % uint(kBlockN));
        [[unroll]] for (int i = 0; i < kLoadsB; ++i)
            storeB(int(lane / uint(kBlockN)) * kLoadsB + i, column, some_inputs[i]);
    } else {
        [[unroll]] for (int i = 0; i < kLoadsB; ++i)
            storeB(int(lane % uint(kBlockK)), columnOfLoad(lane, i), some_inputs[i]);
    }
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int block = push.block0 + int(gl_WorkGroupID.y);
    int blocks_a_group = (p.group_out + kBlockM - 1) / kBlockM;
    int group = block / blocks_a_group;
    int first = group * p.group_out + block % blocks_a_group * kBlockM;
    int end_channel = min((group + 1) * p.group_out, push.c1);
    taps = p.w.kernel_d * p.w.kernel_h * p.w.kernel_w;
    first_channel = push.pair0 / taps;
    channels = (push.pair1 - push.pair0) / taps;

    // The outputs of this part: whole slices, but for the last.
    int outputs = push.images * push.rows * p.w.output_w;
    int slices = (outputs + kBlockK - 1) / kBlockK;
    int slices_a_part = (slices + int(gl_NumWorkGroups.z) - 1) / int(gl_NumWorkGroups.z);
    int begin = int(gl_WorkGroupID.z) * slices_a_part * kBlockK;
    int end = min(outputs, begin + slices_a_part * kBlockK);

    ivec2 size = ivec2(p.w.output_w, push.rows);
    ivec3 place = placeOf(begin + lane, size);
    ivec3 by = placeOf(kBlockK, size);
    for (int i = lane; i < kBlockN; i += kLanes) decodePair(i, group);
    if (lane < kBlockK) storeWindow(lane, place, begin + lane < end);
    clearTile();
    barrier();

    bool channels_last = push.stride_c == 1 && push.stride_w != 1;
    bool one_tap = (channels & kRun - 1) == 0;
    bool vectors = ((p.group_out | push.c0 | push.c1) & 3) == 0;
    int rows_a = int(gl_LocalInvocationID.x / uint(kThreadsN)) * (kThreadM / 4);
    int column_n = int(gl_LocalInvocationID.x % uint(kThreadsN));
    int slot = 0;
    for (int k0 = begin; k0 < end; k0 += kBlockK) {
        fetchSums(slot, gl_LocalInvocationID.x, first, end_channel, vectors);
        if (channels_last)
            fetchByPairs(slot, gl_LocalInvocationID.x);
        else
            fetchByOutputs(slot, gl_LocalInvocationID.x, one_tap);
        storeSlices(gl_LocalInvocationID.x, channels_last);
        barrier();
        slot = kBlockK - slot;
        place = advance(place, by, size);
        if (lane < kBlockK) storeWindow(slot + lane, place, k0 + kBlockK + lane < end);
        multiply(0, kBlockK, rows_a, column_n);
        barrier();
        if ((k0 - begin) / kBlockK % kSlices == kSlices - 1) flush();
    }
    flush();

    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        int pair = pairOf(columnOf(column_n, j));
        if (pair < taps * channels) {
            int tap = pair / channels;
            int of_pair = push.weight_base + (first_channel + pair - tap * channels) * taps + tap;
            [[unroll]] for (int i = 0; i < kThreadM; ++i) {
                int channel = first + rows_a * 4 + i;
                if (channel >= push.c0 && channel < end_channel) {
                    int part = channel * int(gl_NumWorkGroups.z) + int(gl_WorkGroupID.z);
                    int to = of_pair + part * p.group_in * taps;
                    grad_weight[to] = (push.add != 0 ? grad_weight[to] : 0.0) + total[i * kThreadN + j];
                }
            }
        }
    }
}
