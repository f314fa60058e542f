// The mask side, against windows counted one by one: sums, updated mask, ratio and the flags of the tiles of
// outputs; and that those of binary masks, whatever their rows and planes, are counted four outputs a thread.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/mask_side.cuh"
#include "cuda_shim.h"
#include "kernel_case.h"

namespace pconv::cuda {
namespace {

struct Form {
    int batch = 1;
    int size[3] = {1, 5, 8};
    int kernel[3] = {1, 3, 3};
    int stride[3] = {1, 1, 1};
    int padding[3] = {0, 1, 1};
    int dilation[3] = {1, 1, 1};
    int mask_batch = 1;  // 0: no mask
    int channels = 1;    // counted, without a mask
    int holes = 50;      // percent
    bool hole_is_one = false;
    Normalization normalization = Normalization::window_ratio;
    int gap = 0;        // elements between the rows of the caller's mask
    int misplaced = 0;  // elements before the results
    std::vector<std::pair<int, int>>
        planes{};    // and the channels of each, for every segment; none: one plane
    int groups = 1;  // that have windows of their own

    int planeCount() const {
        int count = 0;
        for (const auto& segment : planes) count += segment.first;
        return std::max(count, 1);
    }
    int channelCount() const {
        int count = 0;
        for (const auto& segment : planes) count += segment.first * segment.second;
        return std::max(count, channels);
    }
    // The plane of a channel.
    int planeOf(int channel) const {
        int plane = 0;
        for (const auto& [own, of_plane] : planes) {
            if (channel < own * of_plane) return plane + channel / of_plane;
            channel -= own * of_plane;
            plane += own;
        }
        return 0;
    }
};

struct Answers {
    std::vector<float> sums, ratios;
    std::vector<uint8_t> updated;
    std::vector<uint32_t> flags;
};

ConvShape shapeOf(const Form& form) {
    ConvShape s{};
    s.batch = form.batch;
    s.in_channels = form.channelCount();
    s.out_channels = s.groups = form.groups;
    for (int d = 0; d < 3; ++d) {
        s.input[d] = form.size[d];
        s.kernel[d] = form.kernel[d];
        s.stride[d] = form.stride[d];
        s.padding[d] = form.padding[d];
        s.dilation[d] = form.dilation[d];
    }
    setOutput(s);
    return s;
}

Answers counted(const Form& form, const std::vector<uint8_t>& valid) {
    const ConvShape s = shapeOf(form);
    const int volume_out = volume(s.output);
    const int images = std::max(form.mask_batch, 1);
    const int counted = s.in_channels / form.groups;
    Answers answers;
    answers.flags.resize(static_cast<size_t>((s.batch * volume_out + kTileOutputs - 1) / kTileOutputs));
    for (int plane = 0; plane < images * form.groups; ++plane)
        for (int o = 0; o < volume_out; ++o) {
            const int n = plane / form.groups;
            const int at[3] = {o / s.output[2] / s.output[1], o / s.output[2] % s.output[1], o % s.output[2]};
            int count = 0;
            int inside = 0;
            for (int tap = 0; tap < volume(s.kernel); ++tap) {
                const int k[3] = {tap / s.kernel[2] / s.kernel[1], tap / s.kernel[2] % s.kernel[1],
                                  tap % s.kernel[2]};
                int from = 0;
                bool within = true;
                for (int d = 0; d < 3; ++d) {
                    const int x = at[d] * s.stride[d] - s.padding[d] + k[d] * s.dilation[d];
                    within = within && x >= 0 && x < s.input[d];
                    from = from * s.input[d] + x;
                }
                if (!within) continue;
                inside += counted;
                for (int i = 0; i < counted; ++i) {
                    const int of = form.planeOf(plane % form.groups * counted + i);
                    const auto at_plane = static_cast<size_t>((n * form.planeCount() + of) * volume(s.input));
                    count += form.mask_batch == 0 ? 1 : valid[at_plane + static_cast<size_t>(from)];
                }
            }
            const auto sum = static_cast<float>(count);
            const auto result = elementwise::windowResult(sum, static_cast<float>(volume(s.kernel) * counted),
                                                          1e-8F, form.normalization);
            answers.sums.push_back(sum);
            answers.ratios.push_back(result.ratio);
            answers.updated.push_back(count > 0 ? 1 : 0);
            for (int image = n; image < (images == 1 ? s.batch : n + 1); ++image)
                answers.flags[static_cast<size_t>((image * volume_out + o) / kTileOutputs)] |=
                    (count > 0 ? kTileSomeValid : 0) | (count < inside ? kTileSomeHole : 0);
        }
    return answers;
}

// "" where the kernels answer the same; `kernel`: what is to count the windows.
std::string faultOf(const Form& form, const std::string& kernel) {
    const ConvShape s = shapeOf(form);
    std::mt19937 random(3);
    const int pitch = s.input[2] + form.gap;
    const int rows = form.mask_batch * form.planeCount() * s.input[0] * s.input[1];
    std::vector<uint8_t> valid;
    std::vector<uint32_t> memory(static_cast<size_t>(rows * pitch) / 4 + 4, 0x7F7F7F7FU);
    auto* mask = reinterpret_cast<uint8_t*>(memory.data());
    for (int row = 0; row < rows; ++row)
        for (int w = 0; w < s.input[2]; ++w) {
            valid.push_back(static_cast<int>(random() % 100) >= form.holes ? 1 : 0);
            mask[row * pitch + w] = (valid.back() != 0) != form.hole_is_one ? 1 + random() % 255 : 0;
        }
    // All segments lie in one tensor.
    const int64_t plane_pitch = int64_t{s.input[0]} * s.input[1] * pitch;
    std::vector<MaskSegment> segments;
    int first_plane = 0;
    for (const auto& [own, of_plane] :
         form.planes.empty() ? std::vector<std::pair<int, int>>{{1, 1}} : form.planes) {
        segments.push_back(
            {mask + first_plane * plane_pitch,
             {form.planeCount() * plane_pitch, plane_pitch, int64_t{s.input[1]} * pitch, pitch, 1},
             own,
             of_plane});
        first_plane += own;
    }
    const int results = std::max(form.mask_batch, 1) * form.groups * volume(s.output);
    const auto room = static_cast<size_t>(results + form.misplaced + 8);
    std::vector<float> sums(room, -1.0F);
    std::vector<float> ratios(room, -1.0F);
    std::vector<uint8_t> updated(room, 77);
    MaskProblem p{};
    p.shape = s;
    p.type = form.mask_batch == 0 ? MaskType::none : MaskType::binary;
    p.normalization = form.normalization;
    p.eps = 1e-8F;
    p.multi_channel = s.in_channels > 1;
    p.group_window = form.groups > 1;
    p.batch = std::max(form.mask_batch, 1);
    p.hole_is_one = form.hole_is_one;
    p.segment_count = form.mask_batch == 0 ? 0 : static_cast<int>(segments.size());
    p.segments = segments.data();
    const MaskMemory needed = maskMemory(p);
    std::vector<float> packed(needed.packed / 4);
    std::vector<uint64_t> added(needed.sums / 8 + 1);
    std::vector<int> table(needed.plane_of_channel / 4 + 1);
    std::vector<uint32_t> flags(needed.tile_flags / 4 + 1, 99);
    p.packed = packed.data();
    p.sums = added.data();
    p.plane_of_channel = table.data();
    p.tile_flags = flags.data();
    p.window_sum = sums.data() + form.misplaced;
    p.ratio = ratios.data() + form.misplaced;
    p.updated = updated.data() + form.misplaced;
    std::vector<std::string> launches;
    cuda_shim::recordLaunches(&launches);
    cuda_shim::setOrder(cuda_shim::Order::shuffled, 5);
    const cudaError_t status = launchMaskUpdate(p, nullptr);
    cuda_shim::recordLaunches(nullptr);
    if (status != cudaSuccess) return "a launch failed";
    if (std::count(launches.begin(), launches.end(), kernel) != 1) return kernel + " was not launched";
    const Answers expected = counted(form, valid);
    for (int i = 0; i < results; ++i) {
        const auto at = static_cast<size_t>(i);
        if (p.window_sum[i] != expected.sums[at]) return "window sum " + std::to_string(i);
        if (p.ratio[i] != expected.ratios[at]) return "ratio " + std::to_string(i);
        if (static_cast<uint8_t*>(p.updated)[i] != expected.updated[at])
            return "updated " + std::to_string(i);
    }
    if (p.window_sum[results] != -1 || p.ratio[results] != -1 || updated[form.misplaced + results] != 77)
        return "written beyond the end";
    flags.pop_back();
    if (flags != expected.flags) return "the tiles' flags";
    return "";
}

void expectCounted(const Form& form, const std::string& kernel = "maskCount") {
    EXPECT_EQ(faultOf(form, kernel), "");
}

TEST(MaskWindow, OfOnePlane) {
    for (const int holes : {0, 50, 97, 100}) {
        Form form;
        form.holes = holes;
        expectCounted(form);
        form.batch = 3;  // one mask for all; pictures do not begin with a tile
        expectCounted(form);
        form.mask_batch = 3;
        expectCounted(form);
        form.hole_is_one = true;
        form.normalization = Normalization::mask_sum;
        expectCounted(form);
    }
    expectCounted({2, {1, 19, 260}});                                                 // several blocks
    expectCounted({9, {1, 8, 64}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 1});    // whole tiles
    expectCounted({2, {1, 17, 132}, {1, 5, 7}, {1, 2, 2}, {0, 2, 3}, {1, 1, 1}, 2});  // stride
    expectCounted({1, {1, 11, 140}, {1, 3, 5}, {1, 3, 3}, {0, 4, 7}, {1, 2, 4}, 1});  // dilation
    expectCounted({2, {5, 6, 12}, {3, 2, 4}, {2, 1, 1}, {1, 1, 2}, {1, 1, 1}, 1});    // depth
    expectCounted({1, {1, 1, 300}, {1, 1, 255}, {1, 1, 1}, {0, 0, 127}, {1, 1, 1}, 1, 1, 3});  // most taps
    expectCounted({2, {1, 9, 16}, {1, 3, 3}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 2});  // rows of 14 outputs
    expectCounted({1, {1, 3, 40}, {1, 1, 2}, {1, 1, 1}, {0, 0, 9000}, {1, 1, 9000}, 1});  // far apart
    // Several rows a thread, where there are many: rows left over, strides, and windows that lie beyond the
    // end.
    for (const int kernel : {1, 2, 3, 5, 6})
        for (const int stride : {1, 2})
            for (const int lines : {17, 2200})
                expectCounted({1,
                               {1, lines * stride, 16},
                               {1, kernel, kernel},
                               {1, stride, stride},
                               {0, kernel / 2, kernel - 1}});
    expectCounted({1, {1, 2200, 8}, {1, 3, 3}, {1, 1, 1}, {0, 9, 0}});  // a padding wider than the window
    expectCounted({1, {3, 800, 8}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}});
    expectCounted({1, {1, 2200, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 0});
    Form form{2, {1, 9, 16}};
    form.gap = 3;
    expectCounted(form);
    form.gap = 4;
    form.misplaced = 1;
    expectCounted(form);
    form.mask_batch = 0;
    form.channels = 5;
    expectCounted(form);
}

// Rows that are no whole words, from all places of a word on.
TEST(MaskWindow, OfRowsOfAnyLength) {
    for (const int width : {1, 2, 3, 5, 7, 13, 15, 127, 129, 250})
        for (const int kernel : {1, 3, 4, 7})
            expectCounted({3,
                           {1, 11, width},
                           {1, kernel, kernel},
                           {1, 1, 1},
                           {0, kernel / 2, kernel / 2},
                           {1, 1, 1},
                           3});
    for (const int lines : {7, 2200}) {
        expectCounted({2, {1, lines, 15}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}});  // one mask for two images
        expectCounted({1, {1, lines, 17}, {1, 3, 5}, {1, 2, 2}, {0, 1, 2}});
        expectCounted({1, {1, lines, 9}, {1, 3, 3}, {1, 1, 1}, {0, 2, 2}, {1, 2, 2}});
        expectCounted({2, {3, lines, 6}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, 2});
    }
    Form form{2, {1, 9, 15}};
    for (const int gap : {0, 1, 5}) {
        form.gap = gap;
        for (const int images : {0, 1, 2}) {
            form.mask_batch = images;
            form.channels = images == 0 ? 3 : 1;
            expectCounted(form);
        }
    }
}

TEST(MaskWindow, OfSeveralPlanes) {
    const std::vector<std::vector<std::pair<int, int>>> all = {
        {{1, 6}},
        {{3, 2}},
        {{6, 1}},
        {{1, 2}, {1, 4}},
        {{2, 1}, {1, 4}},
        {{1, 60}, {60, 1}},
        {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {2, 2}}};
    for (const auto& planes : all)
        for (const int groups : {1, 2})
            for (const int width : {12, 14, 15})
                for (const int images : {1, 2}) {
                    Form form{2, {1, 9, width}};
                    form.mask_batch = images;
                    form.planes = planes;
                    form.groups = groups;
                    form.hole_is_one = groups == 2;
                    expectCounted(form);
                    form.size[1] = 2200;  // more rows a thread
                    if (planes.size() == 2 && images == 1) expectCounted(form);
                }
    Form form{1, {4, 9, 13}, {3, 5, 7}, {1, 2, 2}, {1, 2, 3}};
    form.planes = {{2, 300}};  // 63,000 at most
    expectCounted(form);
    form.stride[1] = form.stride[2] = 1;
    form.dilation[2] = 2;
    form.normalization = Normalization::mask_sum;
    expectCounted(form);
    form.planes = {{2, 320}};  // 67,200
    expectCounted(form, "maskWindow");
}

TEST(MaskWindow, OfManyTaps) {
    expectCounted({1, {1, 20, 20}, {1, 16, 16}, {1, 1, 1}, {0, 8, 8}, {1, 1, 1}, 1}, "maskWindow");
    Form form{1, {1, 20, 19}, {1, 16, 16}, {1, 1, 1}, {0, 8, 8}};
    form.planes = {{1, 4}};  // one plane, which halves of words count
    expectCounted(form);
}

// Shapes of 2^30 positions: what is decided of them, without their memory.
TEST(MaskWindow, BeyondWhatIntsNumber) {
    const auto sumsOf = [](int width, int planes, int groups) {
        MaskSegment segment{};
        segment.planes = planes;
        segment.multiplicity = 4 / planes;
        MaskProblem p{};
        ConvShape& s = p.shape;
        s.batch = p.batch = 1;
        s.in_channels = s.out_channels = 4;
        s.groups = groups;
        s.input[0] = s.output[0] = 1;
        s.input[1] = s.output[1] = (1 << 30) / width;
        s.input[2] = s.output[2] = width;
        s.kernel[0] = s.kernel[1] = s.kernel[2] = 1;
        p.type = MaskType::binary;
        p.multi_channel = true;
        p.group_window = groups > 1;
        p.segment_count = 1;
        p.segments = &segment;
        return maskSums(p);
    };
    EXPECT_EQ(sumsOf(1 << 15, 2, 1), MaskSums::halves);
    EXPECT_EQ(sumsOf(1 << 15, 2, 2), MaskSums::ints);  // 2^31 sums
    EXPECT_EQ(sumsOf(1 << 15, 1, 2), MaskSums::none);
    EXPECT_EQ(sumsOf(1, 1, 1), MaskSums::none);
    EXPECT_EQ(sumsOf(1, 1, 2), MaskSums::ints);  // a row of one output each: 2^31 warps
}

}  // namespace
}  // namespace pconv::cuda
