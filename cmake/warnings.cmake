# Warnings for every target of this project; errors where PCONV_WERROR is on.
add_library(pconv_warnings INTERFACE)
if(MSVC)
  target_compile_options(pconv_warnings INTERFACE /W4 $<$<BOOL:${PCONV_WERROR}>:/WX>)
else()
  target_compile_options(pconv_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    $<$<BOOL:${PCONV_WERROR}>:-Werror>)
endif()
