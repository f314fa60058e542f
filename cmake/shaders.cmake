# pconv_embed_shaders(TARGET): compiles the shaders of shaders/variants.cmake to SPIR-V, validates it, and adds it to the
# target as one source file.
include(${PROJECT_SOURCE_DIR}/shaders/variants.cmake)

function(pconv_embed_shaders target)
  set(shaders ${PROJECT_SOURCE_DIR}/shaders)
  list(TRANSFORM PCONV_SHADER_INCLUDES PREPEND ${shaders}/ OUTPUT_VARIABLE includes)
  set(binaries "")
  set(table "")
  foreach(line IN LISTS PCONV_SHADERS)
    separate_arguments(fields UNIX_COMMAND "${line}")
    list(GET fields 0 name)
    list(GET fields 1 source)
    list(GET fields 2 bindings)
    list(GET fields 3 params)
    set(defines ${fields})
    list(REMOVE_AT defines 0 1 2 3)
    list(TRANSFORM defines PREPEND -D)
    set(binary ${CMAKE_CURRENT_BINARY_DIR}/${name}.spv)
    add_custom_command(OUTPUT ${binary}
      COMMAND ${PCONV_GLSLANG} --quiet --target-env vulkan1.1 -I${shaders} ${defines} -o ${binary} ${shaders}/${source}
      COMMAND ${PCONV_SPIRV_VAL} --target-env vulkan1.1 ${binary}
      DEPENDS ${shaders}/${source} ${includes} VERBATIM)
    list(APPEND binaries ${binary})
    list(APPEND table "${name}|${binary}|${bindings}|${params}")
  endforeach()
  set(output ${CMAKE_CURRENT_BINARY_DIR}/shader_table.cpp)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} "-DTABLE=${table}" -DOUTPUT=${output} -P ${PROJECT_SOURCE_DIR}/cmake/embed_shaders.cmake
    DEPENDS ${binaries} ${PROJECT_SOURCE_DIR}/cmake/embed_shaders.cmake VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
