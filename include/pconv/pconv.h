/*
 * pconv: partial convolutions on CUDA, Vulkan and CPU devices behind one C API.
 *
 * A partial convolution is a convolution over data with holes, re-weighted by how much of each window is
 * valid: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", ECCV 2018. The exact
 * formulas are in docs/semantics.md; they are those of NVIDIA/partialconv.
 *
 * Conventions, true of every function unless it says otherwise:
 *  - It returns a PconvStatus. On failure nothing was changed, output parameters are untouched, and
 *    pconvGetLastError() has one line naming the fault and what was expected.
 *  - It may be called from any thread. Calls on one device, or on objects of one device, are serialized by
 * it; the object passed to a Release function must not be in use by another thread.
 *  - Objects are owned by the caller through their handle, and keep alive whatever they need: handles may be
 *    released in any order, also while work that uses them is still running. Releasing NULL does nothing.
 *  - Work is enqueued in the order of the calls, on one queue a device. Functions that enqueue do not wait
 * for the work; pconvReadBuffer and pconvWait do. The CPU device runs the work within the call.
 *  - Sizes and strides count elements, offsets and buffer sizes count bytes.
 *  - Structs start with struct_size, set by the pconvDefault... functions, so that later versions can grow
 * them.
 */
#ifndef PCONV_PCONV_H
#define PCONV_PCONV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PCONV_VERSION_MAJOR 0
#define PCONV_VERSION_MINOR 2
#define PCONV_VERSION_PATCH 0

#if defined(PCONV_STATIC)
#define PCONV_API
#elif defined(_WIN32)
#if defined(PCONV_BUILDING_LIBRARY)
#define PCONV_API __declspec(dllexport)
#else
#define PCONV_API __declspec(dllimport)
#endif
#else
#define PCONV_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---------------------------------------------------------------------------------------------
 */

typedef enum PconvStatus {
    PCONV_SUCCESS = 0,
    PCONV_ERROR_INVALID_ARGUMENT = 1, /* a null handle, a setting or tensor that does not fit */
    PCONV_ERROR_UNSUPPORTED = 2,      /* well-formed, but no implementation of this device can do it */
    PCONV_ERROR_NO_DEVICE = 3,        /* the device asked for is not present */
    PCONV_ERROR_OUT_OF_MEMORY = 4,    /* host or device memory, or the device's memory limit, is exhausted */
    PCONV_ERROR_DEVICE = 5,           /* the driver reported a failure, or the device was lost */
    PCONV_ERROR_CANCELLED = 6,        /* a progress callback asked to stop */
    PCONV_ERROR_INTERNAL = 7          /* a fault of this library */
} PconvStatus;

/* The name of a status, "PCONV_ERROR_UNSUPPORTED". Never NULL; static storage. */
PCONV_API const char* pconvGetStatusName(PconvStatus status);

/* One line on the last failure in the calling thread, "" if there was none. Valid until this thread's next
 * call. */
PCONV_API const char* pconvGetLastError(void);

/* The version of the library in use, which may be newer than this header. Any pointer may be NULL. */
PCONV_API void pconvGetVersion(int* major, int* minor, int* patch);

/* ---- Devices --------------------------------------------------------------------------------------------
 */

typedef struct PconvDevice_T* PconvDevice;

typedef enum PconvDeviceType {
    PCONV_DEVICE_TYPE_CPU = 0,
    PCONV_DEVICE_TYPE_DISCRETE_GPU = 1,
    PCONV_DEVICE_TYPE_INTEGRATED_GPU = 2,
    PCONV_DEVICE_TYPE_SOFTWARE = 3, /* a GPU interface emulated on the CPU, such as Mesa's lavapipe */
    PCONV_DEVICE_TYPE_OTHER = 4
} PconvDeviceType;

/* A backend this library was built to look for: "cuda", "vulkan", "cpu". */
typedef struct PconvBackendInfo {
    size_t struct_size;
    char name[16];
    int32_t device_count;
    char reason[256]; /* why there is no device; "" where there is one */
} PconvBackendInfo;

typedef struct PconvDeviceInfo {
    size_t struct_size;
    char name[256];
    char backend[16];
    PconvDeviceType type;
    uint8_t uuid[16];      /* all zero where the backend has none */
    uint64_t memory_bytes; /* memory the device can use, 0 if unknown */
    char driver[256];      /* driver or engine name and version */
    char features[256];    /* space-separated capability names, such as "f16-storage avx512" */
    uint8_t luid[8];       /* as Windows tells adapters apart; all zero where there is none; since 0.2 */
    char pci[16];          /* domain:bus:device.function in hexadecimal, "" where there is none */
} PconvDeviceInfo;

