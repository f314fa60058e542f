#include "cpu/passes/mask_window.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"
#include "cpu/passes/passes.h"
#include "cpu/window.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kBlock = 4096;  // sums done at once, to stay in the first cache
constexpr int64_t kWorkForThread =
    1 << 15;  // additions below which a further thread costs more than it gives
constexpr int64_t kCountsInByte = 255;
constexpr int64_t kMostColumns = 1 << 16;   // of a row, summed over channels at once
constexpr int64_t kMostSumBytes = 1 << 24;  // sums over channels of more are held in parts

int64_t reach(const Window& w, size_t d) {
    return (w.output[d] - 1) * w.stride[d] + extent(w, d);
}

}  // namespace

WindowMaskUpdate::WindowMaskUpdate(CpuDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                                   const MaskPlanes& results)
    : CpuMaskUpdate(desc, form, results), device_(device) {
    gatherTerms();
    makeParts();
    int64_t sums = 0, scratch = 0;
    for (const Part& part : parts_) {
        sums = std::max(sums, part.planes * part.planeSize());
        scratch = std::max({scratch, part.input_rows * part.input_width * 2,  // and the counts, of a byte
                            2 * part.block_rows * part.line_length * part.window.stride[2]});
    }
    sums_size_ = alignedSize(static_cast<size_t>(sums) * elementSize());
    const Window& w = desc.window;
    row_pointers_at_ = (static_cast<size_t>(scratch) * elementSize() + 63) / 64 * 64;
    const auto row_pointers =
        static_cast<size_t>(std::max(w.kernel[0] * w.kernel[1], w.kernel[2])) * sizeof(void*);
    scratch_size_ = row_pointers_at_ + (row_pointers + 63) / 64 * 64;
    scratch_ = Scratch(device, sums_size_ + scratch_size_ * static_cast<size_t>(device.threads()));
}

// The outputs [begin, begin + size) of some planes.
WindowMaskUpdate::Part WindowMaskUpdate::partOf(int64_t first_plane, int64_t planes, const Dims3& begin,
                                                const Dims3& size) const {
    Part part{};
    part.first_plane = first_plane;
    part.planes = planes;
    part.window = desc_.window;
    part.output_begin = begin;
    Window& w = part.window;
    for (size_t d = 0; d < 3; ++d) {
        if (size[d] == desc_.window.output[d]) continue;
        w.output[d] = size[d];
        const int64_t from = begin[d] * w.stride[d] - w.padding[d];
        const int64_t to = from + reach(w, d);
        part.input_begin[d] = std::clamp<int64_t>(from, 0, desc_.window.input[d]);
        w.input[d] = std::clamp<int64_t>(to, 0, desc_.window.input[d]) - part.input_begin[d];
        w.padding[d] = std::max<int64_t>(0, -from);
    }
    part.phase_length = ceilDivide(reach(w, 2), w.stride[2]);
    part.pitch = part.phase_length * w.stride[2];
    part.padded_rows = reach(w, 1);
    part.block_width = std::min(w.output[2], kBlock);
    // Small enough for the first cache, and enough of them for every thread.
    const auto rowsAtOnce = [&](const Dims3& dims, int64_t pitch) {
        const int64_t all = planes * dims[0] * dims[1];
        return std::clamp<int64_t>(
            std::min(kBlock / std::max<int64_t>(pitch, 1), ceilDivide(all, 2L * device_.threads())), 1,
            std::max<int64_t>(dims[1], 1));
    };
    const bool whole = part.block_width == w.output[2];
    part.block_rows = whole ? rowsAtOnce(w.output, part.pitch) : 1;
    part.line_length =
        whole ? part.phase_length : part.block_width + ((w.kernel[2] - 1) * w.dilation[2]) / w.stride[2] + 1;
    part.input_rows = rowsAtOnce(w.input, w.input[2]);
    part.input_width = part.input_rows > 1 ? w.input[2] : std::min(w.input[2], kMostColumns);
    return part;
}

