// The devices of this machine and the implementation rows they offer: what parameterized tests run over.
#pragma once

#include <string>
#include <vector>

#include "pconv/pconv.h"

namespace pconv::test {

struct Row {
    int device_index = 0;  // of pconvGetDeviceInfo
    std::string backend;
    std::string name;       // "cpu:reference"
    bool software = false;  // a GPU interface emulated on the CPU: every new pipeline costs a compilation
};

// Every row of every device present that computes in exact f32, as most suites do.
const std::vector<Row>& allRows();

// The first of them of that name; null where there is none.
const Row* rowNamed(const std::string& name);
// With those that do not: cuda:igemm is for TF32 and 16-bit types, vulkan:coopmat for f16.
const std::vector<Row>& everyRow();

// An open device that tests share, as opening one is slow on some; it lives until the program ends.
PconvDevice sharedDevice(int device_index);

// A row's name as GoogleTest allows it in a test's: "d0_cpu_reference".
std::string testName(const Row& row);

// For messages: "cpu:reference on device 0".
std::ostream& operator<<(std::ostream& stream, const Row& row);

}  // namespace pconv::test