static inline PconvBackendInfo pconvDefaultBackendInfo(void) {
    PconvBackendInfo info = {sizeof(PconvBackendInfo), {0}, 0, {0}};
    return info;
}

static inline PconvDeviceInfo pconvDefaultDeviceInfo(void) {
    PconvDeviceInfo info = {
        sizeof(PconvDeviceInfo), {0}, {0}, PCONV_DEVICE_TYPE_OTHER, {0}, 0, {0}, {0}, {0}, {0}};
    return info;
}

/* Backends, in order of preference. Probes every backend's drivers, which may take a moment. */
PCONV_API PconvStatus pconvGetBackendCount(int32_t* count);
PCONV_API PconvStatus pconvGetBackendInfo(int32_t index, PconvBackendInfo* info);

/* Devices present, the preferred first: GPUs, then the CPU, then software devices. */
PCONV_API PconvStatus pconvGetDeviceCount(int32_t* count);
PCONV_API PconvStatus pconvGetDeviceInfo(int32_t index, PconvDeviceInfo* info);

/* Called once per device memory allocation (bytes > 0) and release (bytes < 0); must not call pconv. */
typedef void (*PconvAllocationCallback)(void* user, int64_t bytes);

/* Called with one line of text; must not call pconv. */
typedef void (*PconvMessageCallback)(void* user, const char* line);

/*
 * Has threads of the host call work(context), `threads` of them at a time or fewer, one may be the caller's;
 * returns when all have returned. One is enough, and calls beyond `threads` return at once. Neither throws or
 * calls pconv, nor does what its threads run meanwhile. Called by several threads where they use several
 * devices, and in a forked child, where it should itself call work(context). Since 0.2.
 */
typedef void (*PconvThreadsCallback)(void* user, int32_t threads, void (*work)(void* context), void* context);

typedef struct PconvDeviceOptions {
    size_t struct_size;
    uint64_t memory_limit; /* bytes this device may allocate in all, as the allocation callback is told; 0:
                              no limit. On the CPU too that is buffers, packed weights, masks and scratch
                              memory, and not what is worked with beside them: cells and tiles of pictures
                              (inpaint.h says how much), weights on their way from a file, a layer at a
                              time, vectors of a layer's channels, plans, and code made at run time */
    int32_t threads;       /* CPU threads to use, at most 1024; 0: OMP_NUM_THREADS, else all it may have */
    int32_t verbosity;     /* 0 silent, 1 choices of implementation, 2 more; -1: PCONV_VERBOSE, else 0 */
    PconvMessageCallback message_callback; /* NULL: lines go to stderr */
    PconvAllocationCallback allocation_callback;
    void* user;                            /* passed to the callbacks */
    PconvThreadsCallback threads_callback; /* CPU's operators; NULL: threads of the library's own */
} PconvDeviceOptions;

static inline PconvDeviceOptions pconvDefaultDeviceOptions(void) {
    PconvDeviceOptions options = {sizeof(PconvDeviceOptions), 0, 0, -1, NULL, NULL, NULL, NULL};
    return options;
}

/*
 * Opens a device. `selector` is a backend ("cpu", "vulkan", "cuda"), its n-th device ("vulkan:1"), an index
 * of pconvGetDeviceInfo ("0"), part of a device's name, in any case ("3090"), or one that interfaces share:
 * "uuid:" with 32 hexadecimal digits, "luid:" with 16, dashes anywhere, or "pci:" with "0000:01:00.0", whose
 * domain and function may be left out; the first backend's that has such a device, or the one named before it
 * ("vulkan:uuid:..."). NULL: the environment
 * variable PCONV_DEVICE, else the preferred device. `options` may be NULL. PCONV_ERROR_NO_DEVICE says what
 * there is.
 */
PCONV_API PconvStatus pconvCreateDevice(const char* selector, const PconvDeviceOptions* options,
                                        PconvDevice* device);

/*
 * A device as the host already uses it, under the native handles of its interface: fields of other backends
 * are not looked at. Handles are borrowed: they must outlive the device and every object made on it, and are
 * never destroyed here. Vulkan: instance made for 1.1 or later, through the loader that pconv opens; queue of
 * a compute family. What the host has enabled cannot be asked for: of the optional only what is told is used.
 */
