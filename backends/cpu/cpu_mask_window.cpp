#include "cpu_mask_window.h"

#include <algorithm>
#include <cstring>

#include "cpu_parallel.h"
#include "cpu_passes.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kPiece = 2048;             // elements of a row done at once, to stay in the first cache
constexpr int64_t kWorkForThread = 1 << 14;  // elements below which a further thread costs more than it gives
constexpr int64_t kCountsInByte = 255;

int64_t pieces(int64_t size) {
    return (size + kPiece - 1) / kPiece;
}

int64_t rows(const Dims3& dims) {
    return dims[0] * dims[1];
}

}  // namespace

WindowMaskUpdate::WindowMaskUpdate(CpuDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                                   const MaskPlanes& results)
    : CpuMaskUpdate(desc, form, results), device_(device) {
    const int64_t counted = desc.countedChannels();
    terms_.resize(static_cast<size_t>(desc.maskGroups()));
    for (size_t g = 0; g < terms_.size() && !form.segments.empty(); ++g) {
        auto& terms = terms_[g];
        PlaneIndex last{form.segments.size(), 0};
        for (int64_t c = 0; c < counted; ++c) {
            const PlaneIndex at =
                planeOfChannel(form, desc.multi_channel, static_cast<int64_t>(g) * counted + c);
            if (at.segment == last.segment && at.plane == last.plane)
                ++terms.back().weight;
            else
                terms.push_back({at.segment, at.plane, 1, 1});
            last = at;
        }
        size_t kept = 0;
        for (const Term& term : terms) {
            Term* previous = kept > 0 ? &terms[kept - 1] : nullptr;
            if (previous != nullptr && previous->segment == term.segment && previous->weight == term.weight)
                ++previous->planes;
            else
                terms[kept++] = term;
        }
        terms.resize(kept);
    }
    const size_t element = desc.mask_type == MaskType::fractional ? sizeof(double) : sizeof(float);
    sums_ = device.allocate(static_cast<size_t>(form.batch * desc.maskGroups() * volume(desc.window.input)) *
                            element);
    const int64_t line = 2 * lineLength() + desc.window.stride[2] + kPiece;
    scratch_size_ = (static_cast<size_t>(line) * element + kPiece + 63) / 64 * 64;
    scratch_ = device.allocate(scratch_size_ * static_cast<size_t>(device.threads()));
}

// Of the padded input row under the longest piece of an output row.
int64_t WindowMaskUpdate::lineLength() const {
    const Window& w = desc_.window;
    return (std::min(w.output[2], kPiece) - 1) * w.stride[2] + (w.kernel[2] - 1) * w.dilation[2] + 1;
}

WindowMaskUpdate::Piece WindowMaskUpdate::pieceOf(int64_t index, const Dims3& dims) const {
    const int64_t in_row = pieces(dims[2]);
    Piece piece{};
    piece.begin = index % in_row * kPiece;
    piece.end = std::min(dims[2], piece.begin + kPiece);
    index /= in_row;
    piece.h = index % dims[1];
    index /= dims[1];
    piece.d = index % dims[0];
    index /= dims[0];
    piece.g = index % desc_.maskGroups();
    piece.n = index / desc_.maskGroups();
    return piece;
}

template <typename Sum>
void WindowMaskUpdate::sumChannels(const Piece& piece, char* scratch) const {
    const Dims3& in = desc_.window.input;
    const int64_t size = piece.end - piece.begin;
    Sum* sums = static_cast<Sum*>(sums_->hostPointer()) +
                (((piece.n * desc_.maskGroups() + piece.g) * in[0] + piece.d) * in[1] + piece.h) * in[2] +
                piece.begin;
    const auto& terms = terms_[static_cast<size_t>(piece.g)];
    std::fill(sums, sums + size, static_cast<Sum>(form_.segments.empty() ? desc_.countedChannels() : 0));
    for (const Term& term : terms) {
        const TensorRef& planes = planes_[term.segment];
        const int64_t at = piece.n * planes.strides[0] + term.first * planes.strides[1] +
                           piece.d * planes.strides[2] + piece.h * planes.strides[3] + piece.begin;
        const auto weight = static_cast<Sum>(form_.hole_is_one ? -term.weight : term.weight);
        if constexpr (sizeof(Sum) == sizeof(float)) {
            auto* counts = reinterpret_cast<uint8_t*>(scratch);
            for (int64_t first = 0; first < term.planes; first += kCountsInByte) {
                const int64_t count = std::min(kCountsInByte, term.planes - first);
                std::memset(counts, 0, static_cast<size_t>(size));
                for (int64_t i = first; i < first + count; ++i)
                    passes().countRow(counts, pointer<uint8_t>(planes) + at + i * planes.strides[1], size);
                const auto base = static_cast<float>(form_.hole_is_one ? count * term.weight : 0);
                passes().addCounts(sums, counts, base, weight, size);
            }
        } else {
            const auto base = static_cast<double>(form_.hole_is_one ? term.weight : 0);
            for (int64_t i = 0; i < term.planes; ++i)
                passes().addFractions(sums, pointer<float>(planes) + at + i * planes.strides[1], base, weight,
                                      size);
        }
    }
}

