// What layers and networks are measured with alike.
#pragma once

#include <memory>

#include "bench/layer.h"

namespace pconv::app {

/// The tensors of one call; gradients where the settings ask for the backward pass.
struct OperandSet {
    OperandSet(const BenchDevice& bench, const SeedRow& row, std::uint32_t seed);
    Tensor input, output;
    std::optional<Tensor> planes, grad_output, grad_input;
    PconvTensor input_view, output_view, grad_output_view{}, grad_input_view{};
};

/// The plain contender that `make` makes, or null and the reason why the device has none.
template <typename Make>
auto plainContender(RowResult& result, const Make& make) -> decltype(make()) {
    try {
        return make();
    } catch (const Error& error) {
        result.plain_fault = faultOf(error);
        return nullptr;
    }
}

/// The row's result with what `measure` fills in, or with the fault that ended it.
template <typename Measure>
RowResult resultOf(BenchDevice& bench, const SeedRow& row, const Measure& measure) {
    RowResult result;
    result.row = row;
    result.footprint = footprintOf(bench, row);
    try {
        measure(bench, result);
    } catch (const Error& error) {
        result.fault = faultOf(error);
    }
    return result;
}

}  // namespace pconv::app
