#include "bench/operands.h"

namespace pconv::app {

OperandSet::OperandSet(const BenchDevice& bench, const SeedRow& row, std::uint32_t seed)
    : input(bench.randomTensor(row.inputDims(), seed)),
      output(bench.tensor(row.outputDims())),
      planes(maskPlanes(bench, row, seed)),
      input_view(bench.inLayout(input)),
      output_view(bench.inLayout(output)) {
    if (!bench.settings().backward) return;
    grad_output.emplace(bench.randomTensor(row.outputDims(), seed + 1));
    grad_input.emplace(bench.tensor(row.inputDims()));
    grad_output_view = bench.inLayout(*grad_output);
    grad_input_view = bench.inLayout(*grad_input);
}

}  // namespace pconv::app
