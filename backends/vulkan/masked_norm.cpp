// Masked batch normalization and masked spatial mean: sums over the channels of images, then what is made of
// them.
#include <algorithm>

#include "vulkan/planes.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;
constexpr Range kOne{0, 1};

// As in shaders/masked_rows.glsl.
struct RowsPush {
    int32_t x_strides[5], y_strides[5];
    int32_t x_base, y_base;
    int32_t mask_base, mask_stride_n, row_words;
    int32_t depth, height, width;
    int32_t channels;
    int32_t n0, images;
    int32_t row0, rows;
    int32_t c0, channel_count;
    int32_t deviations;
    int32_t add;
};

// As in shaders/norm_statistics.comp.
struct StatisticsPush {
    int32_t batch, channels, parts;
    int32_t step;
    int32_t affine, running;
    int32_t unbiased;
    int32_t weight_base, bias_base, mean_base, var_base;
    float eps, momentum;
};

// As in shaders/spatial_mean.comp.
struct MeanPush {
    int32_t count, parts, mask_count;
    int32_t output_base, mask_base;
    float pixels;
    float eps;
};

VulkanBuffer& memoryOf(const TensorRef& tensor) {
    return static_cast<VulkanBuffer&>(*tensor.buffer);
}

int32_t narrow(int64_t value) {
    return static_cast<int32_t>(value);
}

void checkSupport(const VulkanDevice& device, const MaskedNormDesc& desc) {
    if (desc.data_type != DataType::f32 && !device.capabilities().storage_f16)
        fail(PCONV_ERROR_UNSUPPORTED, "the device has no 16-bit storage buffers, which f16 and bf16 need");
    const std::string bindings = tooFewBindings(device.capabilities());
    if (!bindings.empty()) fail(PCONV_ERROR_UNSUPPORTED, bindings);
    // Kernels count rows, channels and pixels with 32-bit integers.
    constexpr int64_t kMost = int64_t{1} << 28;
    if (volume(desc.size) > kMost || desc.batch > kMost / desc.channels)
        fail(PCONV_ERROR_UNSUPPORTED, "a size beyond what 32-bit indices reach");
}

// One call's sums over the rows of every channel of every image, and elementwise passes over them.
class MaskedRows {
  public:
    MaskedRows(VulkanDevice& device, const MaskedNormDesc& desc)
        : device_(device),
          desc_(desc),
          planes_(device, desc.form, desc.mask_type, true, desc.size),
          parts_(partsOfSum(volume(desc.size), desc.batch * desc.channels)),
          lanes_(device.info().type == DeviceType::software
                     ? std::min<uint32_t>(device.capabilities().subgroup_size, MOST_SHARED_LANES)
                     : kLanes) {
        const uint32_t kind = desc.form.segments.empty() ? MASK_NONE : maskKind(desc.mask_type);
        const auto pipeline = [&](const char* name, Specialization constants) {
            constants[SPEC_MASK_KIND] = kind;
            return &device.pipelines().get(std::string(name) + suffix(desc.data_type), constants);
        };
        const bool by_pixels = desc.layout == Layout::channels_last;
        sum_ = pipeline("masked_sums", {{SPEC_LANES, lanes_}, {SPEC_FOURS, FOURS_NONE}});
        if ((by_pixels ? desc.channels : desc.size[2]) % 4 == 0)
            sum_fours_ =
                pipeline("masked_sums",
                         {{SPEC_LANES, lanes_}, {SPEC_FOURS, by_pixels ? FOURS_OF_CHANNELS : FOURS_OF_ROWS}});
        apply_ = pipeline("norm_apply", {{SPEC_LANES, kLanes}});
        const auto floats = [&](int64_t count) {
            return device.createBuffer(static_cast<size_t>(count) * sizeof(float));
        };
        sums_ = floats(desc.batch * desc.channels * parts_ * 2);
        statistics_ = floats(desc.channels * 4);
    }

