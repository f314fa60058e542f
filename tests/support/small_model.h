// Model files whose networks a reader can work out, for tests of what is done with networks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "files/atomic_file.h"
#include "files/safetensors.h"

namespace pconv::test {

// Halves twice, quadruples, joins with the input, averages: a smooth picture is filled smoothly.
inline constexpr const char* kSmallModel =
    R"({"format":1,"name":"small","input":{"channels":3,"mask_planes":1,"size_multiple":4},"layers":[
{"type":"partial_conv","name":"enc1","channels":3,"kernel":[3,3],"stride":[2,2],"padding":[1,1]},
{"type":"partial_conv","name":"enc2","channels":3,"kernel":[3,3],"stride":[2,2],"padding":[1,1]},
{"type":"upsample","factor":[4,4],"interpolation":"linear"},
{"type":"concat","inputs":["previous","input"]},
{"type":"partial_conv","name":"dec1","channels":3,"kernel":[5,5],"padding":[2,2],"mask_mode":"multi_channel"}]})";

// With weights by which each output channel is the mean of its own channel under the window.
inline void writeSmallModel(const std::filesystem::path& path, const std::string& json = kSmallModel) {
    const float zeros[3] = {0, 0, 0};
    std::vector<std::vector<float>> values;
    std::vector<SafetensorsOutput> tensors;
    values.reserve(3);
    const auto add = [&](const std::string& name, uint64_t in, uint64_t kernel) {
        std::vector<float> weight(3 * in * kernel * kernel, 0.0F);
        for (uint64_t c = 0; c < 3; ++c)
            for (uint64_t j = c; j < in; j += 3)
                for (uint64_t k = 0; k < kernel * kernel; ++k)
                    weight[(c * in + j) * kernel * kernel + k] =
                        3.0F / static_cast<float>(in * kernel * kernel);
        values.push_back(std::move(weight));
        tensors.push_back({name + ".weight", "F32", {3, in, kernel, kernel}, values.back().data()});
        tensors.push_back({name + ".bias", "F32", {3}, zeros});
    };
    add("enc1", 3, 3);
    add("enc2", 3, 3);
    add("dec1", 6, 5);
    AtomicFile file(path);
    writeSafetensors(file, tensors, {{"pconv.network", json}});
    file.commit();
}

// Six classes by how red the mean of 28x28 pixels is.
inline void writeSmallClassifier(const std::filesystem::path& path) {
    const std::string json =
        R"({"format":1,"name":"redness","input":{"channels":3,"mean":[0.5,0.5,0.5],"deviation":[0.25,0.25,0.25],)"
        R"("mask":"none","fixed_size":28},"output":{"classes":6},"layers":[{"type":"average_pool","kernel":[0,0]},)"
        R"({"type":"linear","name":"fc","channels":6}]})";
    const float weight[6][3] = {{-1, 0, 0}, {0, 0, 0}, {0.5, 0, 0}, {0.25, 0, 0}, {1, 0, 0}, {-0.5, 0, 0}};
    const float bias[6] = {};
    AtomicFile file(path);
    writeSafetensors(file, {{"fc.weight", "F32", {6, 3}, weight}, {"fc.bias", "F32", {6}, bias}},
                     {{"pconv.network", json}});
    file.commit();
}

}  // namespace pconv::test
