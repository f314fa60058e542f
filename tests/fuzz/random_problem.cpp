#include "fuzz/random_problem.h"

#include <algorithm>
#include <sstream>

#include "conformance/builder.h"

namespace pconv::test {

namespace {

// std::uniform_int_distribution differs between standard libraries; the engine does not.
class Dice {
  public:
    explicit Dice(uint32_t seed) : engine_(seed) {}
    int64_t between(int64_t low, int64_t high) {
        return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
    }
    bool oneIn(int64_t n) { return between(1, n) == 1; }
    template <typename T>
    T oneOf(std::initializer_list<T> values) {
        return values.begin()[between(0, static_cast<int64_t>(values.size()) - 1)];
    }
    uint32_t seed() { return static_cast<uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

void drawWindow(Problem& p, Dice& dice) {
    for (size_t d = 0; d < p.size.size(); ++d) {
        p.kernel[d] = dice.oneOf<int64_t>({1, 1, 2, 3, 3, 3, 4, 5, 7, dice.between(1, 9)});
        p.stride[d] = dice.oneOf<int64_t>({1, 1, 1, 2, 2, 3, dice.between(1, 5)});
        p.dilation[d] = dice.oneOf<int64_t>({1, 1, 1, 2, 3});
        p.padding[d] = dice.oneIn(3) ? dice.between(0, p.kernel[d] + 1) : p.dilation[d] * (p.kernel[d] / 2);
        const int64_t extent = p.dilation[d] * (p.kernel[d] - 1) + 1;
        const int64_t most = p.size.size() == 1 ? 200 : p.size.size() == 2 ? 40 : 14;
        const int64_t least = std::max<int64_t>(1, extent - 2 * p.padding[d]);
        p.size[d] = dice.between(least, std::max(least, most));
    }
}

// Another mode, and other padding behind than in front, of a window that has been drawn.
void drawPadding(Problem& p, Dice& dice) {
    if (dice.oneIn(3))
        p.padding_mode = dice.oneOf<PconvPaddingMode>(
            {PCONV_PADDING_MODE_REFLECT, PCONV_PADDING_MODE_REPLICATE, PCONV_PADDING_MODE_CIRCULAR});
    const bool uneven = dice.oneIn(3);
    for (size_t d = 0; d < p.size.size(); ++d) {
        int64_t most = p.padding[d] + p.kernel[d];
        if (p.padding_mode == PCONV_PADDING_MODE_REFLECT) most = p.size[d] - 1;
        if (p.padding_mode == PCONV_PADDING_MODE_CIRCULAR) most = p.size[d];
        p.padding[d] = std::min(p.padding[d], most);
        if (uneven) p.padding_end.push_back(dice.between(0, std::min(most, p.kernel[d] + 1)));
        const int64_t extent = p.dilation[d] * (p.kernel[d] - 1) + 1;
        p.size[d] = std::max(p.size[d], extent - p.padding[d] - p.paddingBehind(d));
    }
}

void drawChannels(Problem& p, Dice& dice) {
    p.batch = dice.oneOf<int64_t>({1, 1, 2, 3});
    p.groups = dice.oneOf<int64_t>({1, 1, 1, 2, 3, 4, 8});
    p.in_channels = p.groups * dice.between(1, dice.oneIn(4) ? 24 : 6);
    p.out_channels = p.groups * dice.between(1, dice.oneIn(4) ? 24 : 6);
    if (dice.oneIn(8)) p.in_channels = p.out_channels = p.groups;
}

// Splits the input channels into segments.
std::vector<std::pair<int64_t, int64_t>> drawSegments(int64_t channels, Dice& dice) {
    if (dice.oneIn(3)) return {{channels, 1}};
    if (dice.oneIn(3)) return {{1, channels}};
    std::vector<std::pair<int64_t, int64_t>> segments;
    while (channels > 0) {
        const int64_t planes = dice.between(1, std::min<int64_t>(channels, 3));
        const int64_t multiplicity = dice.between(1, channels / planes);
        segments.emplace_back(planes, multiplicity);
        channels -= planes * multiplicity;
    }
    return segments;
}

void drawMask(Problem& p, Dice& dice) {
    const bool multi_channel = dice.oneIn(2);
    p.group_window = dice.oneIn(2);
    if (dice.oneIn(10)) {
        removeMask(p);
        p.multi_channel = multi_channel;
        return;
    }
    const auto content = dice.oneOf<MaskContent>(
        {MaskContent::binary, MaskContent::binary, MaskContent::binary, MaskContent::fractions});
    const int64_t mask_batch = dice.oneIn(3) ? 1 : p.batch;
    if (multi_channel)
        addSegments(p, dice.seed(), content, mask_batch, drawSegments(p.in_channels, dice));
    else
        addPlane(p, dice.seed(), content, mask_batch);
    if (dice.oneIn(2)) p.polarity = PCONV_MASK_HOLE_IS_ONE;
    if (content == MaskContent::binary && dice.oneIn(4)) p.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
}

// The masked convolution, of the problem's shape with kernels made odd.
void makeMaskedConv(Problem& p, Dice& dice) {
    p.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    p.group_window = false;
    for (size_t d = 0; d < p.size.size(); ++d) {
        if (p.kernel[d] % 2 == 0) p.kernel[d] -= 1;
    }
    if (p.mask_type != PCONV_MASK_TYPE_NONE && !p.multi_channel)
        addSegments(p, dice.seed(), MaskContent::binary, p.mask_batch, {{1, p.in_channels}});
}

void drawSettings(Problem& p, Dice& dice) {
    p.has_bias = !dice.oneIn(3);
    p.eps = dice.oneOf<double>({1e-8, 1e-8, 1e-6, 0, 0.25});
    if (dice.oneIn(5)) p.normalization = PCONV_NORMALIZATION_MASK_SUM;
    p.activation = dice.oneOf<PconvActivation>({PCONV_ACTIVATION_NONE, PCONV_ACTIVATION_NONE,
                                                PCONV_ACTIVATION_NONE, PCONV_ACTIVATION_RELU,
                                                PCONV_ACTIVATION_LEAKY_RELU, PCONV_ACTIVATION_GELU});
    p.negative_slope = dice.oneOf<float>({0.01F, 0.2F, 0.0F, 2.0F});
}

}  // namespace

PconvDataType randomType(uint32_t number) {
    // Another stream than the case's: the type says nothing about the shape.
    return Dice(~number).oneOf<PconvDataType>(
        {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16});
}

RandomCase randomCase(uint32_t number, int64_t most_work, Passes passes) {
    RandomCase random;
    // Where a drawn shape is too much work, the next one of the same number is drawn.
    for (uint32_t attempt = 0;; ++attempt) {
        Dice dice(number * 2654435761U + attempt);
        const int dims = static_cast<int>(dice.oneOf<int64_t>({1, 2, 2, 2, 3}));
        random.problem = Problem::ofDims(dims);
        Problem& p = random.problem;
        drawChannels(p, dice);
        drawWindow(p, dice);
        Dice padding(~(number * 2654435761U + attempt));
        drawPadding(p, padding);
        if (work(p) > most_work) continue;
        drawSettings(p, dice);
        if (passes == Passes::backward) p.activation = PCONV_ACTIVATION_NONE;
        drawMask(p, dice);
        if (dice.oneIn(10)) makeMaskedConv(p, dice);
        fillUniform(p, dice.seed());
        if (p.activation == PCONV_ACTIVATION_NONE && (dice.oneIn(4) || passes == Passes::backward)) {
            p.grad_output.resize(static_cast<size_t>(product(outputDims(p))));
            for (float& dy : p.grad_output) dy = static_cast<float>(dice.between(-1000, 1000)) / 1024;
        }
        if (dice.oneIn(10) && p.mask_type != PCONV_MASK_TYPE_NONE && !p.isMaskedConv()) {
            fillHoles(p, 0);
            p.input_is_masked = true;
        }
        random.placement.input_layout =
            dice.oneOf<PconvLayout>({PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST});
        random.placement.output_layout =
            dice.oneOf<PconvLayout>({PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST});
        random.placement.spread = dice.oneIn(2) ? dice.seed() : 0;
        return random;
    }
}

std::string describeCase(const RandomCase& random) {
    const Problem& p = random.problem;
    std::ostringstream text;
    const auto list = [&](const char* name, const std::vector<int64_t>& values) {
        text << ' ' << name << ' ';
        for (size_t d = 0; d < values.size(); ++d) text << (d > 0 ? "x" : "") << values[d];
    };
    const auto layout = [](PconvLayout value) {
        return value == PCONV_LAYOUT_CONTIGUOUS ? "contiguous" : "channels-last";
    };
    text << p.batch << 'x' << p.in_channels << " to " << p.out_channels << " channels, groups " << p.groups
         << ',';
    list("size", p.size);
    list("kernel", p.kernel);
    list("stride", p.stride);
    list("padding", p.padding);
    if (!p.padding_end.empty()) list("to", p.padding_end);
    static const char* const modes[] = {"", " reflect", " replicate", " circular"};
    text << modes[p.padding_mode];
    list("dilation", p.dilation);
    text << ", "
         << (p.mask_type == PCONV_MASK_TYPE_NONE     ? "no mask"
             : p.mask_type == PCONV_MASK_TYPE_BINARY ? "binary mask"
                                                     : "fractional mask");
    text << (p.multi_channel ? " multi-channel" : " single-channel")
         << (p.group_window ? " group window" : "");
    text << " batch " << p.mask_batch << " segments";
    for (const Segment& segment : p.segments) text << ' ' << segment.planes << '*' << segment.multiplicity;
    text << (p.polarity == PCONV_MASK_HOLE_IS_ONE ? ", 1 in holes" : "")
         << (p.normalization == PCONV_NORMALIZATION_MASK_SUM ? ", mask sum" : "") << ", eps " << p.eps
         << (p.isMaskedConv() ? ", masked convolution" : "") << (p.grad_output.empty() ? "" : ", backward")
         << (p.has_bias ? ", bias" : ", no bias") << ", activation " << p.activation << " slope "
         << p.negative_slope << (p.input_is_masked ? ", input masked" : "") << ", "
         << layout(random.placement.input_layout) << " to " << layout(random.placement.output_layout)
         << (random.placement.spread != 0 ? ", spread" : "");
    return text.str();
}

}  // namespace pconv::test