typedef struct PconvNativeDevice {
    size_t struct_size;
    const char* backend; /* "cuda" or "vulkan" */

    int32_t cuda_device; /* its number in the CUDA runtime, whose primary context is used */
    void* cuda_stream;   /* a cudaStream_t or CUstream of that device; NULL: the legacy default stream */

    void* vulkan_instance; /* VkInstance, VkPhysicalDevice, VkDevice, VkQueue */
    void* vulkan_physical_device;
    void* vulkan_device;
    void* vulkan_queue;
    uint32_t vulkan_queue_family;
    uint32_t vulkan_16bit_storage; /* 1: storageBuffer16BitAccess is enabled; else no F16 and BF16 */
} PconvNativeDevice;

static inline PconvNativeDevice pconvDefaultNativeDevice(void) {
    PconvNativeDevice native = {sizeof(PconvNativeDevice), NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, 0};
    return native;
}

/*
 * Makes a device of the host's own: what pconv enqueues goes to the host's stream or queue, in the order of
 * the calls, between what the host enqueues there before and after. No wait is needed on either side where
 * both use that one stream or queue. The host must not use a Vulkan queue from another thread during a call
 * of pconv on this device; a CUDA stream it may. The calling thread's current CUDA device is left as it was.
 * PCONV_ERROR_UNSUPPORTED where the backend adopts none.
 */
PCONV_API PconvStatus pconvAdoptDevice(const PconvNativeDevice* native, const PconvDeviceOptions* options,
                                       PconvDevice* device);

PCONV_API PconvStatus pconvGetInfoOfDevice(PconvDevice device, PconvDeviceInfo* info);
PCONV_API void pconvReleaseDevice(PconvDevice device);

/* Returns when all work enqueued on the device has finished; a failure of that work is reported here. */
PCONV_API PconvStatus pconvWait(PconvDevice device);

/*
 * The time between two points of a device's queue, on the device's own clock where it has one.
 * pconvStartTimer and pconvStopTimer enqueue marks; pconvGetTimerSeconds waits for the second one. A timer
 * may be used again; reading one that was not started and stopped is invalid.
 */
typedef struct PconvTimer_T* PconvTimer;
PCONV_API PconvStatus pconvCreateTimer(PconvDevice device, PconvTimer* timer);
PCONV_API void pconvReleaseTimer(PconvTimer timer);
PCONV_API PconvStatus pconvStartTimer(PconvTimer timer);
PCONV_API PconvStatus pconvStopTimer(PconvTimer timer);
PCONV_API PconvStatus pconvGetTimerSeconds(PconvTimer timer, double* seconds);

/* ---- Buffers and tensors --------------------------------------------------------------------------------
 */

typedef struct PconvBuffer_T* PconvBuffer;

/* Allocates device memory of `bytes` > 0; its content is undefined. */
PCONV_API PconvStatus pconvCreateBuffer(PconvDevice device, size_t bytes, PconvBuffer* buffer);

/*
 * Lets the device use `bytes` of the caller's memory in place, which must outlive the buffer and the work
 * using it. The caller may touch it between pconvWait and the next enqueued use. A GPU may need page
 * alignment or lack the ability (PCONV_ERROR_UNSUPPORTED): then create a buffer and write it.
 */
PCONV_API PconvStatus pconvImportHostBuffer(PconvDevice device, void* memory, size_t bytes,
                                            PconvBuffer* buffer);

/*
 * Lets the device use device memory of the host: `handle` is a CUdeviceptr (or the pointer of cudaMalloc) or
 * a VkBuffer, and the buffer begins `offset` bytes into it. It is borrowed: it must outlive the buffer and
 * the work using it, and is never freed here. Its extent is the caller's word. A VkBuffer is of the adopted
 * VkDevice, for storage buffers and transfers both ways; `offset` and `bytes` are multiples of 4 there.
 * PCONV_ERROR_INVALID_ARGUMENT for memory that the device does not own.
 */
PCONV_API PconvStatus pconvImportNativeBuffer(PconvDevice device, uint64_t handle, size_t offset,
                                              size_t bytes, PconvBuffer* buffer);

typedef enum PconvMemoryHandleType {
    /* a file descriptor, as vkGetMemoryFdKHR gives for VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT */
    PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD = 0,
    /* on Windows a HANDLE, as vkGetMemoryWin32HandleKHR gives for ..._OPAQUE_WIN32_BIT */
    PCONV_MEMORY_HANDLE_TYPE_OPAQUE_WIN32 = 1
} PconvMemoryHandleType;

/* Memory that another device, interface or process allocated on the same hardware, under the same driver. */
typedef struct PconvExternalMemory {
    size_t struct_size;
    PconvMemoryHandleType handle_type;
    int64_t handle;       /* stays the caller's, who may close it after the call */
    uint64_t size;        /* of the whole allocation, as it was allocated */
    uint64_t offset;      /* where the buffer begins in it */
    uint32_t memory_type; /* on Vulkan devices: its memoryTypeIndex, which cannot be asked for */
    int dedicated;        /* not 0: it was allocated for one VkBuffer or cudaMalloc's like alone */
} PconvExternalMemory;

