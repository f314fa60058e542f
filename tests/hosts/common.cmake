# What the tests of real hosts share: a damaged picture, what `pconv inpaint` makes of it, and comparing pixels. Scripts that ctest
# runs: PCONV is the command, PICTURE the picture, WORK a folder, PLUGINS where the plug-ins were built, COMPARE the comparing program,
# MODEL one that writes a model file.
function(run)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "TIMEOUT;OUTPUT;INPUT" "COMMAND")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 900)
  endif()
  set(input "")
  if(arg_INPUT)
    set(input INPUT_FILE ${arg_INPUT})
  endif()
  execute_process(COMMAND ${arg_COMMAND} TIMEOUT ${arg_TIMEOUT} ${input} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${arg_COMMAND}\nended with ${result}\n${output}")
  endif()
  if(arg_OUTPUT)
    set(${arg_OUTPUT} "${output}" PARENT_SCOPE)
  endif()
endfunction()

# Hosts that are not here are no fault, but are said: the line is what ctest takes for a skipped test.
function(find_host variable name)
  find_program(${variable} ${name})
  if(NOT ${variable})
    message("SKIPPED: ${name} is not installed here")
    set(host_is_missing TRUE PARENT_SCOPE)
  endif()
endfunction()

# At most `levels` of 255 apart, everywhere.
function(expect_same a b levels)
  run(COMMAND ${COMPARE} ${a} ${b} ${levels} OUTPUT output)
  message("${output}")
endfunction()

file(MAKE_DIRECTORY ${WORK})
