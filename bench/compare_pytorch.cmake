# Tests of compare_pytorch.py on small shapes; skipped where no Python has PyTorch.
set(PCONV_PYTHON "" CACHE FILEPATH "The Python that has PyTorch; looked for where it is empty")
set(python ${PCONV_PYTHON})
if(NOT python)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  foreach(candidate ${Python3_EXECUTABLE} /usr/bin/python3)
    execute_process(COMMAND ${candidate} -c "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
      RESULT_VARIABLE missing OUTPUT_QUIET ERROR_QUIET)
    if(NOT missing STREQUAL "0")
      continue()
    endif()
    set(python ${candidate})
    break()
  endforeach()
endif()
if(NOT python)
  set(python ${Python3_EXECUTABLE})
endif()
if(NOT python)
  message(STATUS "pconv: no Python: compare_pytorch.py is not tested")
  return()
endif()

function(pconv_add_comparison name)
  add_test(NAME compare_pytorch.${name}
    COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/compare_pytorch.py --library $<TARGET_FILE:pconv> --threads 2 ${ARGN})
  set_tests_properties(compare_pytorch.${name} PROPERTIES LABELS bench TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "OMP_WAIT_POLICY=passive;PYTHONDONTWRITEBYTECODE=1")
endfunction()

pconv_add_comparison(forward --check --batch 2 --shrink 8 --table 2d --layout both)
pconv_add_comparison(backward --check --batch 2 --shrink 8 --table 2d --layout both --backward)
pconv_add_comparison(3d --check --batch 2 --shrink 16 --table 3d --layout both --backward)
pconv_add_comparison(multi_channel --check --batch 2 --shrink 8 --table multi --layout both --backward)
pconv_add_comparison(fast --check --batch 2 --shrink 4 --filter "small|high" --precision fast)
pconv_add_comparison(bf16 --check --batch 2 --shrink 8 --layout both --precision bf16)
pconv_add_comparison(times --batch 1 --shrink 8 --filter "random|no mask" --rounds 2 --slice 1 --cache 1
  --json ${CMAKE_CURRENT_BINARY_DIR}/compare_pytorch.json)
