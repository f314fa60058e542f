#include "cpu/passes/mask_window.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"
#include "cpu/passes/passes.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kBlock = 4096;  // sums done at once, to stay in the first cache
constexpr int64_t kWorkForThread =
    1 << 15;  // additions below which a further thread costs more than it gives
constexpr int64_t kCountsInByte = 255;

int64_t ceilDivide(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

int64_t reach(const Window& w, size_t d) {
    return (w.output[d] - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1;
}

}  // namespace

WindowMaskUpdate::WindowMaskUpdate(CpuDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                                   const MaskPlanes& results)
    : CpuMaskUpdate(desc, form, results), device_(device) {
    gatherTerms();
    const Window& w = desc.window;
    phase_length_ = ceilDivide(reach(w, 2), w.stride[2]);
    pitch_ = phase_length_ * w.stride[2];
    padded_rows_ = reach(w, 1);
    block_width_ = std::min(w.output[2], kBlock);
    // Small enough for the first cache, and enough of them for every thread.
    const auto rowsAtOnce = [&](const Dims3& size, int64_t pitch) {
        const int64_t all = form.batch * desc.maskGroups() * size[0] * size[1];
        return std::clamp<int64_t>(std::min(kBlock / pitch, ceilDivide(all, 2L * device.threads())), 1,
                                   size[1]);
    };
    block_rows_ = block_width_ < w.output[2] ? 1 : rowsAtOnce(w.output, pitch_);
    input_rows_ = rowsAtOnce(w.input, w.input[2]);
    const auto sums = static_cast<size_t>(form.batch * desc.maskGroups() * planeSize()) * elementSize();
    sums_ = device.allocate(sums);
    // The padding is written here and never again.
    std::memset(sums_->hostPointer(), 0, sums);
    const auto input = static_cast<size_t>(input_rows_ * w.input[2]) * (elementSize() + 1);
    const auto block = 2 * static_cast<size_t>(block_rows_ * pitch_) * elementSize();
    row_pointers_at_ = (std::max(input, block) + 63) / 64 * 64;
    const auto row_pointers =
        static_cast<size_t>(std::max(w.kernel[0] * w.kernel[1], w.kernel[2])) * sizeof(void*);
    scratch_size_ = row_pointers_at_ + (row_pointers + 63) / 64 * 64;
    scratch_ = device.allocate(scratch_size_ * static_cast<size_t>(device.threads()));
}

void WindowMaskUpdate::gatherTerms() {
    const int64_t counted = desc_.countedChannels();
    terms_.resize(static_cast<size_t>(desc_.maskGroups()));
    if (form_.segments.empty()) return;
    for (size_t g = 0; g < terms_.size(); ++g) {
        std::vector<Term>& terms = terms_[g];
        for (int64_t c = 0; c < counted; ++c) {
            const PlaneIndex at =
                planeOfChannel(form_, desc_.multi_channel, static_cast<int64_t>(g) * counted + c);
            if (!terms.empty() && terms.back().segment == at.segment && terms.back().first == at.plane)
                ++terms.back().weight;
            else
                terms.push_back({at.segment, at.plane, 1, 1});
        }
        size_t kept = 0;
        for (const Term& term : terms) {
            if (kept > 0 && terms[kept - 1].segment == term.segment && terms[kept - 1].weight == term.weight)
                ++terms[kept - 1].planes;
            else
                terms[kept++] = term;
        }
        terms.resize(kept);
    }
}

size_t WindowMaskUpdate::elementSize() const {
    return desc_.mask_type == MaskType::fractional ? sizeof(double) : sizeof(float);
}

// Input rows of one depth of one plane of sums.
template <typename Sum>
void WindowMaskUpdate::sumChannels(int64_t first_row, int64_t rows, char* scratch) const {
    const Window& w = desc_.window;
    const int64_t width = w.input[2];
    const int64_t h = first_row % w.input[1];
    const int64_t d = first_row / w.input[1] % w.input[0];
    const int64_t plane = first_row / w.input[1] / w.input[0];
    const int64_t n = plane / desc_.maskGroups();
    const auto& terms = terms_[static_cast<size_t>(plane % desc_.maskGroups())];
    Sum* sums = reinterpret_cast<Sum*>(scratch);
    auto* counts = reinterpret_cast<uint8_t*>(sums + input_rows_ * width);
    std::fill(sums, sums + rows * width,
              static_cast<Sum>(form_.segments.empty() ? desc_.countedChannels() : 0));
    for (const Term& term : terms) {
        const TensorRef& view = planes_[term.segment];
        const auto weight = static_cast<Sum>(form_.hole_is_one ? -term.weight : term.weight);
        // Rows that follow each other in memory are one.
        const int64_t at_once = view.strides[3] == width ? rows : 1;
        const int64_t size = at_once * width;
        for (int64_t r = 0; r < rows; r += at_once) {
            const int64_t at = n * view.strides[0] + term.first * view.strides[1] + d * view.strides[2] +
                               (h + r) * view.strides[3];
            if constexpr (sizeof(Sum) == sizeof(float)) {
                for (int64_t first = 0; first < term.planes; first += kCountsInByte) {
                    const int64_t count = std::min(kCountsInByte, term.planes - first);
                    passes().countRows(counts, pointer<uint8_t>(view) + at + first * view.strides[1],
                                       view.strides[1], count, size);
                    const auto base = static_cast<float>(form_.hole_is_one ? count * term.weight : 0);
                    passes().addCounts(sums + r * width, counts, base, weight, size);
                }
            } else {
                const auto base = static_cast<double>(form_.hole_is_one ? term.weight : 0);
                for (int64_t i = 0; i < term.planes; ++i)
                    passes().addFractions(sums + r * width, pointer<float>(view) + at + i * view.strides[1],
                                          base, weight, size);
            }
        }
    }
    Sum* padded = static_cast<Sum*>(sums_->hostPointer()) + plane * planeSize();
    for (int64_t r = 0; r < rows && h + r + w.padding[1] < padded_rows_; ++r)
        padRow(padded + (d * padded_rows_ + h + r + w.padding[1]) * pitch_, sums + r * width);
}

template <typename Sum>
void WindowMaskUpdate::padRow(Sum* to, const Sum* sums) const {
    const Window& w = desc_.window;
    const int64_t padding = w.padding[2];
    const int64_t stride = w.stride[2];
    // Elements under no window at all are left out.
    const int64_t size = std::min(w.input[2], reach(w, 2) - padding);
    if (size <= 0) return;
    if (stride == 1) {
        std::memcpy(to + padding, sums, static_cast<size_t>(size) * sizeof(Sum));
        return;
    }
    for (int64_t phase = 0; phase < stride; ++phase) {
        // The first element of the phase in the input, and its place among the phase's.
        const int64_t from = ((phase - padding) % stride + stride) % stride;
        Sum* place = to + phase * phase_length_ + (from + padding) / stride;
        const int64_t count = from < size ? ceilDivide(size - from, stride) : 0;
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().gather(place, sums + from, stride, count);
        else
            for (int64_t i = 0; i < count; ++i) place[i] = sums[from + i * stride];
    }
}

template <typename Sum>
void WindowMaskUpdate::sumWindows(const Block& block, char* scratch) const {
    const Window& w = desc_.window;
    const auto sum = [](Sum* to, const Sum* const* rows, int64_t count, int64_t size) {
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().sumRows(to, rows, count, size);
        else
            passes().sumRowsDouble(to, rows, count, size);
    };
    Sum* lines = reinterpret_cast<Sum*>(scratch);
    Sum* sums = lines + block_rows_ * pitch_;
    const auto** rows = reinterpret_cast<const Sum**>(scratch + row_pointers_at_);
    const Sum* plane = static_cast<const Sum*>(sums_->hostPointer()) + block.plane * planeSize();
    // Down: whole padded rows, all of the block's at once where they follow each other.
    const int64_t at_once = w.stride[1] == 1 ? block.rows : 1;
    for (int64_t r = 0; r < block.rows; r += at_once) {
        int64_t count = 0;
        for (int64_t kd = 0; kd < w.kernel[0]; ++kd) {
            const int64_t d = block.d * w.stride[0] - w.padding[0] + kd * w.dilation[0];
            if (d < 0 || d >= w.input[0]) continue;
            for (int64_t kh = 0; kh < w.kernel[1]; ++kh) {
                const int64_t h = (block.h + r) * w.stride[1] + kh * w.dilation[1];
                rows[count++] = plane + (d * padded_rows_ + h) * pitch_;
            }
        }
        if (count > 0)
            sum(lines + r * pitch_, rows, count, at_once * pitch_);
        else
            std::fill(lines + r * pitch_, lines + (r + at_once) * pitch_, Sum{0});
    }
    // Across: shifted, likewise; what runs over a row's end is garbage that nobody reads.
    for (int64_t kw = 0; kw < w.kernel[2]; ++kw) {
        const int64_t tap = kw * w.dilation[2];
        rows[kw] = lines + tap % w.stride[2] * phase_length_ + tap / w.stride[2] + block.w;
    }
    const bool whole = block.width == w.output[2];
    sum(sums, rows, w.kernel[2], whole ? (block.rows - 1) * pitch_ + block.width : block.width);
    const bool binary = results_.updated_mask.data_type == DataType::u8;
    MaskResultRow row{};
    row.window = static_cast<float>(volume(w.kernel) * desc_.countedChannels());
    row.eps = desc_.eps;
    row.normalization = desc_.normalization;
    for (int64_t r = 0; r < block.rows; ++r) {
        const int64_t at =
            ((block.plane * w.output[0] + block.d) * w.output[1] + block.h + r) * w.output[2] + block.w;
        row.window_sum = pointer<float>(results_.window_sum) + at;
        row.ratio = pointer<float>(results_.ratio) + at;
        row.updated_binary = binary ? pointer<uint8_t>(results_.updated_mask) + at : nullptr;
        row.updated_fractional = binary ? nullptr : pointer<float>(results_.updated_mask) + at;
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().finishRow(row, sums + r * pitch_, block.width);
        else
            passes().finishRowDouble(row, sums + r * pitch_, block.width);
    }
}

template <typename Sum>
void WindowMaskUpdate::computeWith() {
    const Window& w = desc_.window;
    auto* scratch = static_cast<char*>(scratch_->hostPointer());
    const auto scratchOf = [&](int thread) { return scratch + static_cast<size_t>(thread) * scratch_size_; };
    const auto threadsFor = [&](int64_t work) { return device_.threads().atMost(work / kWorkForThread); };
    const int64_t planes = form_.batch * desc_.maskGroups();
    int64_t term_planes = 1;
    for (const Term& term : terms_[0]) term_planes += term.planes;
    const int64_t parts = ceilDivide(w.input[1], input_rows_);
    parallelFor(threadsFor(planes * volume(w.input) * term_planes), planes * w.input[0] * parts,
                [&](int thread, int64_t i) {
                    const int64_t h = i % parts * input_rows_;
                    sumChannels<Sum>(i / parts * w.input[1] + h, std::min(input_rows_, w.input[1] - h),
                                     scratchOf(thread));
                });
    const int64_t down = ceilDivide(w.output[1], block_rows_);
    const int64_t across = ceilDivide(w.output[2], block_width_);
    const int64_t taps = w.kernel[0] * w.kernel[1] * w.stride[2] + w.kernel[2] + 4;
    parallelFor(threadsFor(planes * volume(w.output) * taps), planes * w.output[0] * down * across,
                [&](int thread, int64_t i) {
                    Block block{};
                    block.w = i % across * block_width_;
                    block.width = std::min(block_width_, w.output[2] - block.w);
                    block.h = i / across % down * block_rows_;
                    block.rows = std::min(block_rows_, w.output[1] - block.h);
                    block.d = i / across / down % w.output[0];
                    block.plane = i / across / down / w.output[0];
                    sumWindows<Sum>(block, scratchOf(thread));
                });
}

void WindowMaskUpdate::computeResults() {
    if (desc_.mask_type == MaskType::fractional)
        computeWith<double>();
    else
        computeWith<float>();
}

}  // namespace pconv::cpu
