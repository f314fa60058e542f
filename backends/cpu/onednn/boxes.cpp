#include "cpu/onednn/boxes.h"

#include <algorithm>
#include <cstring>

#include "cpu/element.h"
#include "cpu/passes/mask_planes.h"

namespace pconv::cpu {

namespace {

// Beside a row of each channel.
void zeroAround(const BoxInput& input, const LoadRun& run) {
    for (int64_t c = 0; c < run.channels; ++c) {
        float* row = run.scratch + c * run.block_stride;
        std::fill(row - input.zeros_before, row, 0.0F);
        std::fill(row + run.pixels, row + run.pixels + input.zeros_after, 0.0F);
    }
}

}  // namespace

ForwardCall forwardCall(const PartialConvDesc& desc, const MaskUpdate& any_update, const TensorRef& input,
                        const TensorRef& output) {
    const auto& update = static_cast<const CpuMaskUpdate&>(any_update);
    return {update, input, output, desc.maskInput() ? desc.mask_type : MaskType::none,
            hasOnePlane(desc, update.form())};
}

void loadBox(const BoxInput& input, const Box& box, float* scratch, const void** planes,
             const Staging& staging, int thread) {
    const int64_t height = box.spans[1].input_size;
    const int64_t width = box.spans[2].input_size;
    const int64_t block = blockOf(input.layout, input.channels);
    const int64_t padded = (input.channels + block - 1) / block * block;
    const auto& strides = input.tensor.strides;
    const MaskForm& form = input.update.form();

    LoadRun run{};
    run.channel_stride = strides[1];
    run.pixel_stride = strides[4];
    run.channels = input.channels;
    run.mask = input.mask;
    run.planes = planes;
    run.one_plane = input.one_plane;
    run.hole_is_one = form.hole_is_one;
    run.block = block;
    const int64_t pitch = input.zeros_before + width + input.zeros_after;
    const int64_t plane = box.inputPixels() / width * pitch;
    run.block_stride = plane * block;
    // Rows that follow each other in memory are one run.
    bool joined = strides[3] == width * strides[4] && pitch == width;
    if (input.mask != MaskType::none)
        for (const TensorRef& planes_view : input.update.planes())
            joined = joined && planes_view.strides[3] == width;
    run.pixels = joined ? height * width : width;
    for (int64_t row = 0; row < box.batch_size * box.spans[0].input_size * height;
         row += joined ? height : 1) {
        const int64_t n = row / height / box.spans[0].input_size;
        const int64_t batch = box.batch_begin + n;
        const Dims3 at{box.spans[0].input_begin + row / height % box.spans[0].input_size,
                       box.spans[1].input_begin + row % height, box.spans[2].input_begin};
        const int64_t pixel = row * pitch - n * plane + input.zeros_before;
        run.scratch = scratch + n * padded * plane + pixel * block;
        if (pitch != width) zeroAround(input, run);
        if (input.mask != MaskType::none)
            pointAtPlanes(input.update, input.one_plane, input.mask_channel,
                          input.one_plane ? 1 : run.channels,
                          {form.batch == 1 ? 0 : batch, at[0], at[1], at[2]}, planes);
        loadTyped(run, planes, input.tensor.data_type,
                  elementAt(input.tensor, batch, input.first_channel, at), staging, thread);
    }
}

void storeBox(const BoxOutput& output, const Box& box, const float* scratch, const Staging& staging,
              int thread) {
    const PartialConvDesc& desc = output.desc;
    const Dims3& size = desc.window.output;
    const int64_t height = box.spans[1].output_size;
    const int64_t width = box.spans[2].output_size;
    const int64_t block = blockOf(output.layout, output.channels);
    const int64_t padded = (output.channels + block - 1) / block * block;
    const auto& strides = output.tensor.strides;
    const MaskPlanes& mask = output.update.results();

    const int64_t pitch = output.row_pitch == 0 ? width : output.row_pitch;
    const int64_t plane = output.plane_pitch == 0 ? box.outputPixels() : output.plane_pitch;

    StoreRun run{};
    run.block = block;
    run.block_stride = plane * block;
    run.group_stride = volume(size);
    run.group_channels = desc.out_channels / desc.maskGroups();
    run.bias = output.bias.empty() ? nullptr : output.bias.data() + output.first_channel;
    run.activation = desc.activation;
    run.negative_slope = desc.negative_slope;
    run.channel_stride = strides[1];
    run.pixel_stride = strides[4];
    run.channels = output.channels;
    const bool joined = width == size[2] && strides[3] == width * strides[4] && pitch == width;
    run.pixels = joined ? height * width : width;
    const int64_t mask_group = desc.maskGroupOf(output.first_channel);
    for (int64_t row = 0; row < box.batch_size * box.spans[0].output_size * height;
         row += joined ? height : 1) {
        const int64_t n = row / height / box.spans[0].output_size;
        const int64_t batch = box.batch_begin + n;
        const Dims3 at{box.spans[0].output_begin + row / height % box.spans[0].output_size,
                       box.spans[1].output_begin + row % height, box.spans[2].output_begin};
        const int64_t pixel = (row - n * box.spans[0].output_size * height) * pitch;
        run.scratch = scratch + n * padded * plane + pixel * block;
        const int64_t mask_batch = output.update.form().batch == 1 ? 0 : batch;
        const int64_t place =
            ((mask_batch * desc.maskGroups() + mask_group) * size[0] + at[0]) * size[1] + at[1];
        if (!desc.maskedConvolution()) run.ratio = pointer<float>(mask.ratio) + place * size[2] + at[2];
        if (mask.updated_mask.data_type == DataType::f32)
            run.updated_mask = pointer<float>(mask.updated_mask) + place * size[2] + at[2];
        storeTyped(run, output.tensor.data_type, elementAt(output.tensor, batch, output.first_channel, at),
                   staging, thread);
    }
}

void zeroRow(const TensorRef& output, const Box& box, int64_t n, int64_t d, int64_t h) {
    const int64_t channels = box.channel_size;
    const int64_t begin = box.spans[2].output_begin;
    const int64_t end = begin + box.spans[2].output_size;
    const auto& strides = output.strides;
    char* row = elementAt(output, n, box.channel_begin, {d, h, 0});
    const auto unit = static_cast<int64_t>(sizeOf(output.data_type));
    const auto zero = [&](int64_t at, int64_t count) {
        std::memset(row + at * unit, 0, static_cast<size_t>(count * unit));
    };
    if (strides[4] == 1) {
        for (int64_t c = 0; c < channels; ++c) zero(c * strides[1] + begin, end - begin);
        return;
    }
    for (int64_t w = begin; w < end; ++w) {
        if (strides[1] == 1) {
            zero(w * strides[4], channels);
            continue;
        }
        for (int64_t c = 0; c < channels; ++c) zero(w * strides[4] + c * strides[1], 1);
    }
}

void zeroBox(const TensorRef& output, const Box& box) {
    const auto& s = box.spans;
    for (int64_t n = 0; n < box.batch_size; ++n)
        for (int64_t d = 0; d < s[0].output_size; ++d)
            for (int64_t h = 0; h < s[1].output_size; ++h)
                zeroRow(output, box, box.batch_begin + n, s[0].output_begin + d, s[1].output_begin + h);
}

bool allHoles(const PartialConvDesc& desc, const CpuMaskUpdate& update, const Box& box) {
    const MaskPlanes& results = update.results();
    if (desc.maskedConvolution() && desc.mask_type == MaskType::none) return false;
    const TensorRef& scale = desc.maskedConvolution() ? results.updated_mask : results.ratio;
    // Without a way out of the loop over a row, which then is one of vectors.
    return !anyRow(desc, update, box, scale, [](const float* row, int64_t size) {
        int valid = 0;
        for (int64_t i = 0; i < size; ++i) valid |= row[i] != 0 ? 1 : 0;
        return valid != 0;
    });
}

}  // namespace pconv::cpu
