// cuda:igemm: the convolution and its input's gradient on tensor cores.
#include "divisor.cuh"
#include "igemm_product.cuh"
#include "igemm_support.cuh"
#include "weight_gradient.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kMaxGrid = 65535;

// [groups][columns][taps][depth], of which channels beyond the group's are 0. f32 is rounded to TF32 here,
// once.
template <typename T>
__global__ void packIgemmWeights(const T* weight, T* packed, int groups, int out, int in, int taps,
                                 int padded, bool backward) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int columns = backward ? in : out;
    if (i >= static_cast<int64_t>(groups) * columns * taps * padded) return;
    const int depth = static_cast<int>(i % padded);
    const int tap = static_cast<int>(i / padded % taps);
    const int column = static_cast<int>(i / padded / taps % columns);
    const int group = static_cast<int>(i / padded / taps / columns);
    const int o = backward ? depth : column;
    const int c = backward ? column : depth;
    T value{};
    if (o < out && c < in) value = weight[((static_cast<int64_t>(group) * out + o) * in + c) * taps + tap];
    if constexpr (sizeof(T) == 4) value = floatFromBits(roundToTf32(floatBits(value)));
    packed[i] = value;
}

// Of a multiprocessor of sm_86, and what the system takes of it for each block.
constexpr size_t kMultiprocessorBytes = 100 * 1024;
constexpr size_t kSystemBytes = 1024;
// With two planes of masks, as a U-Net's decoder has them, and up to 32 taps.
constexpr size_t kUsualTapBytes = 2 * kBlockRows * sizeof(uint32_t);
static_assert(2 * (sizeof(IgemmStorage<4>::Stage) * igemmStages(4) + kUsualTapBytes + kSystemBytes) <=
                      kMultiprocessorBytes &&
                  2 * (sizeof(IgemmStorage<2>::Stage) * igemmStages(2) + kUsualTapBytes + kSystemBytes) <=
                      kMultiprocessorBytes,
              "two blocks share a multiprocessor");

// What a block may have of sm_86, and how many words of taps a row of it may then have.
constexpr size_t kBlockBytes = 99 * 1024;
constexpr size_t kMaxTapWords =
    (kBlockBytes - sizeof(IgemmStorage<4>::Stage) * igemmStages(4)) / (kBlockRows * sizeof(uint32_t));
static_assert(sizeof(IgemmStorage<2>::Stage) * igemmStages(2) <=
                      sizeof(IgemmStorage<4>::Stage) * igemmStages(4) &&
                  kMaxTapWords >= kMaxTaps / kTapsInWord,
              "one plane always fits");

size_t tapWords(const ConvShape& s) {
    return static_cast<size_t>(ceilDivide(volumeOf(s.kernel), kTapsInWord));
}

constexpr int kFinished = 4;  // channels of a thread

struct FinishParameters {
    IgemmOutput output;
    int slices, rows, channels;
    Divisor quads, all_rows, positions, height, width;
};

// The sums of all slices in their order, and the epilogue: one thread for four channels of an output.
template <typename T>
__global__ void finishSlices(FinishParameters p) {
    int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= p.quads.value * p.rows) return;
    // Neighbouring threads write neighbours in memory.
    const IgemmOutput& out = p.output;
    int row = i;
    int quad = out.rows_fast ? p.all_rows.divide(row) : 0;
    if (!out.rows_fast) {
        quad = row;
        row = p.quads.divide(quad);
    }
    const int channel = quad * kFinished;
    const int count = p.channels - channel < kFinished ? p.channels - channel : kFinished;
    const bool whole = p.channels % kFinished == 0;
    float sums[kFinished] = {};
#pragma unroll 4
    for (int slice = 0; slice < p.slices; ++slice) {
        const float* from =
            out.partials + (static_cast<int64_t>(slice) * p.rows + row) * p.channels + channel;
        Several<float, kFinished> values{};
        if (whole)
            values = *reinterpret_cast<const Several<float, kFinished>*>(from);
        else
            for (int k = 0; k < kFinished; ++k)
                if (k < count) values.values[k] = from[k];
#pragma unroll
        for (int k = 0; k < kFinished; ++k) sums[k] += values.values[k];
    }
    int position = row;
    const int n = p.positions.divide(position);
    int w = position;
    int h = p.width.divide(w);
    const int d = p.height.divide(h);
    T* to =
        static_cast<T*>(out.view.data) + positionOffset(out.view, n, d, h, w) + channel * out.view.strides[1];