static inline PconvExternalMemory pconvDefaultExternalMemory(void) {
    PconvExternalMemory memory = {
        sizeof(PconvExternalMemory), PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD, -1, 0, 0, 0, 0};
    return memory;
}

/*
 * Lets the device use `bytes` of such memory in place; `memory` is read at the call only. The memory lives as
 * long as the buffer, whoever else has released it. Nobody's work waits for the other's: what the other has
 * written must be complete before work here is enqueued, and pconvWait comes before the other reads. On
 * CUDA devices, and on Vulkan devices that pconv made itself (PCONV_ERROR_UNSUPPORTED elsewhere; an adopted
 * Vulkan device imports its VkBuffer). Of an image only the memory of a buffer it is copied to can be shared.
 * On Vulkan devices offset and bytes are multiples of 4. Since 0.2.
 */
PCONV_API PconvStatus pconvImportExternalBuffer(PconvDevice device, const PconvExternalMemory* memory,
                                                size_t bytes, PconvBuffer* buffer);
PCONV_API void pconvReleaseBuffer(PconvBuffer buffer);

/* Enqueues a write; `source` may be reused when the call returns. */
PCONV_API PconvStatus pconvWriteBuffer(PconvBuffer buffer, size_t offset, const void* source, size_t bytes);

/* Reads what the work enqueued so far leaves in the buffer; waits for it. */
PCONV_API PconvStatus pconvReadBuffer(PconvBuffer buffer, size_t offset, void* destination, size_t bytes);

PCONV_API PconvStatus pconvGetBufferSize(PconvBuffer buffer, size_t* bytes);

/* The buffer's memory where the host can address it (CPU device, imported host memory), else NULL. */
PCONV_API PconvStatus pconvGetBufferPointer(PconvBuffer buffer, void** pointer);

typedef enum PconvDataType {
    PCONV_DATA_TYPE_F32 = 0,
    PCONV_DATA_TYPE_F16 = 1, /* IEEE binary16 */
    PCONV_DATA_TYPE_BF16 = 2,
    PCONV_DATA_TYPE_U8 = 3, /* binary masks: 0, or anything else for 1 */
    PCONV_DATA_TYPE_BITS =
        4 /* binary masks: 32 elements of a row in a 32-bit word, the first in its lowest bit */
} PconvDataType;

#define PCONV_MAX_SPATIAL_DIMS 3
#define PCONV_MAX_DIMS 5

/*
 * A view of a buffer as an array: dims and strides in PyTorch's order, [N, C, W], [N, C, H, W] or [N, C, D,
 * H, W]. A value, not an object: it owns nothing, and the buffer must be alive when it is used. Strides are
 * in elements and positive; all zero stands for a contiguous array. The element at index i lies at offset +
 * sum(i[d] * strides[d]) * element size. Rows of BITS begin at words: offset is a multiple of 4, all strides
 * but the last are multiples of 32, and all zero stands for rows filled up to whole words; bits beyond a
 * row's end are not looked at.
 */
typedef struct PconvTensor {
    PconvBuffer buffer;
    size_t offset; /* bytes; a multiple of the element size */
    PconvDataType data_type;
    int32_t rank;
    int64_t dims[PCONV_MAX_DIMS];
    int64_t strides[PCONV_MAX_DIMS];
} PconvTensor;

/*
 * Enqueues a copy of `source` into `destination`, of equal dims, on one device, where they do not overlap:
 * between F32, F16 and BF16 (rounded to the nearest, ties to even; beyond the largest F16 is infinity) and
 * between strides of any kind, such as contiguous and channels-last.
 */
PCONV_API PconvStatus pconvConvertTensor(const PconvTensor* source, const PconvTensor* destination);

/* ---- The partial convolution's settings -----------------------------------------------------------------
 */

typedef enum PconvLayout {
    PCONV_LAYOUT_CONTIGUOUS = 0,   /* N C S...: the last dimension has stride 1 */
    PCONV_LAYOUT_CHANNELS_LAST = 1 /* N S... C: the channels have stride 1 */
} PconvLayout;

typedef enum PconvMaskMode {
    PCONV_MASK_MODE_SINGLE_CHANNEL =
        0, /* one plane serves all channels, and its window sum counts one channel */
    PCONV_MASK_MODE_MULTI_CHANNEL =
        1 /* every input channel has its plane; the window sum runs over channels */
} PconvMaskMode;

