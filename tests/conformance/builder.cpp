#include "conformance/builder.h"

#include <algorithm>

namespace pconv::test {

namespace {

int64_t upTo(std::mt19937& random, int64_t most) {
    return std::uniform_int_distribution<int64_t>(0, most)(random);
}

float drawValue(std::mt19937& random, MaskContent content) {
    if (content == MaskContent::binary) return static_cast<float>(upTo(random, 1));
    if (content == MaskContent::eighths) return static_cast<float>(upTo(random, 8)) / 8;
    return upTo(random, 3) == 0 ? static_cast<float>(upTo(random, 1))
                                : std::uniform_real_distribution<float>(0, 1)(random);
}

// Sets the box [low, high) of a plane.
void setBox(std::vector<float>& values, size_t first, const std::vector<int64_t>& size,
            const std::vector<int64_t>& low, const std::vector<int64_t>& high, float value) {
    for (int64_t i = 0; i < product(size); ++i) {
        int64_t rest = i;
        bool inside = true;
        for (size_t d = size.size(); d-- > 0;) {
            inside = inside && rest % size[d] >= low[d] && rest % size[d] < high[d];
            rest /= size[d];
        }
        if (inside) values[first + static_cast<size_t>(i)] = value;
    }
}

void drawPlane(std::vector<float>& values, size_t first, const std::vector<int64_t>& size,
               std::mt19937& random, MaskContent content) {
    const auto count = static_cast<size_t>(product(size));
    std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(first), count, 1.0F);
    for (int box = 0; box < 4; ++box) {
        std::vector<int64_t> low;
        std::vector<int64_t> high;
        for (const int64_t s : size) {
            low.push_back(upTo(random, s - 1));
            high.push_back(low.back() + 1 + upTo(random, s - 1 - low.back()));
        }
        setBox(values, first, size, low, high, box == 2 ? 1.0F : 0.0F);
    }
    for (size_t i = 0; i < count; ++i)
        if (upTo(random, 4) == 0) values[first + i] = drawValue(random, content);
}

void addMask(Problem& p, uint32_t seed, MaskContent content, int64_t mask_batch,
             const std::vector<std::pair<int64_t, int64_t>>& segments) {
    std::mt19937 random(seed);
    p.mask_type = content == MaskContent::binary ? PCONV_MASK_TYPE_BINARY : PCONV_MASK_TYPE_FRACTIONAL;
    p.mask_batch = mask_batch;
    p.segments.clear();
    const int64_t plane = product(p.size);
    for (const auto& [planes, multiplicity] : segments) {
        Segment segment{planes, multiplicity, {}};
        segment.values.resize(static_cast<size_t>(mask_batch * planes * plane));
        for (int64_t i = 0; i < mask_batch * planes; ++i)
            drawPlane(segment.values, static_cast<size_t>(i * plane), p.size, random, content);
        p.segments.push_back(std::move(segment));
    }
}

template <typename Draw>
void fill(Problem& p, const Draw& draw) {
    const auto assign = [&](std::vector<float>& values, int64_t count) {
        values.resize(static_cast<size_t>(count));
        std::generate(values.begin(), values.end(), draw);
    };
    assign(p.input, product(inputDims(p)));
    assign(p.weight, product(weightDims(p)));
    assign(p.bias, p.has_bias ? p.out_channels : 0);
}

}  // namespace

Problem makeProblem(int64_t batch, int64_t in_channels, int64_t out_channels, std::vector<int64_t> size,
                    int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, int64_t groups) {
    Problem p;
    p.batch = batch;
    p.in_channels = in_channels;
    p.out_channels = out_channels;
    p.groups = groups;
    p.size = std::move(size);
    p.kernel.assign(p.size.size(), kernel);
    p.stride.assign(p.size.size(), stride);
    p.padding.assign(p.size.size(), padding);
    p.dilation.assign(p.size.size(), dilation);
    return p;
}

void fillUniform(Problem& problem, uint32_t seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> values(-1, 1);
    fill(problem, [&] { return values(random); });
}

void fillIntegers(Problem& problem, uint32_t seed, int most) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> values(-most, most);
    fill(problem, [&] { return static_cast<float>(values(random)); });
}

void addPlane(Problem& problem, uint32_t seed, MaskContent content, int64_t mask_batch) {
    problem.multi_channel = false;
    addMask(problem, seed, content, mask_batch, {{1, 1}});
}

void addSegments(Problem& problem, uint32_t seed, MaskContent content, int64_t mask_batch,
                 const std::vector<std::pair<int64_t, int64_t>>& segments) {
    problem.multi_channel = true;
    addMask(problem, seed, content, mask_batch, segments);
}

void removeMask(Problem& problem) {
    problem.mask_type = PCONV_MASK_TYPE_NONE;
    problem.mask_batch = 1;
    problem.segments.clear();
}

void fillHoles(Problem& p, float value) {
    const int64_t plane = product(p.size);
    for (int64_t n = 0; n < p.batch; ++n)
        for (int64_t c = 0; c < p.in_channels; ++c)
            for (int64_t i = 0; i < plane; ++i)
                if (maskValue(p, n, c, i) == 0)
                    p.input[static_cast<size_t>((n * p.in_channels + c) * plane + i)] = value;
}

}  // namespace pconv::test