#pragma unroll 1
    for (int k = 0; k < count; ++k) {
        const int64_t at = out.results.index(n, channel + k, position);
        const float bias = out.bias == nullptr ? 0 : toFloat(static_cast<const T*>(out.bias)[channel + k]);
        const float sum = k == 0 ? sums[0] : k == 1 ? sums[1] : k == 2 ? sums[2] : sums[3];
        setFloat(to[k * out.view.strides[1]],
                 out.epilogue(sum, out.results.ratio(at), out.results.updated(at), bias));
    }
}

// How the depth is cut where there are fewer blocks than multiprocessors.
struct DepthSlices {
    int slices, steps;  // of one
};

constexpr int kSliceSteps = 8;  // at least
constexpr int kMaxSlices = 16;

DepthSlices depthSlices(const ConvShape& s, DataType type) {
    const int columns = s.out_channels / s.groups;
    const int rows = s.batch * volumeOf(s.output);
    const int steps = ceilDivide(volumeOf(s.kernel) * igemmPadded(s.in_channels / s.groups, type),
                                 kStageVectors * igemmVector(type));
    const int64_t blocks =
        static_cast<int64_t>(ceilDivide(rows, kBlockRows)) * s.groups * ceilDivide(columns, 2 * kWarpColumns);
    int64_t slices = s.multiprocessors / blocks;
    slices = slices < steps / kSliceSteps ? slices : steps / kSliceSteps;
    slices = slices < kMaxSlices ? slices : kMaxSlices;
    if (slices < 2) return {1, steps};
    const int of_one = ceilDivide(steps, static_cast<int>(slices));
    return {ceilDivide(steps, of_one), of_one};
}

constexpr size_t kAlignment = 256;

// Where results go. every_position: the rows of a block are all positions in their order.
IgemmOutput outputOf(const View& view, DataType type, const int (&size)[3], bool every_position) {
    IgemmOutput output{};
    output.view = view;
    output.rows_fast = view.strides[1] != 1;
    // Positions follow each other through the image, or through rows of whole vectors.
    output.runs = every_position && (view.strides[4] == 1 || size[2] == 1) &&
                  (size[2] % igemmVector(type) == 0 ||
                   ((size[1] == 1 || view.strides[3] == size[2]) &&
                    (size[0] == 1 || view.strides[2] == static_cast<int64_t>(size[2]) * size[1])));
    return output;
}

