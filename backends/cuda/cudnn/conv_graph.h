// The operation graphs that cuda:cudnn asks of cuDNN: a convolution or one of its gradients, with the partial
// convolution's own arithmetic in the epilogue where cuDNN fuses it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "backend.h"
#include "cuda/cudnn/target.h"

namespace pconv::cuda {

enum class ConvPass { forward, grad_input, grad_weight };

// All that distinguishes one graph from another. Activations are dense in one layout, as are weights, in the
// order of PyTorch's channels_last or contiguous; the ratio and the updated mask are f32 planes [N, 1, O...].
struct CudnnConv {
    ConvPass pass = ConvPass::forward;
    int64_t batch = 1, in_channels = 1, out_channels = 1, groups = 1;
    Window window;
    DataType data_type = DataType::f32;
    bool exact = false;  // f32: no engine that rounds its inputs or transforms them
    Layout layout = Layout::channels_last;
    // Forward: (x * w) * ratio, then with a bias (+ bias) * updated mask, then the activation.
    // Gradient of the input: times the mask, [N, 1, S...] in f32.
    bool fused = false;
    bool plain = false;  // forward: neither ratio nor updated mask
    // Forward, where nothing is fused: y is f32 whatever the type, for a pass that finishes it.
    bool wide_output = false;
    bool has_bias = false;
    Activation activation = Activation::none;
    float negative_slope = 0;

    // Three dimensions where the convolution has depth, else two: a line is a picture of one row.
    int spatialDims() const;
    // A text that is equal for equal graphs: the key of the plan cache.
    std::string key() const;
    // The sizes of the tensors that the graph reads and writes, by their ids.
    std::vector<std::pair<int64_t, size_t>> tensorBytes() const;
};

// The tensors of a graph, as its variant pack names them.
enum CudnnTensorId : int64_t {
    kTensorX = 1,  // input, or its gradient
    kTensorW = 2,  // weight, or its gradient
    kTensorY = 3,  // output, or its gradient
    kTensorRatio = 4,
    kTensorBias = 5,
    kTensorUpdated = 6,
    kTensorMask = 7
};

// A finalized operation graph with what it refers to.
class CudnnGraph {
  public:
    CudnnGraph(const CudnnConv& conv, const CudnnTarget& target);
    const CudnnDescriptor& descriptor() const { return graph_; }

  private:
    const CudnnDescriptor& tensor(int64_t id, DataType type, int64_t rows, int64_t channels,
                                  const Dims3& size, bool is_virtual);
    const CudnnDescriptor& between();
    void addConvolution(const CudnnDescriptor& x, const CudnnDescriptor& w, const CudnnDescriptor& y);
    void addPointwise(cudnnPointwiseMode_t mode, const CudnnDescriptor& x, const CudnnDescriptor* b,
                      const CudnnDescriptor& y);

    CudnnConv conv_;
    int64_t next_virtual_ = 100;
    std::vector<CudnnDescriptor> tensors_, settings_, operations_;
    CudnnDescriptor graph_;
};

}  // namespace pconv::cuda