template <typename Sum>
void WindowMaskUpdate::sumWindows(const Piece& piece, char* scratch) const {
    const Window& w = desc_.window;
    const auto add = [](Sum* sums, const Sum* row, int64_t size) {
        if constexpr (sizeof(Sum) == sizeof(float))
            passes().addRow(sums, row, size);
        else
            passes().addRowDouble(sums, row, size);
    };
    const int64_t size = piece.end - piece.begin;
    const int64_t stride = w.stride[2];
    const int64_t length = (size - 1) * stride + (w.kernel[2] - 1) * w.dilation[2] + 1;
    const int64_t start = piece.begin * stride - w.padding[2];  // of the line, in the input row
    const int64_t first = std::max<int64_t>(start, 0);
    const int64_t inside = std::min(start + length, w.input[2]) - first;
    Sum* line = reinterpret_cast<Sum*>(scratch);
    std::fill(line, line + length, Sum{0});
    const Sum* plane = static_cast<const Sum*>(sums_->hostPointer()) +
                       (piece.n * desc_.maskGroups() + piece.g) * volume(w.input);
    for (int64_t kd = 0; kd < w.kernel[0] && inside > 0; ++kd) {
        const int64_t d = piece.d * w.stride[0] - w.padding[0] + kd * w.dilation[0];
        if (d < 0 || d >= w.input[0]) continue;
        for (int64_t kh = 0; kh < w.kernel[1]; ++kh) {
            const int64_t h = piece.h * w.stride[1] - w.padding[1] + kh * w.dilation[1];
            if (h < 0 || h >= w.input[1]) continue;
            add(line + (first - start), plane + (d * w.input[1] + h) * w.input[2] + first, inside);
        }
    }
    // The line's elements with equal remainder by the stride lie together, so that every tap is a row.
    const int64_t phase_length = (length + stride - 1) / stride;
    const Sum* phases = line;
    if (stride > 1) {
        Sum* split = line + length;
        for (int64_t phase = 0; phase < stride; ++phase)
            for (int64_t i = 0; phase + i * stride < length; ++i)
                split[phase * phase_length + i] = line[phase + i * stride];
        phases = split;
    }
    Sum* sums = line + length + (stride > 1 ? phase_length * stride : 0);
    std::fill(sums, sums + size, Sum{0});
    for (int64_t kw = 0; kw < w.kernel[2]; ++kw) {
        const int64_t tap = kw * w.dilation[2];
        add(sums, phases + tap % stride * phase_length + tap / stride, size);
    }
    const int64_t at =
        ((piece.n * desc_.maskGroups() + piece.g) * rows(w.output) + piece.d * w.output[1] + piece.h) *
            w.output[2] +
        piece.begin;
    const bool binary = results_.updated_mask.data_type == DataType::u8;
    MaskResultRow row{};
    row.window_sum = pointer<float>(results_.window_sum) + at;
    row.ratio = pointer<float>(results_.ratio) + at;
    row.updated_binary = binary ? pointer<uint8_t>(results_.updated_mask) + at : nullptr;
    row.updated_fractional = binary ? nullptr : pointer<float>(results_.updated_mask) + at;
    row.window = static_cast<float>(volume(w.kernel) * desc_.countedChannels());
    row.eps = desc_.eps;
    row.normalization = desc_.normalization;
    if constexpr (sizeof(Sum) == sizeof(float))
        passes().finishRow(row, sums, size);
    else
        passes().finishRowDouble(row, sums, size);
}

template <typename Sum>
void WindowMaskUpdate::computeWith() {
    const Window& w = desc_.window;
    auto* scratch = static_cast<char*>(scratch_->hostPointer());
    const auto scratchOf = [&](int thread) { return scratch + static_cast<size_t>(thread) * scratch_size_; };
    const auto threadsFor = [&](int64_t work) {
        return static_cast<int>(std::clamp<int64_t>(work / kWorkForThread, 1, device_.threads()));
    };
    const int64_t planes = form_.batch * desc_.maskGroups();
    int64_t term_planes = 1;
    for (const Term& term : terms_[0]) term_planes += term.planes;
    parallelFor(threadsFor(planes * volume(w.input) * term_planes),
                planes * rows(w.input) * pieces(w.input[2]),
                [&](int thread, int64_t i) { sumChannels<Sum>(pieceOf(i, w.input), scratchOf(thread)); });
    const int64_t taps = w.kernel[0] * w.kernel[1] * w.stride[2] + w.kernel[2];
    parallelFor(threadsFor(planes * volume(w.output) * taps), planes * rows(w.output) * pieces(w.output[2]),
                [&](int thread, int64_t i) { sumWindows<Sum>(pieceOf(i, w.output), scratchOf(thread)); });
}

void WindowMaskUpdate::computeResults() {
    if (desc_.mask_type == MaskType::fractional)
        computeWith<double>();
    else
        computeWith<float>();
}

}  // namespace pconv::cpu