typedef enum PconvMaskWindow {
    PCONV_MASK_WINDOW_ALL_CHANNELS =
        0, /* multi-channel sums run over all input channels, whatever the groups */
    PCONV_MASK_WINDOW_GROUP_CHANNELS = 1 /* ... over the channels of the output channel's group */
} PconvMaskWindow;

typedef enum PconvMaskType {
    PCONV_MASK_TYPE_NONE = 0,      /* no mask: all valid; partial-convolution padding remains */
    PCONV_MASK_TYPE_BINARY = 1,    /* planes of PCONV_DATA_TYPE_U8 or PCONV_DATA_TYPE_BITS */
    PCONV_MASK_TYPE_FRACTIONAL = 2 /* planes of PCONV_DATA_TYPE_F32, usually in [0, 1] */
} PconvMaskType;

typedef enum PconvNormalization {
    PCONV_NORMALIZATION_WINDOW_RATIO =
        0,                            /* y = (conv(x*m) * win / (s + eps) * u + b) * u, u = clamp(s, 0, 1) */
    PCONV_NORMALIZATION_MASK_SUM = 1, /* y = conv(x*m) / s + b where s > 0, else 0; u = s > 0 */
    PCONV_NORMALIZATION_WEIGHT_MAGNITUDE =
        2 /* the masked convolution: y = (conv(x) + b) * u, u the mask's mean by sums of |w|; odd kernels */
} PconvNormalization;

typedef enum PconvActivation {
    PCONV_ACTIVATION_NONE = 0,
    PCONV_ACTIVATION_RELU = 1,
    PCONV_ACTIVATION_LEAKY_RELU = 2, /* y < 0 ? negative_slope * y : y */
    PCONV_ACTIVATION_GELU = 3        /* y * (1 + erf(y / sqrt(2))) / 2; Hendrycks and Gimpel, 2016 */
} PconvActivation;

typedef enum PconvMath {
    PCONV_MATH_EXACT = 0, /* products of the tensors' own type, accumulated in f32, no transforms */
    PCONV_MATH_FAST = 1   /* also TF32 and Winograd, within the wider bound of docs/semantics.md */
} PconvMath;

/* What lies beyond the input, and beyond its mask alike, as torch.nn.ConvNd's padding_mode has it. */
typedef enum PconvPaddingMode {
    PCONV_PADDING_MODE_ZEROS = 0,     /* nothing: taps there count 0 in the window sum */
    PCONV_PADDING_MODE_REFLECT = 1,   /* c b | a b c | b a; less padding than there is input */
    PCONV_PADDING_MODE_REPLICATE = 2, /* a a | a b c | c c */
    PCONV_PADDING_MODE_CIRCULAR = 3   /* b c | a b c | a b; at most as much padding as there is input */
} PconvPaddingMode;

/* For padding_end: as much behind the input as in front of it. */
#define PCONV_PADDING_AS_IN_FRONT (-1)

/*
 * One partial convolution of a fixed shape. Arrays hold spatial_dims entries in PyTorch's order (H before W);
 * stride, padding, dilation and groups mean what they mean in torch.nn.ConvNd.
 */
typedef struct PconvPartialConvDesc {
    size_t struct_size;
    int32_t spatial_dims; /* 1, 2 or 3 */
    int64_t batch;
    int64_t in_channels;
    int64_t out_channels;
    int64_t groups; /* divides in_channels and out_channels */
    int64_t input_size[PCONV_MAX_SPATIAL_DIMS];
    int64_t kernel[PCONV_MAX_SPATIAL_DIMS];
    int64_t stride[PCONV_MAX_SPATIAL_DIMS];
    int64_t padding[PCONV_MAX_SPATIAL_DIMS]; /* in front, and behind unless padding_end says otherwise */
    int64_t dilation[PCONV_MAX_SPATIAL_DIMS];
    PconvDataType data_type; /* of input, weight, bias and output */
    PconvLayout input_layout;
    PconvLayout output_layout;
    PconvMaskType mask_type;
    PconvMaskMode mask_mode;
    PconvMaskWindow mask_window;
    PconvNormalization normalization;
    double eps; /* added to the window sum; finite, >= 0 */
    PconvActivation activation;
    float negative_slope;
    PconvMath math;
    int32_t has_bias;
    int32_t input_is_masked; /* the input is known to be 0 in the holes: it need not be masked again */
    int32_t training;        /* also prepare pconvBackwardPartialConv; needs PCONV_ACTIVATION_NONE */
    const char*
        implementation; /* pins a row such as "cpu:onednn"; NULL: PCONV_IMPL, else the preferred one */
    int64_t padding_end[PCONV_MAX_SPATIAL_DIMS]; /* behind; PCONV_PADDING_AS_IN_FRONT: as `padding` */
    PconvPaddingMode padding_mode;
} PconvPartialConvDesc;

