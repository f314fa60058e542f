#include "spirv.h"

#include <cstring>
#include <map>
#include <set>

namespace pconv::shim {

namespace {

// Of the SPIR-V specification, section "Instructions".
enum Op : uint32_t {
    kName = 5,
    kMemberName = 6,
    kTypeVoid = 19,
    kTypeBool = 20,
    kTypeInt = 21,
    kTypeRuntimeArray = 29,
    kTypeStruct = 30,
    kTypePointer = 32,
    kTypeForwardPointer = 39,
    kConstant = 43,
    kFunction = 54,
    kVariable = 59,
    kStore = 62,
    kAccessChain = 65,
    kArrayLength = 68,
    kDecorate = 71,
    kMemberDecorate = 72,
    kBitcast = 124,
    kIAdd = 128,
    kSelect = 169,
    kUGreaterThanEqual = 174,
};
constexpr uint32_t kStorageBuffer = 12;
constexpr uint32_t kHeader = 5;

struct Instruction {
    uint32_t op;
    std::vector<uint32_t> operands;
};

std::vector<Instruction> parse(const std::vector<uint32_t>& code) {
    std::vector<Instruction> all;
    for (size_t at = kHeader; at < code.size();) {
        const uint32_t count = code[at] >> 16;
        all.push_back({code[at] & 0xFFFF,
                       {code.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                        code.begin() + static_cast<std::ptrdiff_t>(at + count)}});
        at += count;
    }
    return all;
}

std::string textOf(const std::vector<uint32_t>& operands, size_t first) {
    const auto* text = reinterpret_cast<const char*>(operands.data() + first);
    return {text, strnlen(text, 4 * (operands.size() - first))};
}

class Checker {
  public:
    Checker(const std::vector<uint32_t>& code, uint32_t first_word)
        : header_(code.begin(), code.begin() + kHeader), first_word_(first_word), all_(parse(code)) {
        learn();
    }

    CheckedShader run() {
        const size_t types =
            indexOf([](uint32_t op) { return op >= kTypeVoid && op <= kTypeForwardPointer; });
        const size_t functions = indexOf([](uint32_t op) { return op == kFunction; });
        std::vector<Instruction> body;
        for (size_t i = functions; i < all_.size(); ++i) {
            if (all_[i].op == kAccessChain) check(body, all_[i]);
            body.push_back(all_[i]);
        }
        code_ = header_;
        for (size_t i = 0; i < types; ++i) write(all_[i]);
        for (const Instruction& decoration : decorations_) write(decoration);
        for (size_t i = types; i < functions; ++i) write(all_[i]);
        for (const Instruction& declaration : declarations_) write(declaration);
        for (const Instruction& instruction : body) write(instruction);
        return {std::move(code_), std::move(sites_)};
    }

  private:
    template <typename Matches>
    size_t indexOf(const Matches& matches) const {
        size_t i = 0;
        while (i < all_.size() && !matches(all_[i].op)) ++i;
        return i;
    }

    uint32_t make() { return header_[3]++; }  // the header's bound on ids

