#include "files/safetensors.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <string>

namespace pconv {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kOneFloat = 4;

std::string faultOf(const std::string& header, std::uint64_t data_size) {
    try {
        parseSafetensorsHeader(header, data_size, "x.safetensors");
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

std::string tensor(const std::string& name, const std::string& shape, const std::string& offsets,
                   const std::string& type = "F32") {
    return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
}

class SafetensorsFile : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
        folder_ = fs::path(::testing::TempDir()) / (std::string("pconv_safetensors_") + info->name());
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    fs::path write(const std::string& bytes) const {
        const fs::path path = folder_ / "case.safetensors";
        std::ofstream(path, std::ios::binary) << bytes;
        return path;
    }

    static std::string withLength(const std::string& header, const std::string& data) {
        std::string bytes;
        for (unsigned i = 0; i < 8; ++i) bytes += static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
        return bytes + header + data;
    }

    static std::string faultOfFile(const fs::path& path) {
        try {
            SafetensorsReader reader(path);
        } catch (const FileError& error) {
            return error.what();
        }
        return "";
    }

    static std::string contentOf(const fs::path& path) {
        std::ifstream stream(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    }

    std::size_t filesInFolder() const {
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
    }

    fs::path folder_;
};

struct BadHeader {
    const char* name;
    std::string json;
    std::uint64_t data_size;
    const char* expected;
};

void PrintTo(const BadHeader& bad, std::ostream* out) {
    *out << bad.name;
}

class SafetensorsBadHeader : public ::testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsBadHeader, IsRefusedInOneLineThatNamesTheFault) {
    const std::string fault = faultOf(GetParam().json, GetParam().data_size);
    EXPECT_NE(fault.find(GetParam().expected), std::string::npos) << fault;
    EXPECT_EQ(fault.rfind("x.safetensors", 0), 0U) << fault;
    EXPECT_EQ(fault.find_first_of("\n\r\x1b"), std::string::npos) << fault;
}

const BadHeader kBadHeaders[] = {
    {"Empty", "", 0, "does not begin with '{'"},
    {"Array", "[]", 0, "does not begin with '{'"},
    {"LeadingSpace", " {}", 0, "does not begin with '{'"},
    {"Unfinished", "{", 0, "not valid JSON"},
    {"TrailingText", "{}x", 0, "not valid JSON"},
    {"SecondObject", "{}{}", 0, "not valid JSON"},
    {"HiddenAfterNul", std::string("{}\0garbage", 10), 0, "NUL"},
    {"BadUtf8", "{\"\xff\":{}}", 0, "not valid JSON"},
    {"Comment", "{/**/}", 0, "not valid JSON"},
    {"DataWithoutTensors", "{}", 4, "4 bytes of data, but the tensors take 0"},
    {"TensorIsNumber", "{\"a\":1}", 0, "tensor 'a': 1 where an object"},
    {"TensorIsNull", "{\"a\":null}", 0, "tensor 'a': null where an object"},
    {"TensorIsArray", "{\"a\":[]}", 0, "tensor 'a': an array"},
    {"NoDtype", R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "tensor 'a': no dtype"},
    {"NoShape", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "tensor 'a': no shape"},
    {"NoOffsets", R"({"a":{"dtype":"F32","shape":[1]}})", 4, "tensor 'a': no data_offsets"},
    {"DtypeIsNumber", R"({"a":{"dtype":3}})", 0, "'dtype' is 3; a string is expected"},
    {"DtypeIsArray", R"({"a":{"dtype":[]}})", 0, "'dtype' is an array; a string is expected"},
    {"ShapeIsString", R"({"a":{"shape":"1"}})", 0, "'shape' is a string; an array"},
    {"ShapeNested", R"({"a":{"shape":[[1]]}})", 0, "'shape' has an array; whole numbers"},
    {"ShapeNegative", "{" + tensor("a", "[-1]", "[0,4]") + "}", 4, "'shape' has the number -1"},
    {"ShapeFraction", "{" + tensor("a", "[1.0]", "[0,4]") + "}", 4, "'shape' has the number 1.0"},
    {"ShapeBeyond64Bits", "{" + tensor("a", "[18446744073709551616]", "[0,4]") + "}", 4,
     "18446744073709551616"},
    {"ShapeTrue", "{" + tensor("a", "[true]", "[0,4]") + "}", 4, "'shape' has a boolean"},
    {"ProductOverflows", "{" + tensor("a", "[4294967296,4294967296]", "[0,0]") + "}", 0, "overflows"},
    {"ProductWrapsToSize", "{" + tensor("a", "[4611686018427387905]", "[0,4]") + "}", 4, "overflows"},
    {"OneOffset", "{" + tensor("a", "[1]", "[0]") + "}", 4, "[begin, end] is expected"},
    {"ThreeOffsets", "{" + tensor("a", "[1]", "[0,4,4]") + "}", 4, "more than two"},
    {"OffsetsReversed", "{" + tensor("a", "[1]", "[4,0]") + "}", 4, "end before they begin"},
    {"OffsetsBeyondFile", "{" + tensor("a", "[2]", "[0,8]") + "}", 4, "beyond the 4 bytes"},
    {"OffsetsHuge", "{" + tensor("a", "[1]", "[18446744073709551612,18446744073709551615]") + "}", 4,
     "beyond"},
    {"OffsetsTooFew", "{" + tensor("a", "[2]", "[0,4]") + "}", 4, "span 4 bytes; F32 [2] takes 8"},
    {"OffsetsTooMany", "{" + tensor("a", "[1]", "[0,8]") + "}", 8, "span 8 bytes; F32 [1] takes 4"},
    {"EmptyShapeWithData", "{" + tensor("a", "[0,3]", "[0,4]") + "}", 4, "span 4 bytes; F32 [0, 3] takes 0"},
    {"Overlap", "{" + tensor("a", "[2]", "[0,8]") + "," + tensor("b", "[1]", "[4,8]") + "}", 8,
     "inside another"},
    {"SameBytes", "{" + tensor("a", "[1]", "[0,4]") + "," + tensor("b", "[1]", "[0,4]") + "}", 4,
     "inside another"},
    {"Gap", "{" + tensor("a", "[1]", "[0,4]") + "," + tensor("b", "[1]", "[8,12]") + "}", 12, "after a gap"},
    {"GapAtStart", "{" + tensor("a", "[1]", "[4,8]") + "}", 8, "after a gap"},
    {"TailUncovered", "{" + tensor("a", "[1]", "[0,4]") + "}", 5, "5 bytes of data, but the tensors take 4"},
    {"DuplicateTensor", "{" + tensor("a", "[1]", "[0,4]") + "," + tensor("a", "[1]", "[0,4]") + "}", 4,
     "the name stands twice"},
    {"DuplicateKey", R"({"a":{"dtype":"F32","dtype":"F32"}})", 0, "key 'dtype' stands twice"},
    {"DuplicateMetadata", R"({"__metadata__":{"k":"1","k":"1"}})", 0, "key 'k' stands twice"},
    {"TwoMetadata", R"({"__metadata__":{},"__metadata__":{}})", 0, "stands twice"},
    {"MetadataIsString", R"({"__metadata__":"x"})", 0, "__metadata__"},
    {"MetadataNumber", R"({"__metadata__":{"k":1}})", 0, "'k' is 1; a string is expected"},
    {"MetadataObject", R"({"__metadata__":{"k":{}}})", 0, "'k' is an object; a string"},
    {"ControlCharactersInName", R"({"a\n\u001b[31m":1})", 0, "'a\\x0a\\x1b[31m'"},
    {"DeepArrays", "{\"a\":{\"shape\":" + std::string(1'000'000, '[') + "}}", 0, "'shape' has an array"},
    {"DeepObjects", "{\"a\":{\"shape\":{\"c\":{}}}}", 0, "'shape' is an object"},
};

INSTANTIATE_TEST_SUITE_P(Headers, SafetensorsBadHeader, ::testing::ValuesIn(kBadHeaders),
                         [](const auto& bad) { return std::string(bad.param.name); });

TEST(SafetensorsHeader, AcceptsWhatTheFormatAllows) {
    EXPECT_EQ(faultOf("{}", 0), "");
    EXPECT_EQ(faultOf("{}     ", 0), "");
    EXPECT_EQ(faultOf("{" + tensor("scalar", "[]", "[0,4]") + "}", kOneFloat), "");
    // Empty tensors take no byte, wherever they stand, and whatever their other sizes are.
    EXPECT_EQ(
        faultOf("{" + tensor("b", "[1]", "[0,4]") + "," + tensor("a", "[0,4294967296,4294967296]", "[4,4]") +
                    "," + tensor("c", "[0]", "[0,0]") + "}",
                kOneFloat),
        "");
    const SafetensorsHeader header = parseSafetensorsHeader("{" + tensor("b", "[2,3]", "[2,8]", "I8") +
                                                                ",\"__metadata__\":{\"k\":\"v\"}," +
                                                                tensor("a", "[1]", "[0,2]", "BF16") + "}",
                                                            8, "x");
    EXPECT_EQ(header.metadata.at("k"), "v");
    EXPECT_EQ(header.tensors.at("b").shape, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_EQ(header.tensors.at("b").elementCount(), 6U);
    EXPECT_STREQ(header.tensors.at("a").type->name, "BF16");
}

TEST(SafetensorsHeader, WhatNothingAsksForIsNoFault) {
    EXPECT_EQ(faultOf(R"({"__metadata__":null,)" + tensor("a", "[1]", "[0,4]") + "}", kOneFloat), "");
    for (const char* value : {"1", "-1", "0.5", "\"x\"", "null", "true", "[]", "[1,[{}]]",
                              R"({"dtype":{"shape":[1,{}]},"b":[null]})"}) {
        const std::string entry = R"({"a":{"x":)" + std::string(value) + R"(,"dtype":"F32","y":)" + value +
                                  R"(,"shape":[1],"data_offsets":[0,4],"z":)" + value + "}}";
        EXPECT_EQ(faultOf(entry, kOneFloat), "") << value;
    }
    EXPECT_NE(faultOf(R"({"a":{"x":[1,"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", kOneFloat), "");
    EXPECT_NE(faultOf(R"({"a":{"x":{"dtype":"F32"},"shape":[1],"data_offsets":[0,4]}})", kOneFloat), "")
        << "the type is not the tensor's own";
    // A type that is not known takes any number of bytes; elements of less than one are counted in bits.
    EXPECT_EQ(faultOf("{" + tensor("a", "[1]", "[0,4]", "F99") + "}", 4), "");
    EXPECT_EQ(faultOf("{" + tensor("a", "[2,8]", "[0,8]", "F4") + "}", 8), "");
    EXPECT_EQ(faultOf("{" + tensor("a", "[4]", "[0,3]", "F6_E2M3") + "}", 3), "");
    EXPECT_EQ(faultOf("{" + tensor("a", "[3]", "[0,3]", "F6_E3M2") + "}", 3), "");
    EXPECT_EQ(faultOf("{" + tensor("a", "[3]", "[0,3]", "F8_E4M3") + "}", 3), "");
    EXPECT_NE(faultOf("{" + tensor("a", "[2,8]", "[0,9]", "F4") + "}", 9).find("F4 [2, 8] takes 8"),
              std::string::npos);
    EXPECT_NE(faultOf("{" + tensor("a", "[4611686018427387904]", "[0,8]", "F4") + "}", 8).find("overflows"),
              std::string::npos);
    EXPECT_NE(faultOf("{" + tensor("a", "[1]", "[0,4]", "F99") + "}", 5), "");
}

TEST_F(SafetensorsFile, ATensorOfATypeThatIsNotKnownFailsWhenItIsAskedFor) {
    const fs::path path =
        write(withLength("{" + tensor("a", "[1]", "[0,4]") + "," + tensor("b", "[9]", "[4,8]", "F\\n9") + "}",
                         std::string("\0\0\x80\x3f"
                                     "abcd",
                                     8)));
    SafetensorsReader reader(path);
    EXPECT_EQ(reader.readF32("a"), std::vector<float>{1.0F});
    for (const bool as_floats : {false, true}) {
        try {
            char bytes[4];
            if (as_floats) reader.readF32("b");
            reader.read("b", bytes);
            FAIL();
        } catch (const FileError& error) {
            const std::string line = error.what();
            EXPECT_NE(line.find("tensor 'b' is"), std::string::npos) << line;
            EXPECT_EQ(line.find('\n'), std::string::npos);
        }
    }
}

TEST(SafetensorsHeader, EveryPrefixOfAHeaderIsRefused) {
    const std::string header =
        "{\"__metadata__\":{\"op\":\"partial_conv\"}," + tensor("input", "[1,1,1,1]", "[0,4]") + "}";
    ASSERT_EQ(faultOf(header, kOneFloat), "");
    for (std::size_t size = 0; size < header.size(); ++size) {
        EXPECT_NE(faultOf(header.substr(0, size), kOneFloat), "") << size;
    }
}

TEST(SafetensorsHeader, MutatedHeadersAreRefusedOrDescribeTheDataExactly) {
    const std::string header = "{\"__metadata__\":{\"op\":\"partial_conv\",\"k\":\"\\u00e9\"}," +
                               tensor("input", "[1,2,3]", "[0,24]") + "," +
                               tensor("mask", "[3]", "[24,27]", "U8") + "}   ";
    constexpr std::uint64_t kDataBytes = 27;
    ASSERT_EQ(faultOf(header, kDataBytes), "");
    const std::string pieces = "{}[]\",:0129-.eE\\u \n\xfftfn";
    std::mt19937 random(1);
    int accepted = 0;
    constexpr int kRounds = 20000;
    for (int round = 0; round < kRounds; ++round) {
        std::string mutated = header;
        for (auto i = random() % 3; i < 3; ++i) {
            const std::size_t at = random() % mutated.size();
            switch (random() % 3) {
                case 0:
                    mutated[at] = pieces[random() % pieces.size()];
                    break;
                case 1:
                    mutated.erase(at, random() % 8);
                    break;
                default:
                    mutated.insert(at, mutated.substr(random() % mutated.size(), random() % 12));
                    break;
            }
        }
        try {
            const SafetensorsHeader parsed = parseSafetensorsHeader(mutated, kDataBytes, "x");
            std::uint64_t covered = 0;
            for (const auto& entry : parsed.tensors) covered += entry.second.byteCount();
            EXPECT_EQ(covered, kDataBytes) << mutated;
            ++accepted;
        } catch (const FileError& error) {
            EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
        }
    }
    EXPECT_GT(accepted, 0);
    EXPECT_LT(accepted, kRounds / 2);
}

TEST_F(SafetensorsFile, RefusesFilesThatCannotHoldAHeader) {
    EXPECT_NE(faultOfFile(folder_ / "absent").find("o such file"), std::string::npos);
    EXPECT_NE(faultOfFile(folder_).find("not a regular file"), std::string::npos);
    EXPECT_NE(faultOfFile(write("")).find("0 bytes, too short"), std::string::npos);
    EXPECT_NE(faultOfFile(write("1234567")).find("7 bytes, too short"), std::string::npos);
    EXPECT_NE(faultOfFile(write(std::string(8, '\xff'))).find("18446744073709551615 bytes"),
              std::string::npos);
    const std::string whole = withLength("{" + tensor("a", "[1]", "[0,4]") + "}", "abcd");
    EXPECT_EQ(faultOfFile(write(whole)), "");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_NE(faultOfFile(write(whole.substr(0, size))), "") << size;
    }
    EXPECT_NE(faultOfFile(write(whole + "x")), "");
}

TEST_F(SafetensorsFile, ComesBackAsWritten) {
    const std::vector<float> floats = {1.5F, -0.0F, std::numeric_limits<float>::infinity()};
    const std::vector<double> doubles = {0.1, -2.0};
    const std::vector<std::uint8_t> bytes = {7};
    const fs::path path = folder_ / "out.safetensors";
    const auto save = [&](const std::vector<SafetensorsOutput>& tensors) {
        AtomicFile file(path);
        writeSafetensors(file, tensors, {{"b", "2"}, {"a", "\"quoted\""}});
        file.commit();
        return contentOf(path);
    };
    const SafetensorsOutput u8 = {"bytes", "U8", {1, 1}, bytes.data()};
    const SafetensorsOutput f32 = {"floats", "F32", {3}, floats.data()};
    const SafetensorsOutput f64 = {"doubles", "F64", {2, 1}, doubles.data()};
    const SafetensorsOutput empty = {"empty", "F32", {0, 4}, nullptr};
    const std::string first = save({u8, f32, f64, empty});
    EXPECT_EQ(first, save({empty, f64, u8, f32})) << "the order given must not show in the file";
    EXPECT_EQ(filesInFolder(), 1U);

    SafetensorsReader reader(path);
    EXPECT_EQ(reader.metadata().at("a"), "\"quoted\"");
    EXPECT_EQ(reader.tensors().size(), 4U);
    const std::vector<float> read = reader.readF32("floats");
    ASSERT_EQ(read.size(), floats.size());
    EXPECT_EQ(std::memcmp(read.data(), floats.data(), sizeof(float) * floats.size()), 0);
    std::vector<double> read_doubles(2);
    reader.read("doubles", read_doubles.data());
    EXPECT_EQ(read_doubles, doubles);
    EXPECT_TRUE(reader.readF32("empty").empty());
    EXPECT_THROW(reader.readF32("doubles"), FileError);
    EXPECT_THROW(reader.readF32("absent"), FileError);
    EXPECT_EQ(static_cast<unsigned char>(first[0]) % 8, 0) << "the data must begin on a multiple of 8";
    for (const auto& entry : reader.tensors()) EXPECT_EQ(entry.second.begin % entry.second.type->size, 0U);
}

TEST_F(SafetensorsFile, BytesAreLittleEndian) {
    const float one = 1.0F;
    const fs::path path = folder_ / "one.safetensors";
    AtomicFile file(path);
    writeSafetensors(file, {{"x", "F32", {1}, &one}}, {});
    file.commit();
    const std::string bytes = contentOf(path);
    EXPECT_EQ(bytes.substr(bytes.size() - 4), std::string("\x00\x00\x80\x3f", 4));
    std::uint8_t pair[] = {1, 2, 3, 4, 5, 6, 7, 8};
    swapBytes(pair, sizeof pair, 4);
    const std::uint8_t expected[] = {4, 3, 2, 1, 8, 7, 6, 5};
    EXPECT_EQ(std::memcmp(pair, expected, sizeof pair), 0);
}

TEST_F(SafetensorsFile, WriterRefusesFaultyTensors) {
    const float value = 0;
    AtomicFile file(folder_ / "x");
    EXPECT_THROW(writeSafetensors(file, {{"x", "F31", {1}, &value}}, {}), std::invalid_argument);
    EXPECT_THROW(writeSafetensors(file, {{"x", "F32", {1}, &value}, {"x", "F32", {1}, &value}}, {}),
                 std::invalid_argument);
    EXPECT_THROW(writeSafetensors(file, {{"x", "F32", {~std::uint64_t{0}}, &value}}, {}),
                 std::invalid_argument);
}

TEST_F(SafetensorsFile, ATensorCutOffAfterOpeningIsAnError) {
    const fs::path path =
        write(withLength("{" + tensor("a", "[1024]", "[0,4096]") + "}", std::string(4096, 'x')));
    SafetensorsReader reader(path);
    fs::resize_file(path, 100);
    EXPECT_THROW(reader.readF32("a"), FileError);
}

TEST_F(SafetensorsFile, AtomicFileLeavesTheOldFileUntilCommitted) {
    const fs::path path = write("old");
    {
        AtomicFile file(path);
        file.write("new", 3);
        EXPECT_EQ(contentOf(path), "old");
    }
    EXPECT_EQ(contentOf(path), "old");
    EXPECT_EQ(filesInFolder(), 1U);
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    AtomicFile file(path);
    file.write("new", 3);
    file.commit();
    EXPECT_EQ(contentOf(path), "new");
    EXPECT_EQ(filesInFolder(), 1U);
#if !defined(_WIN32)  // where there are no other permissions than the owner's to write
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
#endif
}

TEST_F(SafetensorsFile, AtomicFileFollowsLinksAndRefusesFolders) {
    const fs::path path = write("old");
    fs::create_directory(folder_ / "sub");
    std::error_code error;
    fs::create_symlink("../case.safetensors", folder_ / "sub" / "link", error);
    if (error) GTEST_SKIP() << "no symbolic links here: " << error.message();
    fs::create_symlink("link", folder_ / "sub" / "link2");
    fs::create_symlink("not_there_yet", folder_ / "sub" / "dangling");
    fs::create_symlink("loop", folder_ / "sub" / "loop");
    for (const char* name : {"link2", "dangling"}) {
        AtomicFile file(folder_ / "sub" / name);
        file.write("new", 3);
        file.commit();
        EXPECT_TRUE(fs::is_symlink(folder_ / "sub" / name));
    }
    EXPECT_EQ(contentOf(path), "new");
    EXPECT_EQ(contentOf(folder_ / "sub" / "not_there_yet"), "new");
    EXPECT_THROW(AtomicFile(folder_ / "sub"), FileError);
    EXPECT_THROW(AtomicFile(folder_ / "sub" / "loop"), FileError);
    EXPECT_THROW(AtomicFile(folder_ / "absent" / "x"), FileError);
    EXPECT_THROW(AtomicFile(folder_ / "case.safetensors" / "x"), FileError);
    EXPECT_THROW(AtomicFile(""), FileError);
}

const char* hooked = nullptr;

TEST_F(SafetensorsFile, AtomicFileTellsItsTemporary) {
    {
        AtomicFile file(folder_ / "x", [](const char* path) { hooked = path; });
        ASSERT_NE(hooked, nullptr);
        EXPECT_TRUE(fs::exists(hooked));
    }
    EXPECT_EQ(hooked, nullptr);
}

}  // namespace
}  // namespace pconv
