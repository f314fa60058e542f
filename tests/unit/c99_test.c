/* The headers as a C99 program sees them: one small convolution, whose result is known by hand, and one hole.
 */
#include <stdio.h>
#include <string.h>

#include "pconv/inpaint.h"
#include "pconv/models.h"
#include "pconv/network.h"
#include "pconv/pconv.h"

static int failures = 0;

static void expectSuccess(PconvStatus status, const char* what) {
    if (status == PCONV_SUCCESS) return;
    ++failures;
    printf("%s: %s: %s\n", what, pconvGetStatusName(status), pconvGetLastError());
}

static PconvTensor tensorOf(PconvBuffer buffer, PconvDataType type, int64_t c, int64_t n, int64_t size) {
    PconvTensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.buffer = buffer;
    tensor.data_type = type;
    tensor.rank = 3;
    tensor.dims[0] = n;
    tensor.dims[1] = c;
    tensor.dims[2] = size;
    return tensor;
}

static void fillOneHole(PconvDevice device) {
    static const uint8_t hole[3] = {0, 1, 0};
    uint8_t pixels[3] = {80, 255, 80};
    PconvImage image = pconvDefaultImage();
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    image.pixels = pixels;
    image.width = 3;
    image.height = 1;
    image.channels = 1;
    expectSuccess(pconvInpaint(device, &image, hole, &options), "pconvInpaint");
    if (pixels[0] == 80 && pixels[1] == 80 && pixels[2] == 80) return;
    ++failures;
    printf("inpainted: %d %d %d, expected 80 three times\n", pixels[0], pixels[1], pixels[2]);
}

/* One stroke by a call, a preview of it, and another by a job. */
static void fillStrokes(PconvDevice device) {
    static const uint8_t hole[3] = {0, 1, 0};
    uint8_t pixels[3] = {80, 255, 80}, reduced[3] = {0, 0, 0};
    PconvImage image = pconvDefaultImage(), preview;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    PconvInpainter inpainter = NULL;
    PconvInpaintJob job = NULL;
    double done = 0;
    int32_t finished = 0;
    image.pixels = pixels;
    image.width = 3;
    image.height = 1;
    image.channels = 1;
    preview = image;
    preview.pixels = reduced;
    options.mask_levels = PCONV_MASK_LEVELS_BINARY;
    expectSuccess(pconvCreateInpainter(device, &inpainter), "pconvCreateInpainter");
    expectSuccess(pconvPreviewInpainter(inpainter, &image, hole, &options, &preview),
                  "pconvPreviewInpainter");
    expectSuccess(pconvRunInpainter(inpainter, &image, hole, &options), "pconvRunInpainter");
    if (reduced[1] != 80 || pixels[1] != 80) ++failures;
    pixels[1] = 255;
    expectSuccess(pconvStartInpainter(inpainter, &image, hole, &options, &job), "pconvStartInpainter");
    expectSuccess(pconvWaitInpaint(job), "pconvWaitInpaint");
    expectSuccess(pconvGetInpaintProgress(job, &done, &finished), "pconvGetInpaintProgress");
    expectSuccess(pconvCancelInpaint(job), "pconvCancelInpaint");
    if (pixels[1] != 80 || done != 1 || finished != 1) {
        ++failures;
        printf("the job left %d, %g done\n", pixels[1], done);
    }
    pconvReleaseInpaintJob(job);
    pconvReleaseInpainter(inpainter);
}

static void importNothing(PconvDevice device) {
    const PconvExternalMemory memory = pconvDefaultExternalMemory();
    PconvBuffer buffer = NULL;
    if (pconvImportExternalBuffer(device, &memory, 4, &buffer) == PCONV_ERROR_INVALID_ARGUMENT &&
        buffer == NULL)
        return;
    ++failures;
    printf("memory of no descriptor was imported\n");
}

static void testModels(void) {
    PconvModelOptions options = pconvDefaultModelOptions();
    PconvModelInfo info = pconvDefaultModelInfo();
    PconvLayerInfo layer = pconvDefaultLayerInfo();
    PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
    PconvModel model = NULL;
    const char* json = NULL;
    options.classes = 10;
    expectSuccess(pconvCreateModel("pdresnet18", &options, &model), "pconvCreateModel");
    expectSuccess(pconvGetModelInfo(model, &info), "pconvGetModelInfo");
    expectSuccess(pconvGetModelNetworkDesc(model, &desc), "pconvGetModelNetworkDesc");
    expectSuccess(pconvGetModelLayerInfo(model, NULL, desc.layer_count - 1, &layer),
                  "pconvGetModelLayerInfo");
    expectSuccess(pconvGetModelJson(model, &json), "pconvGetModelJson");
    if (info.classes != 10 || desc.size[0] != 224 || layer.channels != 10 || json == NULL) {
        ++failures;
        printf("the model is not as asked for\n");
    }
    pconvReleaseModel(model);
    if (pconvLoadModel("no such file", &model) != PCONV_ERROR_INVALID_ARGUMENT ||
        pconvLoadNetwork(NULL, "no such file", NULL, NULL) != PCONV_ERROR_INVALID_ARGUMENT ||
        pconvLoadNetworkWithMath(NULL, "no such file", NULL, PCONV_MATH_FAST, NULL) !=
            PCONV_ERROR_INVALID_ARGUMENT ||
        pconvInpaintWithNetwork(NULL, NULL, NULL, NULL, NULL, NULL, 0) != PCONV_ERROR_INVALID_ARGUMENT) {
        ++failures;
        printf("what is not there was accepted\n");
    }
}

