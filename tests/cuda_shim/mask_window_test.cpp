// The mask side, against windows counted one by one: sums, updated mask, ratio and the flags of the tiles of
// outputs; and that masks whose rows are whole words are counted by bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "cuda/kernels/elementwise.h"
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
};

struct Answers {
    std::vector<float> sums, ratios;
    std::vector<uint8_t> updated;
    std::vector<uint32_t> flags;
};

ConvShape shapeOf(const Form& form) {
    ConvShape s{};
    s.batch = form.batch;
    s.in_channels = form.channels;
    s.out_channels = s.groups = 1;
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
    Answers answers;
    answers.flags.resize(static_cast<size_t>((s.batch * volume_out + kTileOutputs - 1) / kTileOutputs));
    for (int n = 0; n < images; ++n)
        for (int o = 0; o < volume_out; ++o) {
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
                ++inside;
                count += form.mask_batch == 0 ? 1 : valid[static_cast<size_t>(n * volume(s.input) + from)];
            }
            const auto sum = static_cast<float>(count * form.channels);
            const auto result = elementwise::windowResult(
                sum, static_cast<float>(volume(s.kernel) * form.channels), 1e-8F, form.normalization);
            answers.sums.push_back(sum);
            answers.ratios.push_back(result.ratio);
            answers.updated.push_back(count > 0 ? 1 : 0);
            for (int image = n; image < (images == 1 ? s.batch : n + 1); ++image)
                answers.flags[static_cast<size_t>((image * volume_out + o) / kTileOutputs)] |=
                    (count > 0 ? kTileSomeValid : 0) | (count < inside ? kTileSomeHole : 0);
        }
    return answers;
}

// "" where the kernels answer the same; by_bytes: whether they counted by bytes.
std::string faultOf(const Form& form, bool& by_bytes) {
    const ConvShape s = shapeOf(form);
    std::mt19937 random(3);
    const int pitch = s.input[2] + form.gap;
    const int rows = form.mask_batch * s.input[0] * s.input[1];
    std::vector<uint8_t> valid;
    std::vector<uint32_t> memory(static_cast<size_t>(rows * pitch) / 4 + 4, 0x7F7F7F7FU);
    auto* mask = reinterpret_cast<uint8_t*>(memory.data());
    for (int row = 0; row < rows; ++row)
        for (int w = 0; w < s.input[2]; ++w) {
            valid.push_back(static_cast<int>(random() % 100) >= form.holes ? 1 : 0);
            mask[row * pitch + w] = (valid.back() != 0) != form.hole_is_one ? 1 + random() % 255 : 0;
        }
    MaskSegment segment{mask,
                        {int64_t{s.input[0]} * s.input[1] * pitch, int64_t{s.input[0]} * s.input[1] * pitch,
                         int64_t{s.input[1]} * pitch, pitch, 1},
                        1,
                        1};
    const int results = std::max(form.mask_batch, 1) * volume(s.output);
    const auto room = static_cast<size_t>(results + form.misplaced + 8);
    std::vector<float> sums(room, -1.0F);
    std::vector<float> ratios(room, -1.0F);
    std::vector<uint8_t> updated(room, 77);
    MaskProblem p{};
    p.shape = s;
    p.type = form.mask_batch == 0 ? MaskType::none : MaskType::binary;
    p.normalization = form.normalization;
    p.eps = 1e-8F;
    p.multi_channel = form.channels > 1;
    p.batch = std::max(form.mask_batch, 1);
    p.hole_is_one = form.hole_is_one;
    p.segment_count = form.mask_batch == 0 ? 0 : 1;
    p.segments = &segment;
    const MaskMemory needed = maskMemory(p);
    std::vector<float> packed(needed.packed / 4 + 4);
    std::vector<int> table(needed.plane_of_channel / 4 + 1);
    std::vector<uint32_t> flags(needed.tile_flags / 4 + 1, 99);
    p.packed = packed.data();
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
    by_bytes = std::count(launches.begin(), launches.end(), "maskWindowBytes") == 1;
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

void expectCounted(const Form& form, bool bytes) {
    bool by_bytes = false;
    EXPECT_EQ(faultOf(form, by_bytes), "");
    EXPECT_EQ(by_bytes, bytes);
}

TEST(MaskWindow, CountsByBytesWhereRowsAreWords) {
    for (const int holes : {0, 50, 97, 100}) {
        Form form;
        form.holes = holes;
        expectCounted(form, true);
        form.batch = 3;  // one mask for all; pictures do not begin with a tile
        expectCounted(form, true);
        form.mask_batch = 3;
        expectCounted(form, true);
        form.hole_is_one = true;
        form.normalization = Normalization::mask_sum;
        expectCounted(form, true);
    }
    expectCounted({2, {1, 19, 260}}, true);                                                 // several blocks
    expectCounted({9, {1, 8, 64}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 1}, true);    // whole tiles
    expectCounted({2, {1, 17, 132}, {1, 5, 7}, {1, 2, 2}, {0, 2, 3}, {1, 1, 1}, 2}, true);  // stride
    expectCounted({1, {1, 11, 140}, {1, 3, 5}, {1, 3, 3}, {0, 4, 7}, {1, 2, 4}, 1}, true);  // dilation
    expectCounted({2, {5, 6, 12}, {3, 2, 4}, {2, 1, 1}, {1, 1, 2}, {1, 1, 1}, 1}, true);    // depth
    expectCounted({1, {1, 1, 300}, {1, 1, 255}, {1, 1, 1}, {0, 0, 127}, {1, 1, 1}, 1, 1, 3},
                  true);  // most taps
    expectCounted({2, {1, 9, 16}, {1, 3, 3}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 2},
                  true);  // rows of 14 outputs
    expectCounted({1, {1, 3, 40}, {1, 1, 2}, {1, 1, 1}, {0, 0, 9000}, {1, 1, 9000}, 1}, true);  // far apart
    // Several rows a thread, where there are many: rows left over, strides, and windows that lie beyond the
    // end.
    for (const int kernel : {1, 2, 3, 5, 6})
        for (const int stride : {1, 2})
            for (const int lines : {17, 2200})
                expectCounted({1,
                               {1, lines * stride, 16},
                               {1, kernel, kernel},
                               {1, stride, stride},
                               {0, kernel / 2, kernel - 1}},
                              true);
    expectCounted({1, {1, 2200, 8}, {1, 3, 3}, {1, 1, 1}, {0, 9, 0}},
                  true);  // a padding wider than the window
    expectCounted({1, {3, 800, 8}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}}, true);
    expectCounted({1, {1, 2200, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 0}, true);
    Form form{2, {1, 9, 16}};
    form.gap = 3;
    expectCounted(form, true);
    form.gap = 4;
    form.misplaced = 1;
    expectCounted(form, true);
    form.mask_batch = 0;
    form.channels = 5;
    expectCounted(form, true);
}

TEST(MaskWindow, CountsOtherwiseWhereTheyAreNot) {
    expectCounted({2, {1, 9, 15}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, 2}, false);
    expectCounted({1, {1, 20, 20}, {1, 16, 16}, {1, 1, 1}, {0, 8, 8}, {1, 1, 1}, 1}, false);  // 256 taps
    Form none{2, {1, 9, 15}};
    none.mask_batch = 0;
    none.channels = 3;
    expectCounted(none, false);
}

}  // namespace
}  // namespace pconv::cuda
