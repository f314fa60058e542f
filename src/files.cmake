# Reading and writing files: safetensors, for networks, the command and the tests.
find_package(nlohmann_json 3.10 REQUIRED)
add_library(pconv_files STATIC atomic_file.cpp file_error.cpp safetensors.cpp safetensors_writer.cpp)
set_target_properties(pconv_files PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_include_directories(pconv_files PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(pconv_files PRIVATE nlohmann_json::nlohmann_json pconv_platform pconv_warnings)