    void begin(const std::vector<TensorRef>& planes, const TensorRef& input) {
        Stream& stream = device_.stream();
        stream.beginOperation();
        stream.use(memoryOf(input));
        stream.use(*sums_);
        stream.use(*statistics_);
        planes_.use();
        planes_.pack(planes);
        stream.barrier();
    }

    void sum(const TensorRef& input, bool deviations) { run(input, nullptr, deviations); }
    void apply(const TensorRef& input, const TensorRef& output) { run(input, &output, false); }

    const VulkanBuffer& sums() const { return *sums_; }
    int32_t parts() const { return narrow(parts_); }
    const VulkanBuffer& statistics() const { return *statistics_; }

  private:
    // Whether all of a piece's vectors begin at multiples of their size.
    bool takesFours(const RowsPush& push) const {
        const size_t dense = desc_.layout == Layout::channels_last ? 1 : 4;
        bool whole = push.x_base % 4 == 0 && push.x_strides[dense] == 1;
        const int64_t sizes[] = {desc_.batch, desc_.channels, desc_.size[0], desc_.size[1], desc_.size[2]};
        for (size_t d = 0; d < 5; ++d)
            whole = whole && (d == dense || sizes[d] == 1 || push.x_strides[d] % 4 == 0);
        return sum_fours_ != nullptr && whole &&
               (dense == 4 || (push.c0 % 4 == 0 && push.channel_count % 4 == 0));
    }

    // Sums, or the normalization where there is an output.
    void run(const TensorRef& input, const TensorRef* output, bool deviations) {
        const size_t element = sizeOf(desc_.data_type);
        const PlanLimits limits = device_.limits();
        const bool masked = planes_.packed() != nullptr;
        const auto tensorSpan = [&](const Piece& p, const TensorRef& tensor) {
            const RowBox rows = rowBox(p[1], desc_.size[1]);
            return spanOf({p[0], p[2], rows.d, rows.h, Range{0, desc_.size[2]}}, tensor.strides, element);
        };
        const auto maskBytes = [&](const Piece& p) {
            const RowBox rows = rowBox(p[1], desc_.size[1]);
            return masked ? planes_.span(p[0], p[2], rows.d, rows.h) : Span{};
        };
        const auto elements = [&](const Piece& p) {
            return p[0].size() * p[1].size() * p[2].size() * desc_.size[2];
        };
        const auto grid = [&](const Piece& p) -> std::array<int64_t, 3> {
            if (output == nullptr) return {p[2].size(), p[0].size(), parts_};
            return {ceilDiv<int64_t>(elements(p), kLanes), 1, 1};
        };
        const auto fits = [&](const Piece& p) {
            Fit fit(limits);
            fit.bytes(tensorSpan(p, input));
            if (output != nullptr) fit.bytes(tensorSpan(p, *output));
            fit.bytes(maskBytes(p));
            for (size_t i = 0; i < 3; ++i) fit.grid(i, grid(p).at(i));
            fit.work(elements(p));
            return fit;
        };
        const auto emit = [&](const Piece& p) {
            RowsPush push{};
            for (size_t i = 0; i < 5; ++i) {
                push.x_strides[i] = narrow(input.strides[i]);
                if (output != nullptr) push.y_strides[i] = narrow(output->strides[i]);
            }
            push.mask_stride_n = narrow(planes_.imageStride());
            push.row_words = planes_.rowWords();
            push.depth = narrow(desc_.size[0]);
            push.height = narrow(desc_.size[1]);
            push.width = narrow(desc_.size[2]);
            push.channels = narrow(desc_.channels);
            push.n0 = narrow(p[0].begin);
            push.images = narrow(p[0].size());
            push.row0 = narrow(p[1].begin);
            push.rows = narrow(p[1].size());
            push.c0 = narrow(p[2].begin);
            push.channel_count = narrow(p[2].size());
            push.deviations = deviations ? 1 : 0;
            // The first piece of a channel of an image is the one with its first row.
            push.add = p[1].begin > 0 ? 1 : 0;
            if (output == nullptr && push.add != 0) device_.stream().barrier();
            const Binding from =
                device_.bind(memoryOf(input), input.offset, tensorSpan(p, input), element, push.x_base);
            const Binding mask =
                masked ? device_.bind(*planes_.packed(), 0, maskBytes(p), 4, push.mask_base) : from;
            const Binding to = output == nullptr ? device_.bindWhole(*sums_)
                                                 : device_.bind(memoryOf(*output), output->offset,
                                                                tensorSpan(p, *output), element, push.y_base);
            std::array<int64_t, 3> groups = grid(p);
            const bool fours = output == nullptr && takesFours(push);
            if (fours && desc_.layout == Layout::channels_last) groups[0] /= 4;
            device_.stream().dispatch(fours               ? *sum_fours_
                                      : output == nullptr ? *sum_
                                                          : *apply_,
                                      {from, mask, masked ? device_.bindWhole(*planes_.runs()) : from,
                                       device_.bindWhole(*statistics_), to},
                                      &push, sizeof push,
                                      {static_cast<uint32_t>(groups[0]), static_cast<uint32_t>(groups[1]),
                                       static_cast<uint32_t>(groups[2])},
                                      static_cast<uint64_t>(elements(p)));
        };
        splitPiece(
            {Range{0, desc_.batch}, {0, desc_.size[0] * desc_.size[1]}, {0, desc_.channels}, kOne, kOne},
            fits, emit);
        device_.stream().barrier();
    }