/* Batch, channels and groups 1; sizes 0 (to be set); kernel, stride and dilation 1; padding 0 on both sides,
   of zeros; f32, contiguous, binary single-channel mask, window ratio with eps 1e-8, exact, with bias, no
   activation. */
static inline PconvPartialConvDesc pconvDefaultPartialConvDesc(int32_t spatial_dims) {
    PconvPartialConvDesc desc;
    int i;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc;
    desc.spatial_dims = spatial_dims;
    desc.batch = 1;
    desc.in_channels = 1;
    desc.out_channels = 1;
    desc.groups = 1;
    for (i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i) {
        desc.kernel[i] = 1;
        desc.stride[i] = 1;
        desc.dilation[i] = 1;
        desc.padding_end[i] = PCONV_PADDING_AS_IN_FRONT;
    }
    desc.mask_type = PCONV_MASK_TYPE_BINARY;
    desc.eps = 1e-8;
    desc.negative_slope = 0.01F;
    desc.has_bias = 1;
    return desc;
}

/* The spatial size of the output, (size + padding in front and behind - dilation * (kernel - 1) - 1) / stride
   + 1 in each dimension. Checks the whole descriptor. */
PCONV_API PconvStatus pconvGetOutputSize(const PconvPartialConvDesc* desc,
                                         int64_t output_size[PCONV_MAX_SPATIAL_DIMS]);

/* ---- Implementations: the rows a device offers, in order of preference ----------------------------------
 */

typedef struct PconvImplementationInfo {
    size_t struct_size;
    char name[32];     /* "vulkan:direct" */
    int32_t supported; /* it can do `desc` on this device */
    char reason[256];  /* why not; "" where it can */
} PconvImplementationInfo;

static inline PconvImplementationInfo pconvDefaultImplementationInfo(void) {
    PconvImplementationInfo info = {sizeof(PconvImplementationInfo), {0}, 0, {0}};
    return info;
}

PCONV_API PconvStatus pconvGetImplementationCount(PconvDevice device, int32_t* count);
PCONV_API PconvStatus pconvGetImplementationInfo(PconvDevice device, int32_t index,
                                                 const PconvPartialConvDesc* desc,
                                                 PconvImplementationInfo* info);

/* ---- Masks ----------------------------------------------------------------------------------------------
 */

typedef enum PconvMaskPolarity {
    PCONV_MASK_VALID_IS_ONE = 0, /* 1 where the input is valid: the convention of the papers */
    PCONV_MASK_HOLE_IS_ONE = 1   /* 1 in the holes: the convention of image editors */
} PconvMaskPolarity;

/*
 * Planes [N or 1, P, S...], each of which serves `multiplicity` consecutive input channels. A U-Net's skip
 * connection has two segments of one plane; a mask that gives every channel its own plane has one segment of
 * P = in_channels. Strides as in any tensor, with the last dimension's 1.
 */
typedef struct PconvMaskSegment {
    PconvTensor planes;
    int64_t multiplicity; /* >= 1 */
} PconvMaskSegment;

/*
 * Segments one after another: in multi-channel mode the sum of P * multiplicity is in_channels; in
 * single-channel mode there is one plane (its multiplicity is not looked at). Batch sizes of all segments are
 * equal.
 */
typedef struct PconvMask {
    size_t struct_size;
    PconvMaskPolarity polarity;
    int32_t segment_count;
    const PconvMaskSegment* segments;
} PconvMask;

static inline PconvMask pconvDefaultMask(void) {
    PconvMask mask = {sizeof(PconvMask), PCONV_MASK_VALID_IS_ONE, 0, NULL};
    return mask;
}

/* ---- Mask updates: what a mask gives under a window, made once and used by any number of convolutions ----
 */

typedef struct PconvMaskUpdate_T* PconvMaskUpdate;

/*
 * Prepares the mask side of `desc` for masks of the form of `mask`: its segments, batch, strides and
 * polarity; the contents are not read. `mask` is NULL exactly where desc->mask_type is PCONV_MASK_TYPE_NONE.
 */
PCONV_API PconvStatus pconvCreateMaskUpdate(PconvDevice device, const PconvPartialConvDesc* desc,
                                            const PconvMask* mask, PconvMaskUpdate* update);
PCONV_API void pconvReleaseMaskUpdate(PconvMaskUpdate update);

