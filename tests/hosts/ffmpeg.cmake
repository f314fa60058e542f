# ffmpeg runs the frei0r filter: by transparency, by a mask, and frame after frame the same.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
find_host(FFMPEG ffmpeg)
if(host_is_missing)
  return()
endif()
execute_process(COMMAND ${FFMPEG} -hide_banner -filters OUTPUT_VARIABLE filters ERROR_QUIET)
if(NOT filters MATCHES " frei0r ")
  message("SKIPPED: this ffmpeg was built without frei0r")
  return()
endif()
set(ENV{FREI0R_PATH} ${PLUGINS}/frei0r)
run(COMMAND ${PCONV} inpaint ${PICTURE} -o ${WORK}/expected.png)
run(COMMAND ${FFMPEG} -v error -y -i ${PICTURE} -vf format=rgba,frei0r=filter_name=pconv_inpaint -frames:v 1 -pix_fmt rgba ${WORK}/filled.png)
expect_same(${WORK}/expected.png ${WORK}/filled.png 0)

file(COPY_FILE ${MASK} ${WORK}/mask.png)
run(COMMAND ${PCONV} inpaint ${ORIGINAL} --mask ${MASK} -o ${WORK}/expected_by_mask.png)
execute_process(COMMAND ${FFMPEG} -v error -y -loop 1 -i ${ORIGINAL} -vf format=rgba,frei0r=filter_name=pconv_inpaint:filter_params=mask.png
  -frames:v 3 -pix_fmt rgba frame%d.png WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)
foreach(frame 1 2 3)
  expect_same(${WORK}/expected_by_mask.png ${WORK}/frame${frame}.png 0)
endforeach()

execute_process(COMMAND ${FFMPEG} -v error -y -i ${PICTURE} -vf format=rgba,frei0r=filter_name=pconv_inpaint:filter_params=none.png -frames:v 1
  -pix_fmt rgba ${WORK}/faulty.png WORKING_DIRECTORY ${WORK} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0 OR NOT output MATCHES "pconv: the mask cannot be read")
  message(FATAL_ERROR "no word of the mask that is missing:\n${output}")
endif()