    VulkanDevice& device_;
    const MaskedNormDesc& desc_;
    VulkanPlanes planes_;
    int64_t parts_;  // into which the sums of a channel of an image are cut
    uint32_t lanes_;
    const Pipeline* sum_ = nullptr;
    const Pipeline* sum_fours_ = nullptr;  // where elements lie beside each other in whole vectors
    const Pipeline* apply_ = nullptr;
    std::shared_ptr<VulkanBuffer> sums_, statistics_;
};

class VulkanMaskedBatchNorm final : public MaskedBatchNorm {
  public:
    VulkanMaskedBatchNorm(VulkanDevice& device, const MaskedNormDesc& desc)
        : device_(device),
          desc_(desc),
          rows_(device, desc_),
          pipeline_(&device.pipelines().get("norm_statistics", {{SPEC_LANES, kLanes}})) {}

    void forward(const std::vector<TensorRef>& planes, const TensorRef& input,
                 const BatchNormParameters& parameters, const TensorRef& output) override {
        Stream& stream = device_.stream();
        rows_.begin(planes, input);
        for (const TensorRef* tensor : {&parameters.weight, &parameters.bias, &parameters.running_mean,
                                        &parameters.running_var, &output})
            if (tensor->buffer != nullptr) stream.use(memoryOf(*tensor));
        if (desc_.training) {
            rows_.sum(input, false);
            statistics(parameters, 0);
            rows_.sum(input, true);
            statistics(parameters, 1);
        } else {
            statistics(parameters, 2);
        }
        rows_.apply(input, output);
        stream.endOperation();
    }

