#include "cpu/passes/masked_conv_mask.h"

#include <algorithm>
#include <cmath>

#include "cpu/element.h"
#include "cpu/parallel.h"
#include "cpu/passes/passes.h"

namespace pconv::cpu {

MaskedConvMaskUpdate::MaskedConvMaskUpdate(CpuDevice& device, const PartialConvDesc& desc,
                                           const MaskForm& form, const MaskPlanes& results)
    : CpuMaskUpdate(desc, form, results), device_(device) {
    if (form.segments.empty()) return;
    const int64_t group_in = desc.in_channels / desc.groups;
    terms_.resize(static_cast<size_t>(desc.groups));
    for (size_t g = 0; g < terms_.size(); ++g) {
        for (int64_t j = 0; j < group_in; ++j) {
            const PlaneIndex at = planeOfChannel(form, true, static_cast<int64_t>(g) * group_in + j);
            auto& terms = terms_[g];
            if (!terms.empty() && terms.back().segment == at.segment && terms.back().plane == at.plane)
                ++terms.back().channels;
            else
                terms.push_back({at.segment, at.plane, j, 1});
        }
        most_terms_ = std::max(most_terms_, terms_[g].size());
    }
    magnitudes_.resize(static_cast<size_t>(desc.out_channels) * most_terms_);
    totals_.resize(static_cast<size_t>(desc.out_channels));
    // The planes' values under a row of outputs, and that row's sums.
    const auto row = static_cast<size_t>(desc.window.output[2]);
    scratch_size_ = (row * (sizeof(double) + most_terms_ * sizeof(float)) + 63) / 64 * 64;
    scratch_ = device.allocate(scratch_size_ * static_cast<size_t>(device.threads()));
}

void MaskedConvMaskUpdate::setWeights(const TensorRef& weight) {
    const int64_t taps = volume(desc_.window.kernel);
    const int64_t group_in = desc_.in_channels / desc_.groups;
    const int64_t group_out = desc_.out_channels / desc_.groups;
    parallelFor(device_.threads(), desc_.out_channels, [&](int /*thread*/, int64_t c) {
        const auto& terms = terms_[static_cast<size_t>(c / group_out)];
        double& total = totals_[static_cast<size_t>(c)];
        total = static_cast<double>(desc_.eps);
        for (size_t t = 0; t < terms.size(); ++t) {
            const int64_t first = (c * group_in + terms[t].first) * taps;
            double sum = 0;
            for (int64_t i = first; i < first + terms[t].channels * taps; ++i)
                sum += std::fabs(load(weight, i));
            magnitudes_[static_cast<size_t>(c) * most_terms_ + t] = sum;
            total += sum;
        }
    });
}

// One row of outputs of all channels of a group.
void MaskedConvMaskUpdate::computeRow(int64_t n, int64_t group, int64_t d, int64_t h, char* scratch) const {
    const Window& w = desc_.window;
    const int64_t width = w.output[2];
    auto* sums = reinterpret_cast<double*>(scratch);
    auto* values = reinterpret_cast<float*>(sums + width);
    const auto centre = [&](size_t dim, int64_t o) {
        return o * w.stride[dim] - w.padding[dim] + w.kernel[dim] / 2 * w.dilation[dim];
    };
    const Dims3 row{centre(0, d), centre(1, h), 0};
    const bool inside = row[0] >= 0 && row[0] < w.input[0] && row[1] >= 0 && row[1] < w.input[1];
    const auto& terms = terms_[static_cast<size_t>(group)];
    for (size_t t = 0; inside && t < terms.size(); ++t) {
        const TensorRef& view = planes_[terms[t].segment];
        const int64_t first = elementIndex(view, form_.batch == 1 ? 0 : n, terms[t].plane, row);
        float* to = values + static_cast<int64_t>(t) * width;
        for (int64_t o = 0; o < width; ++o) {
            const int64_t at = centre(2, o);
            float m = 0;
            if (at >= 0 && at < w.input[2]) {
                m = view.data_type == DataType::f32           ? pointer<float>(view)[first + at]
                    : pointer<uint8_t>(view)[first + at] != 0 ? 1.0F
                                                              : 0.0F;
                if (form_.hole_is_one) m = 1 - m;
            }
            to[o] = m;
        }
    }
    const int64_t group_out = desc_.out_channels / desc_.groups;
    for (int64_t c = group * group_out; c < (group + 1) * group_out; ++c) {
        std::fill_n(sums, width, 0.0);
        for (size_t t = 0; inside && t < terms.size(); ++t)
            passes().addFractions(sums, values + static_cast<int64_t>(t) * width, 0,
                                  magnitudes_[static_cast<size_t>(c) * most_terms_ + t], width);
        const double total = totals_[static_cast<size_t>(c)];
        float* to =
            pointer<float>(results_.updated_mask) + elementIndex(results_.updated_mask, n, c, {d, h, 0});
        for (int64_t o = 0; o < width; ++o) to[o] = total > 0 ? static_cast<float>(sums[o] / total) : 0;
    }
}

void MaskedConvMaskUpdate::computeResults() {
    const Dims3& size = desc_.window.output;
    if (form_.segments.empty()) {
        std::fill_n(pointer<uint8_t>(results_.updated_mask), volume(size), uint8_t{1});
        return;
    }
    auto* scratch = static_cast<char*>(scratch_->hostPointer());
    parallelFor(device_.threads(), form_.batch * desc_.groups * size[0] * size[1],
                [&](int thread, int64_t i) {
                    const int64_t plane = i / size[1] / size[0];
                    computeRow(plane / desc_.groups, plane % desc_.groups, i / size[1] % size[0], i % size[1],
                               scratch + static_cast<size_t>(thread) * scratch_size_);
                });
}

}  // namespace pconv::cpu
