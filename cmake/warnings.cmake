# Warnings for every target of this project; errors where PCONV_WERROR is on.
add_library(pconv_warnings INTERFACE)
if(MSVC)
  target_compile_options(pconv_warnings INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:/W4>
    $<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<BOOL:${PCONV_WERROR}>>:/WX>)
else()
  set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion $<$<BOOL:${PCONV_WERROR}>:-Werror>)
  target_compile_options(pconv_warnings INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${warnings}>")
  # Whatever the build that this one is a part of asks for: a NaN in a hole is data, and checks for it must not vanish.
  get_directory_property(asked COMPILE_OPTIONS)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  string(JOIN " " asked ${asked} ${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS} "${CMAKE_C_FLAGS_${type}}" "${CMAKE_CXX_FLAGS_${type}}")
  if(asked MATCHES "-Ofast|-ffast-math|-ffinite-math-only|-funsafe-math-optimizations")
    target_compile_options(pconv_warnings INTERFACE
      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-fast-math> $<$<COMPILE_LANGUAGE:C,CXX>:-fno-finite-math-only>)
  endif()
  # nvcc hands the host compiler code of its own, which -Wpedantic and -Wconversion do not pass.
  set(host -Wall,-Wextra,-Wshadow$<$<BOOL:${PCONV_WERROR}>:,-Werror>)
  target_compile_options(pconv_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${host}>"
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${PCONV_WERROR}>>:SHELL:-Werror all-warnings>")
endif()
