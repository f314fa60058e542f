/* consumer BACKEND...: one partial convolution on the first device of each backend. Says which backends have
 * no device. */
#include <pconv/pconv.h>
#include <stdio.h>

static int check(PconvStatus status) {
    if (status != PCONV_SUCCESS) fprintf(stderr, "%s: %s\n", pconvGetStatusName(status), pconvGetLastError());
    return status == PCONV_SUCCESS;
}

static PconvTensor tensor(PconvBuffer buffer, size_t offset, PconvDataType type, int32_t rank, int64_t size) {
    PconvTensor view = {buffer, offset, type, rank, {1, 1, size, size}, {0}};
    return view;
}

/* 3x3 ones around a hole that holds garbage: 8 valid taps of 9, times 9/8, plus a bias of 1. */
static int run(PconvDevice device, float* result) {
    const float data[20] = {1, 1, 1, 1, 1e30F, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
    const unsigned char holes[12] = {0, 0, 0, 0, 1, 0, 0, 0, 0};
    PconvBuffer floats = NULL;
    PconvBuffer bytes = NULL;
    PconvMaskUpdate update = NULL;
    PconvPartialConv conv = NULL;
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
    desc.input_size[0] = desc.input_size[1] = desc.kernel[0] = desc.kernel[1] = 3;
    int ok = check(pconvCreateBuffer(device, sizeof data, &floats)) &&
             check(pconvCreateBuffer(device, sizeof holes, &bytes));
    if (ok) {
        const PconvTensor input = tensor(floats, 0, PCONV_DATA_TYPE_F32, 4, 3);
        const PconvTensor weight = tensor(floats, 36, PCONV_DATA_TYPE_F32, 4, 3);
        const PconvTensor bias = tensor(floats, 72, PCONV_DATA_TYPE_F32, 1, 1);
        const PconvTensor output = tensor(floats, 76, PCONV_DATA_TYPE_F32, 4, 1);
        const PconvMaskSegment segment = {tensor(bytes, 0, PCONV_DATA_TYPE_U8, 4, 3), 1};
        PconvMask mask = pconvDefaultMask();
        mask.polarity = PCONV_MASK_HOLE_IS_ONE;
        mask.segment_count = 1;
        mask.segments = &segment;
        ok = check(pconvWriteBuffer(floats, 0, data, sizeof data)) &&
             check(pconvWriteBuffer(bytes, 0, holes, sizeof holes)) &&
             check(pconvCreateMaskUpdate(device, &desc, &mask, &update)) &&
             check(pconvComputeMaskUpdate(update, &mask)) &&
             check(pconvCreatePartialConv(device, &desc, &conv)) &&
             check(pconvSetPartialConvWeights(conv, &weight, &bias)) &&
             check(pconvForwardPartialConv(conv, update, &input, &output)) &&
             check(pconvReadBuffer(floats, 76, result, sizeof *result));
    }
    pconvReleasePartialConv(conv);
    pconvReleaseMaskUpdate(update);
    pconvReleaseBuffer(bytes);
    pconvReleaseBuffer(floats);
    return ok;
}

int main(int argc, char** argv) {
    int i;
    for (i = 1; i < argc; ++i) {
        PconvDevice device = NULL;
        float result = 0;
        const PconvStatus status = pconvCreateDevice(argv[i], NULL, &device);
        if (status == PCONV_ERROR_NO_DEVICE) {
            printf("%s: none: %s\n", argv[i], pconvGetLastError());
            continue;
        }
        if (!check(status) || !run(device, &result)) return 1;
        pconvReleaseDevice(device);
        printf("%s: %g\n", argv[i], (double)result);
    }
    return 0;
}
