// A convolution to be measured, for pconv and its peers alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct ConvShape {
    int64_t batch;
    int64_t in_channels;
    int64_t out_channels;
    std::vector<int64_t> input;
    int64_t kernel;
    int64_t stride;
    int64_t padding;

    std::vector<int64_t> output() const {
        std::vector<int64_t> size;
        for (const int64_t i : input) size.push_back((i + 2 * padding - kernel) / stride + 1);
        return size;
    }
    std::vector<int64_t> inputDims() const { return dims(batch, in_channels, input); }
    std::vector<int64_t> outputDims() const { return dims(batch, out_channels, output()); }
    // `planes` of a mask that serves the whole batch.
    std::vector<int64_t> maskDims(int64_t planes) const { return dims(1, planes, input); }
    std::vector<int64_t> weightDims() const {
        return dims(out_channels, in_channels, std::vector<int64_t>(input.size(), kernel));
    }
    // "[1,32,128,128]->64 k3 s1"
    std::string name() const {
        std::string text = "[" + std::to_string(batch) + "," + std::to_string(in_channels);
        for (const int64_t i : input) text += "," + std::to_string(i);
        return text + "]->" + std::to_string(out_channels) + " k" + std::to_string(kernel) + " s" +
               std::to_string(stride);
    }

    static int64_t count(const std::vector<int64_t>& all) {
        int64_t product = 1;
        for (const int64_t i : all) product *= i;
        return product;
    }

  private:
    static std::vector<int64_t> dims(int64_t first, int64_t second, const std::vector<int64_t>& rest) {
        std::vector<int64_t> all{first, second};
        all.insert(all.end(), rest.begin(), rest.end());
        return all;
    }
};

// What forward passes are measured with.
inline const ConvShape kForwardShapes[] = {
    {1, 32, 64, {128, 128}, 3, 1, 1}, {1, 3, 64, {256, 256}, 7, 2, 3},   {1, 64, 128, {128, 128}, 5, 2, 2},
    {1, 128, 256, {64, 64}, 3, 1, 1}, {2, 32, 64, {8, 64, 64}, 3, 1, 1},
};
