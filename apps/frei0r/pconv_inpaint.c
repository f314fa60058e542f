/*
 * A filter of frei0r, for ffmpeg, Kdenlive and Shotcut: fills the hole of every frame, which is what the mask
 * picture shows in white, or without one what is transparent. A frame depends on itself alone, so that the
 * same frame and hole give the same fill.
 */
#include <frei0r.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pconv/inpaint.h"

enum { kMask, kDevice, kParameters };

typedef struct Instance {
    unsigned int width, height;
    char* texts[kParameters];
    uint8_t* mask; /* of the picture, NULL where it is not read yet or there is none */
    uint8_t* alpha;
    PconvDevice device;
    PconvInpainter inpainter;
    int is_faulty; /* said once, and then frames pass as they are */
} Instance;

int f0r_init(void) {
    return 1;
}

void f0r_deinit(void) {}

void f0r_get_plugin_info(f0r_plugin_info_t* info) {
    info->name = "pconv inpaint";
    info->author = "The pconv developers";
    info->plugin_type = F0R_PLUGIN_TYPE_FILTER;
    info->color_model = F0R_COLOR_MODEL_RGBA8888;
    info->frei0r_version = FREI0R_MAJOR_VERSION;
    info->major_version = PCONV_VERSION_MAJOR;
    info->minor_version = PCONV_VERSION_MINOR;
    info->num_params = kParameters;
    info->explanation = "Fills what is transparent, or white in a mask, from what is around it";
}

void f0r_get_param_info(f0r_param_info_t* info, int index) {
    info->type = F0R_PARAM_STRING;
    info->name = index == kMask ? "Mask" : "Device";
    info->explanation =
        index == kMask
            ? "A PNG picture as large as the frames whose white is filled; empty: what is transparent is"
            : "What to compute on: cpu, vulkan, cuda, or part of a device's name; empty: cpu";
}

static char* copyOf(const char* text) {
    char* copy = malloc(strlen(text) + 1);
    return copy == NULL ? NULL : strcpy(copy, text);
}

f0r_instance_t f0r_construct(unsigned int width, unsigned int height) {
    Instance* instance = calloc(1, sizeof *instance);
    if (instance == NULL) return NULL;
    instance->width = width;
    instance->height = height;
    instance->texts[kMask] = copyOf("");
    instance->texts[kDevice] = copyOf("");
    instance->alpha = malloc((size_t)width * height);
    if (instance->texts[kMask] != NULL && instance->texts[kDevice] != NULL && instance->alpha != NULL)
        return instance;
    f0r_destruct(instance);
    return NULL;
}

/* What was opened under other settings. */
static void forget(Instance* instance) {
    pconvReleaseInpainter(instance->inpainter);
    pconvReleaseDevice(instance->device);
    free(instance->mask);
    instance->inpainter = NULL;
    instance->device = NULL;
    instance->mask = NULL;
    instance->is_faulty = 0;
}

void f0r_destruct(f0r_instance_t handle) {
    Instance* instance = handle;
    if (instance == NULL) return;
    forget(instance);
    free(instance->texts[kMask]);
    free(instance->texts[kDevice]);
    free(instance->alpha);
    free(instance);
}

void f0r_set_param_value(f0r_instance_t handle, f0r_param_t value, int index) {
    Instance* instance = handle;
    const char* text = *(char**)value;
    char* copy;
    if (index < 0 || index >= kParameters || text == NULL || strcmp(text, instance->texts[index]) == 0)
        return;
    copy = copyOf(text);
    if (copy == NULL) return;
    free(instance->texts[index]);
    instance->texts[index] = copy;
    forget(instance);
}

void f0r_get_param_value(f0r_instance_t handle, f0r_param_t value, int index) {
    Instance* instance = handle;
    if (index >= 0 && index < kParameters) *(char**)value = instance->texts[index];
}

static int fault(Instance* instance, const char* what, const char* why) {
    fprintf(stderr, "pconv: %s%s; frames pass as they are\n", what, why);
    instance->is_faulty = 1;
    return 0;
}

static int readMask(Instance* instance) {
    png_image png;
    char size[96];
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_file(&png, instance->texts[kMask]))
        return fault(instance, "the mask cannot be read: ", png.message);
    if (png.width != instance->width || png.height != instance->height) {
        snprintf(size, sizeof size, "%ux%u pixels; expected %ux%u, the frames' size", png.width, png.height,
                 instance->width, instance->height);
        png_image_free(&png);
        return fault(instance, "the mask has ", size);
    }
    png.format = PNG_FORMAT_GRAY;
    instance->mask = malloc(PNG_IMAGE_SIZE(png));
    if (instance->mask == NULL) {
        png_image_free(&png);
        return fault(instance, "there is no memory for the mask", "");
    }
    if (!png_image_finish_read(&png, NULL, instance->mask, 0, NULL))
        return fault(instance, "the mask cannot be read: ", png.message);
    return 1;
}

static int prepare(Instance* instance) {
    const char* device = instance->texts[kDevice];
    if (instance->is_faulty) return 0;
    if (instance->mask == NULL && instance->texts[kMask][0] != '\0' && !readMask(instance)) return 0;
    if (instance->inpainter != NULL) return 1;
    if (pconvCreateDevice(device[0] != '\0' ? device : "cpu", NULL, &instance->device) != PCONV_SUCCESS ||
        pconvCreateInpainter(instance->device, &instance->inpainter) != PCONV_SUCCESS)
        return fault(instance, pconvGetLastError(), "");
    return 1;
}

void f0r_update(f0r_instance_t handle, double time, const uint32_t* in, uint32_t* out) {
    Instance* instance = handle;
    const size_t pixels = (size_t)instance->width * instance->height;
    uint8_t* samples = (uint8_t*)out;
    const int by_mask = instance->texts[kMask][0] != '\0';
    PconvImage image = pconvDefaultImage();
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    size_t i;
    (void)time;
    if (out != in) memcpy(out, in, pixels * sizeof *out);
    if (!prepare(instance)) return;
    if (!by_mask)
        for (i = 0; i < pixels; ++i) instance->alpha[i] = samples[4 * i + 3];
    image.pixels = out;
    image.width = instance->width;
    image.height = instance->height;
    image.pixel_stride = 4;
    options.polarity = by_mask ? PCONV_MASK_HOLE_IS_ONE : PCONV_MASK_VALID_IS_ONE;
    options.mask_levels = by_mask ? PCONV_MASK_LEVELS_BLEND : PCONV_MASK_LEVELS_CONFIDENCE;
    if (pconvRunInpainter(instance->inpainter, &image, by_mask ? instance->mask : instance->alpha,
                          &options) != PCONV_SUCCESS) {
        fault(instance, pconvGetLastError(), "");
        return;
    }
    for (i = 0; i < pixels; ++i)
        if (!by_mask || instance->mask[i] != 0) samples[4 * i + 3] = 255;
}