/*
 * Enqueues the sums of |weight| that a masked convolution (PCONV_NORMALIZATION_WEIGHT_MAGNITUDE) with a mask
 * needs on its mask side, from the weight that the convolution has. Must be called before the first
 * computation, and again when the weight changes. Invalid for other updates.
 */
PCONV_API PconvStatus pconvSetMaskUpdateWeights(PconvMaskUpdate update, const PconvTensor* weight);

/*
 * Enqueues the computation for the present contents of `mask`, which has the prepared form (NULL where there
 * is no mask). Must be called before the first use, and again whenever the contents have changed. The planes
 * must stay unchanged until the convolutions using the update have run; their buffers are kept alive.
 */
PCONV_API PconvStatus pconvComputeMaskUpdate(PconvMaskUpdate update, const PconvMask* mask);

/*
 * Views of the results, [N or 1, 1 or groups, O...], contiguous, alive as long as the update: the window sum
 * s (F32), the updated mask u (U8 for binary and absent masks, else F32), the ratio r (F32). Any pointer may
 * be NULL. The batch is that of the mask, 1 where it is absent. `updated_mask` may serve as a plane of the
 * next mask. A masked convolution has one updated mask per output channel (F32; with no mask one, U8) and
 * nothing else: the other views come without a buffer.
 */
PCONV_API PconvStatus pconvGetMaskUpdateTensors(PconvMaskUpdate update, PconvTensor* window_sum,
                                                PconvTensor* updated_mask, PconvTensor* ratio);

/* ---- The partial convolution ----------------------------------------------------------------------------
 */

typedef struct PconvPartialConv_T* PconvPartialConv;

/* Chooses an implementation and does everything slow: compiles, plans, allocates. */
PCONV_API PconvStatus pconvCreatePartialConv(PconvDevice device, const PconvPartialConvDesc* desc,
                                             PconvPartialConv* conv);
PCONV_API void pconvReleasePartialConv(PconvPartialConv conv);

/* The name of the implementation chosen; alive as long as `conv`. */
PCONV_API PconvStatus pconvGetPartialConvImplementation(PconvPartialConv conv, const char** name);

/*
 * Enqueues the packing of weight [Cout, Cin / groups, K...] and bias [Cout], both contiguous. Must be called
 * before the first forward, and again when they change. `bias` is NULL exactly where desc->has_bias is 0. The
 * tensors may be released or overwritten by later enqueued work: `conv` holds its own copy.
 */
PCONV_API PconvStatus pconvSetPartialConvWeights(PconvPartialConv conv, const PconvTensor* weight,
                                                 const PconvTensor* bias);

/*
 * Enqueues one forward pass. `update` was made on the same device for the same window (spatial sizes, kernel,
 * stride, padding and its mode, dilation, mask settings) and has been computed. `input` [N, Cin, S...] and
 * `output` [N, Cout, O...] may have any outer strides, with the stride of 1 that the descriptor's layout
 * states, and must not overlap each other. Where the mask is 0 the input is never read into the arithmetic;
 * where the updated mask is 0 the output is exactly 0 before the activation.
 */
PCONV_API PconvStatus pconvForwardPartialConv(PconvPartialConv conv, PconvMaskUpdate update,
                                              const PconvTensor* input, const PconvTensor* output);

/*
 * Where the gradients go, of the descriptor's data type; NULL for one that is not wanted. None may overlap
 * another tensor of the call.
 */
typedef struct PconvGradients {
    size_t struct_size;
    const PconvTensor* grad_input;  /* [N, Cin, S...] in the input's layout */
    const PconvTensor* grad_weight; /* [Cout, Cin / groups, K...], contiguous */
    const PconvTensor* grad_bias;   /* [Cout], contiguous; NULL where has_bias is 0 */
    int32_t accumulate;             /* 1: added to what the tensors hold; 0: what they hold is not read */
} PconvGradients;

static inline PconvGradients pconvDefaultGradients(void) {
    PconvGradients gradients = {sizeof(PconvGradients), NULL, NULL, NULL, 0};
    return gradients;
}

/*
 * Enqueues the backward pass of a convolution made with `training`: from the input of its forward pass, the
 * mask update used there and the gradient of its output. No gradient flows into the mask. With u the updated
 * mask and r the ratio, dc = grad_output * r (* u where there is a bias); grad_input = m *
 * conv_transposed(dc, W); grad_weight = correlation(input * m, dc); grad_bias = sum(grad_output * u). With
 * input_is_masked, m is 1 wherever the mask is not 0. Two runs give the same bits.
 */
