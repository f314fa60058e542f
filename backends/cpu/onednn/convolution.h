// oneDNN's plain convolution of one box, in whichever scratch layout suits it, for oneDNN 2 and 3.
#pragma once

#include <dnnl.hpp>
#include <optional>
#include <string>
#include <unordered_map>

#include "cpu/onednn/plan.h"

namespace pconv::cpu {

// Lets oneDNN make primitives for one thread and run them on the calling one, without a team of OpenMP's: the
// threads are the device's own.
class OneThread {
  public:
    OneThread();
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;
    ~OneThread();

  private:
    int before_;
};

[[noreturn]] void failFrom(const dnnl::error& error);

// Runs a primitive on the calling thread, to its end.
void runAlone(const dnnl::engine& engine, const dnnl::primitive& primitive,
              const std::unordered_map<int, dnnl::memory>& arguments);

enum class ScratchLayout { channels_last, blocked16, blocked8, planar };

// Channels that lie together at a pixel.
int64_t blockOf(ScratchLayout layout, int64_t channels);

// The convolution of a box without mask and epilogue.
struct PlainConv {
    int64_t batch, in_channels, out_channels, groups;
    std::array<Span, 3> spans;
    Window window;

    bool threeDimensional() const {
        return window.input[0] > 1 || window.kernel[0] > 1 || window.output[0] > 1;
    }
    dnnl::memory::dims inputDims() const;
    dnnl::memory::dims outputDims() const;
    dnnl::memory::dims weightDims() const;
    dnnl::memory::desc userWeights() const;
};

// The parts of oneDNN's descriptions of it.
struct ConvTerms {
    explicit ConvTerms(const PlainConv& conv);
    dnnl::memory::dims strides, dilates, begin, end;
};

inline constexpr ScratchLayout kLayouts[] = {ScratchLayout::channels_last, ScratchLayout::blocked16,
                                             ScratchLayout::blocked8, ScratchLayout::planar};

dnnl::memory::desc scratchDesc(const dnnl::memory::dims& dims, ScratchLayout layout);
// In whatever layout oneDNN likes.
dnnl::memory::desc anyDesc(const dnnl::memory::dims& dims);
std::optional<ScratchLayout> layoutOf(const dnnl::memory::desc& desc, const dnnl::memory::dims& dims);
// What an implementation is made of, the slowest first: plain loops are a hundred times slower than a
// product.
enum class Kernel { loops, matrix_product, vectors };
Kernel kernelOf(const std::string& implementation);

// From one layout to another, by any number of threads at once: scratch memory of the primitive's own, which
// oneDNN takes unless told otherwise, would be shared by them.
class Reorder {
  public:
    Reorder() = default;
    Reorder(const dnnl::engine& engine, const dnnl::memory::desc& from, const dnnl::memory::desc& to,
            dnnl::primitive_attr attributes = {});
    // Returns when it is done.
    void run(const dnnl::engine& engine, const dnnl::memory& from, const dnnl::memory& to) const;

  private:
    dnnl::reorder primitive_;
    dnnl::memory::desc scratchpad_;
};

struct Primitive {
    dnnl::convolution_forward::primitive_desc desc;
    ScratchLayout input, output;
    Kernel kernel;
};

// The best one; without layouts to keep to, in the layouts oneDNN prefers.
std::optional<Primitive> choosePrimitive(const dnnl::engine& engine, const PlainConv& conv);
std::optional<Primitive> choosePrimitive(const dnnl::engine& engine, const PlainConv& conv,
                                         ScratchLayout input, ScratchLayout output);

}  // namespace pconv::cpu
