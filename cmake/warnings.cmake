# Warnings for every target of this project; errors where PCONV_WERROR is on.
add_library(pconv_warnings INTERFACE)
if(MSVC)
  target_compile_options(pconv_warnings INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:/W4>
    $<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<BOOL:${PCONV_WERROR}>>:/WX>)
else()
  set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion $<$<BOOL:${PCONV_WERROR}>:-Werror>)
  target_compile_options(pconv_warnings INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${warnings}>")
  # nvcc hands the host compiler code of its own, which -Wpedantic and -Wconversion do not pass.
  set(host -Wall,-Wextra,-Wshadow$<$<BOOL:${PCONV_WERROR}>:,-Werror>)
  target_compile_options(pconv_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${host}>"
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${PCONV_WERROR}>>:SHELL:-Werror all-warnings>")
endif()
