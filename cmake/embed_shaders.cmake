# Writes OUTPUT, a C++ file with the SPIR-V of every line "name|file|bindings|params" of TABLE.
set(arrays "")
set(rows "")
foreach(line IN LISTS TABLE)
  string(REPLACE "|" ";" fields "${line}")
  list(GET fields 0 name)
  list(GET fields 1 file)
  list(GET fields 2 bindings)
  list(GET fields 3 params)
  if(params STREQUAL "yes")
    set(params true)
  else()
    set(params false)
  endif()
  file(READ ${file} words HEX)
  # glslang writes little-endian words.
  string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1," words "${words}")
  string(REGEX REPLACE "(0x........,0x........,0x........,0x........,0x........,0x........,0x........,0x........,)" "    \\1\n" words "${words}")
  string(APPEND arrays "constexpr uint32_t k_${name}[] = {\n${words}};\n")
  string(APPEND rows "        {\"${name}\", k_${name}, sizeof k_${name}, ${bindings}, ${params}},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"vulkan/device/pipelines.h\"

namespace pconv::vulkan {

namespace {
${arrays}}  // namespace

const std::vector<Shader>& allShaders() {
    static const std::vector<Shader> shaders{
${rows}    };
    return shaders;
}

}  // namespace pconv::vulkan
")