PCONV_API PconvStatus pconvBackwardPartialConv(PconvPartialConv conv, PconvMaskUpdate update,
                                               const PconvTensor* input, const PconvTensor* grad_output,
                                               const PconvGradients* gradients);

/* ---- Masked normalization and pooling (masked_torch) -----------------------------------------------------
 */

/*
 * Settings of both operators on x [N, C, S...]. Masks are PconvMask with C channels in multi-channel form:
 * one plane for all is a segment of multiplicity C. Where the mask is 0, x counts as 0, whatever it holds;
 * fractional values are not multiplied in again: x is taken to be masked already, as the output of a masked
 * operator is.
 */
typedef struct PconvMaskedNormDesc {
    size_t struct_size;
    int32_t spatial_dims;
    int64_t batch;
    int64_t channels;
    int64_t size[PCONV_MAX_SPATIAL_DIMS];
    PconvDataType data_type; /* of input and output */
    PconvLayout layout;      /* of input and output */
    PconvMaskType mask_type;
    double eps;
    int32_t training; /* batch normalization: 1 for the statistics of this batch, 0 for the running ones */
    double momentum;  /* batch normalization: running = (1 - momentum) * running + momentum * batch */
} PconvMaskedNormDesc;

/* Sizes 0 (to be set), f32, contiguous, binary mask, inference, momentum 0.1; eps 1e-5, which is batch
   normalization's: the spatial mean's own is 1e-8. */
static inline PconvMaskedNormDesc pconvDefaultMaskedNormDesc(int32_t spatial_dims) {
    PconvMaskedNormDesc desc;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc;
    desc.spatial_dims = spatial_dims;
    desc.batch = 1;
    desc.channels = 1;
    desc.mask_type = PCONV_MASK_TYPE_BINARY;
    desc.eps = 1e-5;
    desc.momentum = 0.1;
    return desc;
}

typedef struct PconvMaskedBatchNorm_T* PconvMaskedBatchNorm;

/* F32 vectors [C]. weight and bias are both given or both NULL. The running statistics are needed, both,
   without `training`; with it they are updated where given. */
typedef struct PconvBatchNormParameters {
    size_t struct_size;
    const PconvTensor* weight;
    const PconvTensor* bias;
    const PconvTensor* running_mean;
    const PconvTensor* running_var;
} PconvBatchNormParameters;

static inline PconvBatchNormParameters pconvDefaultBatchNormParameters(void) {
    PconvBatchNormParameters parameters = {sizeof(PconvBatchNormParameters), NULL, NULL, NULL, NULL};
    return parameters;
}

/* Prepares y = (x - mean) / sqrt(var + eps) * weight + bias for masks of the form of `mask` (NULL where
   mask_type is NONE). Training statistics, with n = sum of m over a channel: mean = sum of x / n, var = sum
   of ((x - mean) * m)^2 / n, and 0 and 0 where n is 0. */
PCONV_API PconvStatus pconvCreateMaskedBatchNorm(PconvDevice device, const PconvMaskedNormDesc* desc,
                                                 const PconvMask* mask, PconvMaskedBatchNorm* norm);
PCONV_API void pconvReleaseMaskedBatchNorm(PconvMaskedBatchNorm norm);

/* Enqueues. `output` may be `input` itself, of equal strides. */
PCONV_API PconvStatus pconvForwardMaskedBatchNorm(PconvMaskedBatchNorm norm, const PconvMask* mask,
                                                  const PconvTensor* input,
                                                  const PconvBatchNormParameters* parameters,
                                                  const PconvTensor* output);

typedef struct PconvMaskedSpatialMean_T* PconvMaskedSpatialMean;

/* Prepares y[n, c] = sum of x / (sum of m + eps), and the mask's own mean; the plain mean where there is no
 * mask. */
PCONV_API PconvStatus pconvCreateMaskedSpatialMean(PconvDevice device, const PconvMaskedNormDesc* desc,
                                                   const PconvMask* mask, PconvMaskedSpatialMean* mean);
PCONV_API void pconvReleaseMaskedSpatialMean(PconvMaskedSpatialMean mean);

/* Enqueues. `output` is [N, C] of the descriptor's type, `output_mask` [N or 1, C] in F32 with the mask's
   batch, NULL if not wanted or without a mask; both contiguous. */
PCONV_API PconvStatus pconvForwardMaskedSpatialMean(PconvMaskedSpatialMean mean, const PconvMask* mask,
                                                    const PconvTensor* input, const PconvTensor* output,
                                                    const PconvTensor* output_mask);

#ifdef __cplusplus
}
#endif

#endif /* PCONV_PCONV_H */