template <typename T, int warp_columns, bool backward>
cudaError_t launchWidth(IgemmParameters p, int slices, cudaStream_t stream) {
    constexpr int columns = kWarpColumns * warp_columns;
    p.column_tiles = ceilDivide(p.columns, columns);
    const int taps = p.gather.axes[0].kernel * p.gather.axes[1].kernel * p.gather.axes[2].kernel;
    p.weight_pitch = taps * p.depth;
    // What is never stepped over may have any stride; taps outside must not be unaligned by it.
    if (p.gather.batch == 1) p.source_strides[0] = 0;
    for (int d = 0; d < 3; ++d) {
        if (p.gather.axes[d].source == 1) p.source_strides[d + 1] = 0;
        p.tap_steps[d] = p.gather.axes[d].offset_step * p.source_strides[d + 1];
    }
    const int planes = p.source_mask.present() ? p.source_mask.mask.plane_count : 1;
    const size_t words = static_cast<size_t>(ceilDivide(taps, kTapsInWord)) * static_cast<size_t>(planes);
    using Storage = IgemmStorage<warp_columns>;
    const size_t shared_bytes = ceilDivide(sizeof(typename Storage::Stage) * igemmStages(warp_columns) +
                                               sizeof(uint32_t) * kBlockRows * words,
                                           alignof(Storage)) *
                                alignof(Storage);
    for (p.first_class = 0; p.first_class < p.gather.classes; p.first_class += kMaxGrid) {
        const int left = p.gather.classes - p.first_class;
        const dim3 grid(static_cast<unsigned>(ceilDivide(gatherRows(p.gather), kBlockRows)),
                        static_cast<unsigned>(p.groups * p.column_tiles),
                        backward ? static_cast<unsigned>(left < kMaxGrid ? left : kMaxGrid)
                                 : static_cast<unsigned>(slices));
        const cudaError_t status = launch(igemmProduct<T, warp_columns, backward>, grid, 64U * warp_columns,
                                          shared_bytes, stream, p);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

template <typename T, bool backward>
cudaError_t launchProduct(const IgemmParameters& p, int multiprocessors, int slices, cudaStream_t stream) {
    // Narrow blocks where wide ones would be half empty, or fewer than multiprocessors.
    const int64_t wide = static_cast<int64_t>(ceilDivide(gatherRows(p.gather), kBlockRows)) *
                         p.gather.classes * p.groups * ceilDivide(p.columns, 4 * kWarpColumns);
    return p.columns > 2 * kWarpColumns && wide >= multiprocessors
               ? launchWidth<T, 4, backward>(p, slices, stream)
               : launchWidth<T, 2, backward>(p, slices, stream);
}

}  // namespace

const char* igemmDeclines(const ConvShape& s, DataType type, bool fast_math) {
    const int vector = igemmVector(type);
    if (type == DataType::u8) return "igemm computes f32, f16 and bf16";
    if (type == DataType::f32 && !fast_math) return "igemm rounds f32 to TF32, which exact math excludes";
    if (volumeOf(s.kernel) > kMaxTaps) return "igemm takes kernels of at most 1024 taps";
    if (s.groups > 1 && (s.in_channels / s.groups < vector || s.out_channels / s.groups < vector))
        return "the groups have too few channels to fill a tensor core's operands";
    return nullptr;
}

size_t igemmWeightBytes(const ConvShape& s, DataType type, bool backward) {
    const int in = s.in_channels / s.groups;
    const int out = s.out_channels / s.groups;
    const int columns = backward ? in : out;
    return static_cast<size_t>(s.groups) * static_cast<size_t>(columns) *
           static_cast<size_t>(volumeOf(s.kernel)) *
           static_cast<size_t>(igemmPadded(backward ? out : in, type)) * sizeOf(type);
}

cudaError_t launchIgemmWeights(const ConvShape& s, DataType type, const void* weight, void* packed,
                               bool backward, cudaStream_t stream) {
    const int in = s.in_channels / s.groups;
    const int out = s.out_channels / s.groups;
    const auto count = static_cast<int64_t>(igemmWeightBytes(s, type, backward) / sizeOf(type));
    return withElement(type, [&](auto element) {
        using T = decltype(element);
        return launch(packIgemmWeights<T>, dim3(static_cast<unsigned>(ceilDivide<int64_t>(count, kThreads))),
                      kThreads, 0, stream, static_cast<const T*>(weight), static_cast<T*>(packed), s.groups,
                      out, in, volumeOf(s.kernel), igemmPadded(backward ? out : in, type), backward);
    });
}

size_t igemmCopyBytes(const ConvShape& s, DataType type) {
    const size_t bytes = static_cast<size_t>(s.batch) * static_cast<size_t>(volumeOf(s.input)) *
                         static_cast<size_t>(s.groups) *
                         static_cast<size_t>(igemmPadded(s.in_channels / s.groups, type)) * sizeOf(type);
    return ceilDivide(bytes, kAlignment) * kAlignment;
}

size_t igemmForwardWorkspaceBytes(const ConvShape& s, DataType type) {
    const int slices = depthSlices(s, type).slices;
    const size_t partials = sizeof(float) * static_cast<size_t>(slices) * static_cast<size_t>(s.batch) *
                            static_cast<size_t>(volumeOf(s.output)) * static_cast<size_t>(s.out_channels);
    return igemmCopyBytes(s, type) + (slices > 1 ? partials : 0);
}

cudaError_t igemmSource(const ConvProblem& problem, const View& input, void* workspace, IgemmSource& source,
                        cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const int in = s.in_channels / s.groups;
    const int vector = igemmVector(problem.type);
    source.mask = inputMask(problem);
    source.view = input;
    bool in_place = input.strides[1] == 1 && in % vector == 0 &&
                    reinterpret_cast<uintptr_t>(input.data) % kVectorBytes == 0;
    const int sizes[5] = {s.batch, in, s.input[0], s.input[1], s.input[2]};
    for (const int d : {0, 2, 3, 4})  // what is never stepped over may have any stride
        in_place = in_place && (sizes[d] == 1 || input.strides[d] % vector == 0);
    if (source.mask.present()) {
        const PackedMask& mask = source.mask.mask;
        in_place = in_place && mask.type == MaskType::binary && mask.channels_per_plane_chunk % vector == 0 &&
                   mask.plane_count <= kMaxMaskPlanes &&
                   tapWords(s) * static_cast<size_t>(mask.plane_count) <= kMaxTapWords;
    }
    if (in_place) return cudaSuccess;
    const int64_t pixel = static_cast<int64_t>(s.groups) * igemmPadded(in, problem.type);
    source.view = {
        workspace,
        {pixel * volumeOf(s.input), 1, pixel * s.input[2] * s.input[1], pixel * s.input[2], pixel}};
    source.mask.mask.planes = nullptr;
    return launchMaskedCopy(problem, input, source.view, igemmPadded(in, problem.type), stream);
}

cudaError_t launchIgemmForward(const ConvProblem& problem, const View& input, const void* packed_weight,
                               const void* bias, const View& output, void* workspace, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    IgemmSource source{};
    const cudaError_t status = igemmSource(problem, input, workspace, source, stream);
    if (status != cudaSuccess) return status;
    IgemmParameters p{};
    p.gather = forwardGather(s);
    p.groups = s.groups;
    p.depth = igemmPadded(s.in_channels / s.groups, problem.type);
    p.columns = s.out_channels / s.groups;
    p.source = source.view.data;
    const int64_t strides[4] = {source.view.strides[0], source.view.strides[2], source.view.strides[3],
                                source.view.strides[4]};
    for (int d = 0; d < 4; ++d) p.source_strides[d] = strides[d];
    p.output = outputOf(output, problem.type, s.output, true);
    p.weight = packed_weight;
    p.output.bias = bias;
    p.source_mask = source.mask;
    p.tile_flags = problem.results.tile_flags;
    p.output.epilogue = epilogueOf(problem);
    p.output.results = resultReader(problem);
    const DepthSlices cut = depthSlices(s, problem.type);
    p.slice_steps = cut.steps;
    if (cut.slices > 1)
        p.output.partials =
            reinterpret_cast<float*>(static_cast<char*>(workspace) + igemmCopyBytes(s, problem.type));
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        const cudaError_t launched = launchProduct<T, false>(p, s.multiprocessors, cut.slices, stream);
        if (launched != cudaSuccess || cut.slices == 1) return launched;
        FinishParameters finish{p.output, cut.slices, gatherRows(p.gather), s.out_channels, {}, {}, {},
                                {},       {}};
        finish.quads = Divisor(ceilDivide(s.out_channels, kFinished));
        finish.all_rows = Divisor(finish.rows);
        finish.positions = Divisor(volumeOf(s.output));
        finish.height = Divisor(s.output[1]);
        finish.width = Divisor(s.output[2]);
        const int threads = finish.quads.value * finish.rows;
        return launch(finishSlices<T>, dim3(static_cast<unsigned>(ceilDivide<int>(threads, kThreads))),
                      kThreads, 0, stream, finish);
    });
}

cudaError_t launchIgemmInputGradient(const ConvProblem& problem, const View& dc, const void* packed_weight,
                                     const View& gradient, bool accumulate, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    IgemmParameters p{};
    p.gather = backwardGather(s);
    p.groups = s.groups;
    p.depth = igemmPadded(s.out_channels / s.groups, problem.type);
    p.columns = s.in_channels / s.groups;
    p.source = dc.data;
    const int64_t strides[4] = {dc.strides[0], dc.strides[2], dc.strides[3], dc.strides[4]};
    for (int d = 0; d < 4; ++d) p.source_strides[d] = strides[d];
    p.output = outputOf(gradient, problem.type, s.input, volumeOf(s.stride) == 1);
    p.weight = packed_weight;
    p.output.mask = gradientMask(problem);
    p.output.accumulate = accumulate;
    return withElement(problem.type, [&](auto element) {
        return launchProduct<decltype(element), true>(p, s.multiprocessors, 1, stream);
    });
}

}  // namespace pconv::cuda