  private:
    void statistics(const BatchNormParameters& parameters, int32_t step) {
        StatisticsPush push{};
        push.batch = narrow(desc_.batch);
        push.channels = narrow(desc_.channels);
        push.parts = rows_.parts();
        push.step = step;
        push.affine = parameters.weight.buffer != nullptr ? 1 : 0;
        push.running = parameters.running_mean.buffer != nullptr ? 1 : 0;
        // As torch.nn.BatchNorm without a mask.
        push.unbiased = desc_.form.segments.empty() ? 1 : 0;
        push.eps = desc_.eps;
        push.momentum = desc_.momentum;
        const Binding made = device_.bindWhole(rows_.statistics());
        const auto vector = [&](const TensorRef& tensor, int32_t& base) {
            if (tensor.buffer == nullptr) return made;
            return device_.bind(memoryOf(tensor), tensor.offset, 0, desc_.channels * 4, sizeof(float), base);
        };
        const Binding weight = vector(parameters.weight, push.weight_base);
        const Binding bias = vector(parameters.bias, push.bias_base);
        const Binding mean = vector(parameters.running_mean, push.mean_base);
        const Binding variance = vector(parameters.running_var, push.var_base);
        device_.stream().dispatch(
            *pipeline_, {device_.bindWhole(rows_.sums()), made, weight, bias, mean, variance}, &push,
            sizeof push, device_.limits().flatGrid(ceilDiv<int64_t>(desc_.channels, kLanes)),
            static_cast<uint64_t>(desc_.batch * desc_.channels * rows_.parts()));
        device_.stream().barrier();
    }

    VulkanDevice& device_;
    MaskedNormDesc desc_;
    MaskedRows rows_;
    const Pipeline* pipeline_;
};

class VulkanMaskedSpatialMean final : public MaskedSpatialMean {
  public:
    VulkanMaskedSpatialMean(VulkanDevice& device, const MaskedNormDesc& desc)
        : device_(device),
          desc_(desc),
          rows_(device, desc_),
          pipeline_(&device.pipelines().get(std::string("spatial_mean") + suffix(desc.data_type),
                                            {{SPEC_LANES, kLanes}})) {}

    void forward(const std::vector<TensorRef>& planes, const TensorRef& input, const TensorRef& output,
                 const TensorRef& output_mask) override {
        Stream& stream = device_.stream();
        rows_.begin(planes, input);
        stream.use(memoryOf(output));
        const bool gives_mask = output_mask.buffer != nullptr;
        if (gives_mask) stream.use(memoryOf(output_mask));
        rows_.sum(input, false);

        const int64_t count = desc_.batch * desc_.channels;
        const auto element = static_cast<int64_t>(sizeOf(desc_.data_type));
        MeanPush push{};
        push.count = narrow(count);
        push.parts = rows_.parts();
        push.mask_count = gives_mask ? narrow(desc_.form.batch * desc_.channels) : 0;
        push.pixels = static_cast<float>(volume(desc_.size));
        push.eps = planes.empty() ? 0 : desc_.eps;
        const Binding to = device_.bind(memoryOf(output), output.offset, 0, count * element,
                                        static_cast<size_t>(element), push.output_base);
        const Binding mask = gives_mask
                                 ? device_.bind(memoryOf(output_mask), output_mask.offset, 0,
                                                int64_t{push.mask_count} * 4, sizeof(float), push.mask_base)
                                 : device_.bindWhole(rows_.statistics());
        stream.dispatch(*pipeline_, {device_.bindWhole(rows_.sums()), to, mask}, &push, sizeof push,
                        device_.limits().flatGrid(ceilDiv<int64_t>(count, kLanes)),
                        static_cast<uint64_t>(count * rows_.parts()));
        stream.endOperation();
    }

  private:
    VulkanDevice& device_;
    MaskedNormDesc desc_;
    MaskedRows rows_;
    const Pipeline* pipeline_;
};

}  // namespace

std::unique_ptr<MaskedBatchNorm> VulkanDevice::makeMaskedBatchNorm(const MaskedNormDesc& desc) {
    checkSupport(*this, desc);
    return std::make_unique<VulkanMaskedBatchNorm>(*this, desc);
}

std::unique_ptr<MaskedSpatialMean> VulkanDevice::makeMaskedSpatialMean(const MaskedNormDesc& desc) {
    checkSupport(*this, desc);
    return std::make_unique<VulkanMaskedSpatialMean>(*this, desc);
}

}  // namespace pconv::vulkan