int main(void) {
    /* A window of three over [1, 2, hole, hole, hole, 6], zero padded, with weights 1 and bias 0.5. */
    static const float input[6] = {1, 2, 100, 200, 300, 6};
    static const uint8_t mask_bytes[6] = {1, 1, 0, 0, 0, 1};
    static const float weight[3] = {1, 1, 1};
    static const float bias[1] = {0.5F};
    static const float expected[6] = {3 * 1.5F + 0.5F, 3 * 1.5F + 0.5F, 2 * 3 + 0.5F, 0,
                                      6 * 3 + 0.5F,    6 * 3 + 0.5F};
    static const uint8_t expected_mask[6] = {1, 1, 1, 0, 1, 1};
    float output[6] = {-1, -1, -1, -1, -1, -1};
    uint8_t updated[6] = {9, 9, 9, 9, 9, 9};

    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(1);
    PconvMask mask = pconvDefaultMask();
    PconvMaskSegment segment;
    PconvTensor input_tensor, weight_tensor, bias_tensor, output_tensor, updated_tensor;
    PconvDevice device = NULL;
    PconvBuffer input_buffer = NULL, mask_buffer = NULL, weight_buffer = NULL, bias_buffer = NULL;
    PconvBuffer output_buffer = NULL;
    PconvMaskUpdate update = NULL;
    PconvPartialConv conv = NULL;
    int64_t size[PCONV_MAX_SPATIAL_DIMS] = {0, 0, 0};
    int i;

    desc.input_size[0] = 6;
    desc.kernel[0] = 3;
    desc.padding[0] = 1;
    desc.padding_end[0] = 2;
    expectSuccess(pconvGetOutputSize(&desc, size), "pconvGetOutputSize");
    if (size[0] != 7) ++failures;
    desc.padding_end[0] = PCONV_PADDING_AS_IN_FRONT;
    desc.padding_mode = PCONV_PADDING_MODE_ZEROS;
    expectSuccess(pconvGetOutputSize(&desc, size), "pconvGetOutputSize");
    if (size[0] != 6) ++failures;

    options.verbosity = 0;
    expectSuccess(pconvCreateDevice("cpu", &options, &device), "pconvCreateDevice");
    expectSuccess(pconvCreateBuffer(device, sizeof input, &input_buffer), "pconvCreateBuffer");
    expectSuccess(pconvCreateBuffer(device, sizeof mask_bytes, &mask_buffer), "pconvCreateBuffer");
    expectSuccess(pconvCreateBuffer(device, sizeof weight, &weight_buffer), "pconvCreateBuffer");
    expectSuccess(pconvCreateBuffer(device, sizeof bias, &bias_buffer), "pconvCreateBuffer");
    expectSuccess(pconvCreateBuffer(device, sizeof output, &output_buffer), "pconvCreateBuffer");
    expectSuccess(pconvWriteBuffer(input_buffer, 0, input, sizeof input), "pconvWriteBuffer");
    expectSuccess(pconvWriteBuffer(mask_buffer, 0, mask_bytes, sizeof mask_bytes), "pconvWriteBuffer");
    expectSuccess(pconvWriteBuffer(weight_buffer, 0, weight, sizeof weight), "pconvWriteBuffer");
    expectSuccess(pconvWriteBuffer(bias_buffer, 0, bias, sizeof bias), "pconvWriteBuffer");

    input_tensor = tensorOf(input_buffer, PCONV_DATA_TYPE_F32, 1, 1, 6);
    output_tensor = tensorOf(output_buffer, PCONV_DATA_TYPE_F32, 1, 1, 6);
    weight_tensor = tensorOf(weight_buffer, PCONV_DATA_TYPE_F32, 1, 1, 3);
    bias_tensor = tensorOf(bias_buffer, PCONV_DATA_TYPE_F32, 1, 1, 1);
    bias_tensor.rank = 1;
    segment.planes = tensorOf(mask_buffer, PCONV_DATA_TYPE_U8, 1, 1, 6);
    segment.multiplicity = 1;
    mask.segment_count = 1;
    mask.segments = &segment;

    expectSuccess(pconvCreateMaskUpdate(device, &desc, &mask, &update), "pconvCreateMaskUpdate");
    expectSuccess(pconvCreatePartialConv(device, &desc, &conv), "pconvCreatePartialConv");
    expectSuccess(pconvSetPartialConvWeights(conv, &weight_tensor, &bias_tensor),
                  "pconvSetPartialConvWeights");
    expectSuccess(pconvComputeMaskUpdate(update, &mask), "pconvComputeMaskUpdate");
    expectSuccess(pconvForwardPartialConv(conv, update, &input_tensor, &output_tensor),
                  "pconvForwardPartialConv");
    expectSuccess(pconvGetMaskUpdateTensors(update, NULL, &updated_tensor, NULL),
                  "pconvGetMaskUpdateTensors");
    expectSuccess(pconvReadBuffer(updated_tensor.buffer, updated_tensor.offset, updated, sizeof updated),
                  "pconvReadBuffer");
    expectSuccess(pconvReadBuffer(output_buffer, 0, output, sizeof output), "pconvReadBuffer");
    for (i = 0; i < 6; ++i) {
        if (output[i] == expected[i] && updated[i] == expected_mask[i]) continue;
        ++failures;
        printf("at %d: output %g, expected %g; mask %d, expected %d\n", i, (double)output[i],
               (double)expected[i], updated[i], expected_mask[i]);
    }

    fillOneHole(device);
    fillStrokes(device);
    importNothing(device);

    pconvReleaseDevice(device);
    pconvReleaseBuffer(input_buffer);
    pconvReleaseBuffer(mask_buffer);
    pconvReleaseBuffer(weight_buffer);
    pconvReleaseBuffer(bias_buffer);
    pconvReleaseBuffer(output_buffer);
    pconvReleaseMaskUpdate(update);
    pconvReleasePartialConv(conv);
    testModels();
    return failures == 0 ? 0 : 1;
}