    void learn() {
        std::map<uint32_t, uint32_t> pointee;
        for (const Instruction& instruction : all_) {
            const auto& w = instruction.operands;
            if (instruction.op == kMemberName && w[1] == 0) member_names_[w[0]] = textOf(w, 2);
            if (instruction.op == kTypeBool) bool_ = w[0];
            if (instruction.op == kTypeInt && w[1] == 32) (w[2] == 0 ? uint_ : int_) = w[0];
            if (instruction.op == kTypePointer && w[1] == kStorageBuffer) pointee[w[0]] = w[2];
            if (instruction.op == kVariable && w[2] == kStorageBuffer) buffers_[w[1]] = pointee[w[0]];
            // Instructions with a result have its type before it.
            if (instruction.op != kName && instruction.op != kMemberName && instruction.op != kDecorate &&
                instruction.op != kMemberDecorate && instruction.op != kTypeInt && w.size() >= 2 &&
                int_ != 0 && w[0] == int_)
                signed_.insert(w[1]);
        }
        const auto need = [&](uint32_t& id, uint32_t op, std::vector<uint32_t> operands) {
            if (id != 0) return;
            id = make();
            operands.insert(operands.begin(), id);
            declarations_.push_back({op, std::move(operands)});
        };
        need(uint_, kTypeInt, {32, 0});
        need(int_, kTypeInt, {32, 1});
        need(bool_, kTypeBool, {});
        for (const auto& [pointer, type] : pointee)
            if (type == uint_) uint_pointer_ = pointer;
        need(uint_pointer_, kTypePointer, {kStorageBuffer, uint_});
        uint32_t array = 0, block = 0, block_pointer = 0;
        need(array, kTypeRuntimeArray, {uint_});
        need(block, kTypeStruct, {array});
        need(block_pointer, kTypePointer, {kStorageBuffer, block});
        report_ = make();
        declarations_.push_back({kVariable, {block_pointer, report_, kStorageBuffer}});
        constexpr uint32_t kBlock = 2, kArrayStride = 6, kBinding = 33, kDescriptorSet = 34, kOffset = 35;
        decorations_.push_back({kDecorate, {array, kArrayStride, 4}});
        decorations_.push_back({kMemberDecorate, {block, 0, kOffset, 0}});
        decorations_.push_back({kDecorate, {block, kBlock}});
        decorations_.push_back({kDecorate, {report_, kDescriptorSet, 0}});
        decorations_.push_back({kDecorate, {report_, kBinding, kReportBinding}});
        zero_ = constant(uint_, 0);
        signed_zero_ = constant(int_, 0);
        one_ = constant(uint_, 1);
    }

    uint32_t constant(uint32_t type, uint32_t value) {
        const uint32_t id = make();
        declarations_.push_back({kConstant, {type, id, value}});
        return id;
    }

    // Puts the check before an access, which then takes an index that is within.
    void check(std::vector<Instruction>& body, Instruction& access) {
        auto& w = access.operands;  // type, result, base, member, index
        const auto buffer = buffers_.find(w[2]);
        if (buffer == buffers_.end() || w.size() < 5) return;
        const uint32_t site = constant(uint_, first_word_ + static_cast<uint32_t>(sites_.size()));
        sites_.push_back("access " + std::to_string(sites_.size()) + " of " + member_names_[buffer->second]);
        const uint32_t length = make(), outside = make(), word = make(), pointer = make(), stored = make(),
                       within = make();
        const bool is_signed = signed_.count(w[4]) != 0;
        uint32_t index = w[4];
        body.push_back({kArrayLength, {uint_, length, w[2], 0}});
        if (is_signed) {
            index = make();
            body.push_back({kBitcast, {uint_, index, w[4]}});
        }
        body.push_back({kUGreaterThanEqual, {bool_, outside, index, length}});
        body.push_back({kSelect, {uint_, word, outside, site, zero_}});
        body.push_back({kAccessChain, {uint_pointer_, pointer, report_, zero_, word}});
        body.push_back({kIAdd, {uint_, stored, index, one_}});
        body.push_back({kStore, {pointer, stored}});
        body.push_back(
            {kSelect, {is_signed ? int_ : uint_, within, outside, is_signed ? signed_zero_ : zero_, w[4]}});
        w[4] = within;
    }

    void write(const Instruction& instruction) {
        code_.push_back(static_cast<uint32_t>(instruction.operands.size() + 1) << 16 | instruction.op);
        code_.insert(code_.end(), instruction.operands.begin(), instruction.operands.end());
    }

    std::vector<uint32_t> header_;
    uint32_t first_word_;
    std::vector<Instruction> all_, decorations_, declarations_;
    std::map<uint32_t, std::string> member_names_;  // of a structure's first member
    std::map<uint32_t, uint32_t> buffers_;          // variables, and the structures they are
    std::set<uint32_t> signed_;
    uint32_t uint_ = 0, int_ = 0, bool_ = 0, uint_pointer_ = 0, report_ = 0, zero_ = 0, signed_zero_ = 0,
             one_ = 0;
    std::vector<uint32_t> code_;
    std::vector<std::string> sites_;
};

}  // namespace

CheckedShader checkAccesses(const std::vector<uint32_t>& code, uint32_t first_word) {
    return Checker(code, first_word).run();
}

}  // namespace pconv::shim
