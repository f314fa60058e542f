// cuDNN takes every graph that cuda:cudnn builds, for each chip of tests/cuda, on a machine without a GPU:
// its engines are chosen, and where they are made for the graph their code is generated. Loading that code is
// the first step that needs a driver, and the stub that stands in for one refuses it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "cuda/cudnn/plan.h"
#include "cuda/cudnn/plan_cache.h"
#include "error.h"

namespace pconv::cuda {
namespace {

constexpr const char* kChips[] = {"sm_86_rtx3090", "sm_90_h100"};

std::string propertiesOf(const std::string& chip) {
    std::ifstream file(std::string(PCONV_CHIPS_FOLDER) + "/" + chip + ".json");
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (text.empty()) throw std::runtime_error("there is no property file of " + chip);
    return text;
}

struct Sizes {
    int dims;
    int64_t in_channels, out_channels, groups, kernel, stride, dilation;
};

CudnnConv makeConv(ConvPass pass, DataType type, const Sizes& sizes) {
    CudnnConv conv;
    conv.pass = pass;
    conv.batch = 2;
    conv.in_channels = sizes.in_channels;
    conv.out_channels = sizes.out_channels;
    conv.groups = sizes.groups;
    conv.data_type = type;
    for (size_t d = static_cast<size_t>(3 - sizes.dims); d < 3; ++d) {
        conv.window.input[d] = 20;
        conv.window.kernel[d] = sizes.kernel;
        conv.window.stride[d] = sizes.stride;
        conv.window.dilation[d] = sizes.dilation;
        conv.window.padding[d] = sizes.kernel / 2 * sizes.dilation;
        conv.window.output[d] =
            (20 + 2 * conv.window.padding[d] - sizes.dilation * (sizes.kernel - 1) - 1) / sizes.stride + 1;
    }
    return conv;
}

// 'same' of an even kernel: an element more behind than in front.
CudnnConv makeUneven(ConvPass pass, DataType type, int dims) {
    CudnnConv conv = makeConv(pass, type, {dims, 32, 64, 1, 4, 1, 1});
    for (size_t d = static_cast<size_t>(3 - dims); d < 3; ++d) {
        conv.window.padding[d] = 1;
        conv.window.output[d] = 20;
    }
    return conv;
}

constexpr Sizes kPlain2d{2, 32, 64, 1, 3, 1, 1};
constexpr Sizes kPlain3d{3, 32, 64, 1, 3, 1, 1};
constexpr Sizes kStrided2d{2, 32, 64, 1, 3, 2, 1};
constexpr Sizes kStrided3d{3, 32, 64, 1, 3, 2, 1};
constexpr DataType kTypes[] = {DataType::f32, DataType::f16, DataType::bf16};

// Every form of graph the row builds, fused and plain.
std::vector<CudnnConv> allGraphs() {
    std::vector<CudnnConv> graphs;
    for (const DataType type : kTypes) {
        for (const Sizes& sizes : {kPlain2d, kPlain3d})
            for (const bool has_bias : {false, true})
                for (const Activation activation :
                     {Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu}) {
                    CudnnConv conv = makeConv(ConvPass::forward, type, sizes);
                    conv.fused = true;
                    conv.has_bias = has_bias;
                    conv.activation = activation;
                    conv.negative_slope = 0.2F;
                    graphs.push_back(conv);
                }
        // The plain convolution, where something follows it.
        for (const Sizes& sizes : {kPlain2d, kPlain3d, kStrided2d})
            for (const bool has_bias : {false, true})
                for (const Activation activation :
                     {Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu}) {
                    if (!has_bias && activation == Activation::none) continue;
                    CudnnConv conv = makeConv(ConvPass::forward, type, sizes);
                    conv.fused = conv.plain = true;
                    conv.has_bias = has_bias;
                    conv.activation = activation;
                    conv.negative_slope = 0.2F;
                    graphs.push_back(conv);
                }
        // A line, a first layer's 3 channels, channels that no vector width divides, a wide window, groups,
        // a depthwise convolution, dilation.
        for (const Sizes& sizes :
             {Sizes{1, 32, 64, 1, 3, 1, 1}, Sizes{2, 3, 64, 1, 7, 2, 1}, Sizes{2, 5, 7, 1, 3, 1, 1},
              Sizes{3, 3, 32, 1, 3, 1, 1}, Sizes{2, 32, 64, 4, 3, 1, 1}, Sizes{2, 32, 32, 1, 3, 1, 4}}) {
            CudnnConv conv = makeConv(ConvPass::forward, type, sizes);
            conv.fused = true;
            conv.has_bias = true;
            graphs.push_back(conv);
        }
        // What a pass finishes, for each group or each output channel.
        for (const Sizes& sizes : {kPlain2d, kStrided2d, kPlain3d, Sizes{2, 32, 64, 4, 3, 1, 1},
                                   Sizes{3, 32, 64, 4, 3, 1, 1}, Sizes{2, 32, 64, 1, 3, 1, 2}}) {
            CudnnConv conv = makeConv(ConvPass::forward, type, sizes);
            conv.wide_output = true;
            graphs.push_back(conv);
        }
        for (const Sizes& sizes : {kPlain2d, kStrided2d, kPlain3d}) {
            CudnnConv conv = makeConv(ConvPass::grad_input, type, sizes);
            conv.fused = true;
            graphs.push_back(conv);
        }
        for (const Sizes& sizes : {kPlain2d, kStrided2d, kPlain3d, kStrided3d})
            for (const ConvPass pass : {ConvPass::grad_input, ConvPass::grad_weight})
                graphs.push_back(makeConv(pass, type, sizes));
        for (const int dims : {2, 3}) {
            graphs.push_back(makeUneven(ConvPass::forward, type, dims));
            graphs.back().fused = graphs.back().has_bias = true;
            graphs.push_back(makeUneven(ConvPass::forward, type, dims));
            graphs.back().wide_output = true;
            for (const ConvPass pass : {ConvPass::grad_input, ConvPass::grad_weight})
                graphs.push_back(makeUneven(pass, type, dims));
        }
    }
    for (const int dims : {2, 3})
        for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight}) {
            graphs.push_back(makeUneven(pass, DataType::f32, dims));
            graphs.back().exact = true;
            graphs.back().layout = Layout::contiguous;
        }
    for (const Sizes& sizes : {kPlain2d, kStrided2d, kPlain3d, kStrided3d})
        for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight}) {
            graphs.push_back(makeConv(pass, DataType::f32, sizes));
            graphs.back().exact = true;
            graphs.back().layout = Layout::contiguous;
        }
    return graphs;
}

