// Problems made for tests: shapes in one line, data and masks from a seed.
#pragma once

#include <random>
#include <utility>
#include <vector>

#include "conformance/problem.h"

namespace pconv::test {

// The same value in each of `dims` dimensions, where one is given.
Problem makeProblem(int64_t batch, int64_t in_channels, int64_t out_channels, std::vector<int64_t> size,
                    int64_t kernel, int64_t stride = 1, int64_t padding = 0, int64_t dilation = 1,
                    int64_t groups = 1);

// Numbers in [-1, 1], which meet no bound by chance.
void fillUniform(Problem& problem, uint32_t seed);

// Integers of at most `most`, so that every sum of products is exact in f32.
void fillIntegers(Problem& problem, uint32_t seed, int most);

enum class MaskContent {
    binary,
    eighths,   // multiples of 1/8, whose sums are exact in f32
    fractions  // any
};

// One plane for all channels. Rectangles of holes and of valid pixels, and single pixels of both.
void addPlane(Problem& problem, uint32_t seed, MaskContent content, int64_t mask_batch);

// Multi-channel masks: segments of (planes, multiplicity).
void addSegments(Problem& problem, uint32_t seed, MaskContent content, int64_t mask_batch,
                 const std::vector<std::pair<int64_t, int64_t>>& segments);

void removeMask(Problem& problem);

// Puts `value` wherever the mask is 0.
void fillHoles(Problem& problem, float value);

}  // namespace pconv::test
