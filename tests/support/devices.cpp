#include "devices.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <ostream>

#include "handles.h"

namespace pconv::test {

namespace {

std::vector<Row> listRows(bool exact_f32) {
    std::vector<Row> rows;
    int32_t devices = 0;
    check(pconvGetDeviceCount(&devices));
    for (int32_t d = 0; d < devices; ++d) {
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        check(pconvGetDeviceInfo(d, &info));
        PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(1);
        desc.input_size[0] = 1;
        int32_t count = 0;
        check(pconvGetImplementationCount(sharedDevice(d), &count));
        for (int32_t i = 0; i < count; ++i) {
            PconvImplementationInfo row = pconvDefaultImplementationInfo();
            check(pconvGetImplementationInfo(sharedDevice(d), i, &desc, &row));
            const std::string name = row.name;
            if (exact_f32 && (name == "cuda:igemm" || name == "vulkan:coopmat")) continue;
            rows.push_back({d, info.backend, row.name, info.type == PCONV_DEVICE_TYPE_SOFTWARE});
        }
    }
    return rows;
}

}  // namespace

const std::vector<Row>& allRows() {
    static const std::vector<Row> rows = listRows(true);
    return rows;
}

const std::vector<Row>& everyRow() {
    static const std::vector<Row> rows = listRows(false);
    return rows;
}

const Row* rowNamed(const std::string& name) {
    const std::vector<Row>& rows = allRows();
    const auto found =
        std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
    return found == rows.end() ? nullptr : &*found;
}

PconvDevice sharedDevice(int device_index) {
    static std::map<int, OwnedDevice> devices;
    OwnedDevice& device = devices[device_index];
    if (device.get() == nullptr) device = openDevice(std::to_string(device_index).c_str());
    return device.get();
}

std::string testName(const Row& row) {
    std::string name = "d" + std::to_string(row.device_index) + "_" + row.name;
    for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    return name;
}

std::ostream& operator<<(std::ostream& stream, const Row& row) {
    return stream << row.name << " on device " << row.device_index;
}

}  // namespace pconv::test