bool hasNote(const CudnnCandidate& candidate, cudnnBackendNumericalNote_t note) {
    return std::find(candidate.notes.begin(), candidate.notes.end(), note) != candidate.notes.end();
}

struct GraphOnChip {
    std::string chip;
    CudnnConv conv;
};

std::vector<GraphOnChip> allGraphsOnChips() {
    std::vector<GraphOnChip> graphs;
    for (const char* chip : kChips)
        for (const CudnnConv& conv : allGraphs()) graphs.push_back({chip, conv});
    return graphs;
}

class CudnnGraphs : public testing::TestWithParam<GraphOnChip> {};

TEST_P(CudnnGraphs, AreTakenUpToCodeGeneration) {
    const CudnnConv& conv = GetParam().conv;
    const CudnnTarget target(propertiesOf(GetParam().chip));
    const CudnnGraph graph(conv, target);
    const auto candidates = listCandidates(conv, graph, target);
    ASSERT_FALSE(candidates.empty()) << conv.key();
    for (const CudnnCandidate& candidate : candidates) {
        EXPECT_FALSE(hasNote(candidate, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC));
        EXPECT_FALSE(hasNote(candidate, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION));
        if (conv.exact) {
            EXPECT_FALSE(hasNote(candidate, CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
            EXPECT_FALSE(hasNote(candidate, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
            EXPECT_FALSE(hasNote(candidate, CUDNN_NUMERICAL_NOTE_WINOGRAD));
        }
    }
    std::string reasons;
    for (const CudnnCandidate& candidate : candidates) {
        cudnnStatus_t status{};
        std::string reason;
        const auto plan = buildPlan(candidate, target, status, reason);
        if (plan != nullptr) return;  // an engine of the library's own, with nothing to generate
        reasons += reason + "\n";
        if (status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER) {
            EXPECT_NE(reason.find("cuLibraryLoadData"), std::string::npos) << reason;
            return;
        }
    }
    FAIL() << conv.key() << " is declined:\n" << reasons;
}

std::string graphName(const testing::TestParamInfo<GraphOnChip>& info) {
    std::string name = info.param.chip + "_" + info.param.conv.key();
    for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    return name;
}

INSTANTIATE_TEST_SUITE_P(Chips, CudnnGraphs, testing::ValuesIn(allGraphsOnChips()), graphName);

class CudnnChip : public testing::TestWithParam<const char*> {};

// What the test above would see of a graph that does not fuse.
TEST_P(CudnnChip, DeclinesAGraphThatDoesNotFuse) {
    const CudnnTarget target(propertiesOf(GetParam()));
    CudnnConv conv = makeConv(ConvPass::grad_input, DataType::f16, kStrided3d);
    conv.fused = true;
    const CudnnGraph graph(conv, target);
    EXPECT_TRUE(listCandidates(conv, graph, target).empty());
}

// Channels-last, the first plan of exact f32 has a workspace of the size of all tensors, to transpose them
// in.
TEST_P(CudnnChip, ExactF32IsConvolvedWithoutTransposes) {
    const CudnnTarget target(propertiesOf(GetParam()));
    for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight}) {
        CudnnConv conv = makeConv(pass, DataType::f32, kPlain2d);
        conv.batch = 16;
        conv.window.input = conv.window.output = {1, 128, 128};
        conv.exact = true;
        conv.layout = Layout::contiguous;
        const CudnnGraph graph(conv, target);
        std::unique_ptr<CudnnPlan> plan;
        for (const CudnnCandidate& candidate : listCandidates(conv, graph, target)) {
            cudnnStatus_t status{};
            std::string reason;
            plan = buildPlan(candidate, target, status, reason);
            if (plan != nullptr) break;
        }
        ASSERT_NE(plan, nullptr) << conv.key();
        EXPECT_LT(plan->workspaceBytes(), size_t{8} << 20) << conv.key();
        RecordProperty(conv.key().substr(0, conv.key().find(' ')), std::to_string(plan->workspaceBytes()));
    }
}

TEST_P(CudnnChip, PlansSurviveTheDiskAndDamagedOnesAreRefused) {
    const CudnnTarget target(propertiesOf(GetParam()));
    CudnnConv conv = makeConv(ConvPass::forward, DataType::f32, kPlain2d);
    conv.exact = true;
    const CudnnGraph graph(conv, target);
    std::unique_ptr<CudnnPlan> plan;
    for (const CudnnCandidate& candidate : listCandidates(conv, graph, target)) {
        cudnnStatus_t status{};
        std::string reason;
        plan = buildPlan(candidate, target, status, reason);
        if (plan != nullptr) break;
    }
    ASSERT_NE(plan, nullptr);
    const std::string text = plan->json();
    const auto again = readPlan(text, target);
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(again->workspaceBytes(), plan->workspaceBytes());
    EXPECT_EQ(again->json(), text);
    EXPECT_EQ(readPlan(text.substr(0, text.size() / 2), target), nullptr);
    EXPECT_EQ(readPlan("{}", target), nullptr);
    EXPECT_EQ(readPlan("no plan", target), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Chips, CudnnChip, testing::ValuesIn(kChips),
                         [](const auto& chip) { return std::string(chip.param); });

TEST(CudnnConvKey, TellsGraphsApart) {
    const std::vector<CudnnConv> graphs = allGraphs();
    for (size_t i = 0; i < graphs.size(); ++i)
        for (size_t j = 0; j < i; ++j) EXPECT_NE(graphs[i].key(), graphs[j].key());
}

// ---- The cache, which knows nothing of cuDNN --------------------------------------------------------------

class PlanCache : public testing::Test {
  protected:
    PlanCache()
        : folder_(testing::TempDir() + "pconv_plan_cache_" +
                  std::to_string(::testing::UnitTest::GetInstance()->random_seed())) {
        std::filesystem::remove_all(folder_);
    }
    ~PlanCache() override { std::filesystem::remove_all(folder_); }
    std::string folder_;
};

TEST_F(PlanCache, KeepsAPlanForItsGraphDeviceAndVersion) {
    const CudnnPlanCache cache(folder_, "RTX 3090, driver 1");
    EXPECT_EQ(cache.read("a graph"), "");
    cache.write("a graph", "{\"plan\":\n1}");
    EXPECT_EQ(cache.read("a graph"), "{\"plan\":\n1}");
    EXPECT_EQ(cache.read("another graph"), "");
    const CudnnPlanCache updated(folder_, "RTX 3090, driver 2");
    EXPECT_EQ(updated.read("a graph"), "") << "a stale plan was taken";
    updated.write("a graph", "newer");
    EXPECT_EQ(updated.read("a graph"), "newer");
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
        ++files;
        EXPECT_EQ(entry.path().extension(), ".plan") << "a temporary was left";
    }
    EXPECT_EQ(files, 1U);
}

TEST_F(PlanCache, TakesADamagedFileForNone) {
    const CudnnPlanCache cache(folder_, "device");
    const std::string plan(1000, 'p');
    cache.write("graph", plan);
    const std::string path = cache.pathOf("graph");
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const auto put = [&](const std::string& bytes) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    };
    for (const size_t length : {size_t{0}, size_t{5}, whole.size() / 2, whole.size() - 1}) {
        put(whole.substr(0, length));
        EXPECT_EQ(cache.read("graph"), "") << length;
    }
    for (size_t i = 0; i < whole.size(); i += 7) {
        std::string flipped = whole;
        flipped[i] = static_cast<char>(flipped[i] ^ 4);
        put(flipped);
        EXPECT_EQ(cache.read("graph"), "") << "byte " << i;
    }
    put(whole + "x");
    EXPECT_EQ(cache.read("graph"), "");
    put(whole);
    EXPECT_EQ(cache.read("graph"), plan);
}

TEST_F(PlanCache, WithoutAFolderOrTheRightToWriteKeepsNothing) {
    const CudnnPlanCache none("", "device");
    none.write("graph", "plan");
    EXPECT_EQ(none.read("graph"), "");
    std::ofstream(folder_) << "a file where the folder should be";
    const CudnnPlanCache blocked(folder_, "device");
    blocked.write("graph", "plan");
    EXPECT_EQ(blocked.read("graph"), "");
}

}  // namespace
}  // namespace pconv::cuda