// One part, or as many as keep the sums within bounds: boxes as long in the inner dimensions as can be.
void WindowMaskUpdate::makeParts() {
    const int64_t planes = form_.batch * desc_.maskGroups();
    const Dims3& all = desc_.window.output;
    const auto bytes = [&](int64_t some, const Dims3& size) {
        return some * partOf(0, some, {0, 0, 0}, size).planeSize() * static_cast<int64_t>(elementSize());
    };
    Dims3 size = all;
    for (size_t d = 0; d < 3;) {
        if (bytes(1, size) <= kMostSumBytes) break;
        if (size[d] > 1)
            size[d] = ceilDivide(size[d], 2);
        else
            ++d;
    }
    const int64_t planes_at_once =
        std::clamp<int64_t>(kMostSumBytes / std::max<int64_t>(bytes(1, size), 1), 1, planes);
    for (int64_t plane = 0; plane < planes; plane += planes_at_once)
        for (int64_t d = 0; d < all[0]; d += size[0])
            for (int64_t h = 0; h < all[1]; h += size[1])
                for (int64_t w = 0; w < all[2]; w += size[2])
                    parts_.push_back(partOf(plane, std::min(planes_at_once, planes - plane), {d, h, w},
                                            {std::min(size[0], all[0] - d), std::min(size[1], all[1] - h),
                                             std::min(size[2], all[2] - w)}));
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

namespace {

// Elements from `column` on of a row of the window's input.
template <typename Sum>
void padRow(const Window& w, int64_t phase_length, int64_t column, int64_t size, const Sum* sums, Sum* to) {
    const int64_t first = column + w.padding[2];
    const int64_t stride = w.stride[2];
    // Elements under no window at all are left out.
    size = std::min(size, reach(w, 2) - first);
    if (size <= 0) return;
    if (stride == 1) {
        std::memcpy(to + first, sums, static_cast<size_t>(size) * sizeof(Sum));
        return;
    }
    for (int64_t phase = 0; phase < stride; ++phase) {
        // The first element of the phase among these, and its place among the phase's.
        const int64_t from = ((phase - first) % stride + stride) % stride;
        Sum* place = to + phase * phase_length + (from + first) / stride;
        const int64_t count = from < size ? ceilDivide(size - from, stride) : 0;
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().gather(place, sums + from, stride, count);
        else
            for (int64_t i = 0; i < count; ++i) place[i] = sums[from + i * stride];
    }
}

}  // namespace

// Input rows of one depth of one plane of sums, from a column on.
template <typename Sum>
void WindowMaskUpdate::sumChannels(const Part& part, int64_t first_row, int64_t rows, int64_t column,
                                   char* scratch) const {
    const Window& w = part.window;
    const int64_t width = std::min(part.input_width, w.input[2] - column);
    const int64_t h = first_row % w.input[1];
    const int64_t d = first_row / w.input[1] % w.input[0];
    const int64_t part_plane = first_row / w.input[1] / w.input[0];
    const int64_t plane = part.first_plane + part_plane;
    const int64_t n = plane / desc_.maskGroups();
    const auto& terms = terms_[static_cast<size_t>(plane % desc_.maskGroups())];
    Sum* sums = reinterpret_cast<Sum*>(scratch);
    auto* counts = reinterpret_cast<uint8_t*>(sums + rows * width);
    std::fill(sums, sums + rows * width,
              static_cast<Sum>(form_.segments.empty() ? desc_.countedChannels() : 0));
    for (const Term& term : terms) {
        const TensorRef& view = planes_[term.segment];
        const auto weight = static_cast<Sum>(form_.hole_is_one ? -term.weight : term.weight);
        // Rows that follow each other in memory are one.
        const int64_t at_once = view.strides[3] == width ? rows : 1;
        const int64_t size = at_once * width;
        for (int64_t r = 0; r < rows; r += at_once) {
            const int64_t at = n * view.strides[0] + term.first * view.strides[1] +
                               (part.input_begin[0] + d) * view.strides[2] +
                               (part.input_begin[1] + h + r) * view.strides[3] + part.input_begin[2] + column;
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
    Sum* padded = static_cast<Sum*>(sums_) + part_plane * part.planeSize();
    for (int64_t r = 0; r < rows && h + r + w.padding[1] < part.padded_rows; ++r)
        padRow(w, part.phase_length, column, width, sums + r * width,
               padded + (d * part.padded_rows + h + r + w.padding[1]) * part.pitch);
}

template <typename Sum>
void WindowMaskUpdate::sumWindows(const Part& part, const Block& block, char* scratch) const {
    const Window& w = part.window;
    const Window& all = desc_.window;
    const auto sum = [](Sum* to, const Sum* const* rows, int64_t count, int64_t size) {
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().sumRows(to, rows, count, size);
        else
            passes().sumRowsDouble(to, rows, count, size);
    };
    const bool whole = block.width == w.output[2];
    const int64_t line_pitch = part.line_length * w.stride[2];
    Sum* lines = reinterpret_cast<Sum*>(scratch);
    Sum* sums = lines + part.block_rows * line_pitch;
    const auto** rows = reinterpret_cast<const Sum**>(scratch + row_pointers_at_);
    const Sum* plane = static_cast<const Sum*>(sums_) + block.plane * part.planeSize();
    // Down: whole padded rows, all of the block's at once where they follow each other; of a part of a row
    // what is under it, phase by phase.
    const int64_t at_once = w.stride[1] == 1 ? block.rows : 1;
    const int64_t pieces = whole ? 1 : w.stride[2];
    const int64_t length =
        whole ? at_once * part.pitch : std::min(part.line_length, part.phase_length - block.w);
    for (int64_t r = 0; r < block.rows; r += at_once)
        for (int64_t piece = 0; piece < pieces; ++piece) {
            int64_t count = 0;
            for (int64_t kd = 0; kd < w.kernel[0]; ++kd) {
                const int64_t d = block.d * w.stride[0] - w.padding[0] + kd * w.dilation[0];
                if (d < 0 || d >= w.input[0]) continue;
                for (int64_t kh = 0; kh < w.kernel[1]; ++kh) {
                    const int64_t h = (block.h + r) * w.stride[1] + kh * w.dilation[1];
                    rows[count++] =
                        plane + (d * part.padded_rows + h) * part.pitch + piece * part.phase_length + block.w;
                }
            }
            Sum* to = lines + r * line_pitch + piece * part.line_length;
            if (count > 0)
                sum(to, rows, count, length);
            else
                std::fill(to, to + length, Sum{0});
        }
    // Across: shifted, likewise; what runs over a row's end is garbage that nobody reads.
    for (int64_t kw = 0; kw < w.kernel[2]; ++kw) {
        const int64_t tap = kw * w.dilation[2];
        rows[kw] = lines + tap % w.stride[2] * part.line_length + tap / w.stride[2];
    }
    sum(sums, rows, w.kernel[2], whole ? (block.rows - 1) * line_pitch + block.width : block.width);
    const bool binary = results_.updated_mask.data_type == DataType::u8;
    MaskResultRow row{};
    row.window = static_cast<float>(volume(w.kernel) * desc_.countedChannels());
    row.eps = desc_.eps;
    row.normalization = desc_.normalization;
    for (int64_t r = 0; r < block.rows; ++r) {
        const int64_t at =
            (((part.first_plane + block.plane) * all.output[0] + part.output_begin[0] + block.d) *
                 all.output[1] +
             part.output_begin[1] + block.h + r) *
                all.output[2] +
            part.output_begin[2] + block.w;
        const bool has_sums = results_.window_sum.buffer != nullptr;
        row.window_sum = has_sums ? pointer<float>(results_.window_sum) + at : nullptr;
        row.ratio = pointer<float>(results_.ratio) + at;
        row.updated_binary = binary ? pointer<uint8_t>(results_.updated_mask) + at : nullptr;
        row.updated_fractional = binary ? nullptr : pointer<float>(results_.updated_mask) + at;
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().finishRow(row, sums + r * line_pitch, block.width);
        else
            passes().finishRowDouble(row, sums + r * line_pitch, block.width);
    }
}

template <typename Sum>
void WindowMaskUpdate::computePart(const Part& part) {
    const Window& w = part.window;
    char* scratch = scratch_.begin() + sums_size_;
    const auto scratchOf = [&](int thread) { return scratch + static_cast<size_t>(thread) * scratch_size_; };
    const auto threadsFor = [&](int64_t work) { return device_.threads().atMost(work / kWorkForThread); };
    // Of which the padding is to stay.
    auto* sums = static_cast<Sum*>(sums_);
    parallelFor(threadsFor(part.planes * part.planeSize()), part.planes * w.input[0],
                [&](int /*thread*/, int64_t i) {
                    const int64_t size = part.padded_rows * part.pitch;
                    std::fill_n(sums + i * size, size, Sum{0});
                });
    int64_t term_planes = 1;
    for (const Term& term : terms_[0]) term_planes += term.planes;
    const int64_t columns = w.input[2] > 0 ? ceilDivide(w.input[2], part.input_width) : 0;
    const int64_t bands = ceilDivide(w.input[1], part.input_rows);
    parallelFor(threadsFor(part.planes * volume(w.input) * term_planes),
                part.planes * w.input[0] * bands * columns, [&](int thread, int64_t i) {
                    const int64_t h = i / columns % bands * part.input_rows;
                    sumChannels<Sum>(part, i / columns / bands * w.input[1] + h,
                                     std::min(part.input_rows, w.input[1] - h),
                                     i % columns * part.input_width, scratchOf(thread));
                });
    const int64_t down = ceilDivide(w.output[1], part.block_rows);
    const int64_t across = ceilDivide(w.output[2], part.block_width);
    const int64_t taps = w.kernel[0] * w.kernel[1] * w.stride[2] + w.kernel[2] + 4;
    parallelFor(threadsFor(part.planes * volume(w.output) * taps), part.planes * w.output[0] * down * across,
                [&](int thread, int64_t i) {
                    Block block{};
                    block.w = i % across * part.block_width;
                    block.width = std::min(part.block_width, w.output[2] - block.w);
                    block.h = i / across % down * part.block_rows;
                    block.rows = std::min(part.block_rows, w.output[1] - block.h);
                    block.d = i / across / down % w.output[0];
                    block.plane = i / across / down / w.output[0];
                    sumWindows<Sum>(part, block, scratchOf(thread));
                });
}

void WindowMaskUpdate::computeResults() {
    sums_ = scratch_.begin();
    for (const Part& part : parts_) {
        if (desc_.mask_type == MaskType::fractional)
            computePart<double>(part);
        else
            computePart<float>(part);
    }
}

}  // namespace pconv::cpu
