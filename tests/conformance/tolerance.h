// How far a result may be from the oracle's, element by element.
//
// With u = 2^-24 the rounding unit of f32, S1 = sum |x*w|, S2 = sqrt(sum (x*w)^2), g what the convolution is
// multiplied by (r * u where there is a bias, r where there is none) and b the bias:
//
//     |err| <= g * (16 u S1 + 8 u_in S2) + 4 u (|y| + |b|) + u_out |y|
//
// 16 u S1 is for the products and the f32 accumulation, and for the ratio, which multiplies all of it;
// Winograd transforms get ten times that. 8 u_in S2 is for inputs and weights that the device rounds and the
// oracle does not: u_in is 2^-11 for TF32 and f16 and 2^-8 for bf16, and 0 for exact f32 math, where both see
// the same numbers. The rest is for the epilogue and for storing y. An activation multiplies all of it but
// the last term by its steepest slope, and GELU adds 16 u |y| for its own arithmetic, y now being its result.
#pragma once

#include <string>
#include <vector>

#include "conformance/oracle.h"

namespace pconv::test {

constexpr double kF32Unit = 0x1p-24;
constexpr double kGeluUnits = 16;

struct Units {
    double input = 0;          // u_in
    double output = kF32Unit;  // u_out
    double smallest = 0;       // half the distance of the type's smallest numbers
};

// Of tensors whose numbers are already rounded to the type, so that only what is stored is rounded again.
Units unitsOf(PconvDataType type);

// The worst element of a comparison.
struct Verdict {
    bool within = true;   // every element lies within its bound
    double worst = 0;     // the largest error as a part of its bound
    std::string message;  // about the worst element; "" where all lie within
};

std::vector<double> outputBounds(const Problem& problem, const Answer& answer, const Units& units = {});

// Window sums of binary masks are integers and must be exact; sums of n fractional values in f32 are off by
// at most (n + 2) u times the sum of their magnitudes.
std::vector<double> windowSumBounds(const Problem& problem, const Answer& answer);
// 16 u times the sum of the magnitudes of what is added up, as for the output, and the rounding of the
// result. In a 16-bit type, dc may be rounded to it as well: u_out times that sum.
std::vector<double> gradientBounds(const std::vector<double>& gradient, const std::vector<double>& magnitude,
                                   const Units& units = {});
// Of grad_input: where padding other than zeros gives an element more than one image, their gradients are
// rounded to the type before they are summed: u_out times the sum of their magnitudes.
std::vector<double> inputGradientBounds(const Answer& answer, const Units& units);

// As the window sum's, except that a mask that is 1 by more than that is exactly 1.
std::vector<double> updatedMaskBounds(const Problem& problem, const Answer& answer);
// A division and two products on top of the window sum, which is in it twice.
std::vector<double> ratioBounds(const Problem& problem, const Answer& answer);

Verdict compare(const std::string& what, const std::vector<double>& expected,
                const std::vector<double>& bounds, const std::vector<float>& got);

}  // namespace pconv::test
