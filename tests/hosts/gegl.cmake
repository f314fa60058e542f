# gegl's own command runs the operation: by transparency, and by aux. An unknown operation would end well too and write the picture
# as it was, which the comparison finds.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
find_host(GEGL gegl)
find_host(PKG_CONFIG pkg-config)
if(host_is_missing)
  return()
endif()
# GEGL_PATH takes the place of the folders that are searched otherwise.
execute_process(COMMAND ${PKG_CONFIG} --variable=pluginsdir gegl-0.4 OUTPUT_VARIABLE own OUTPUT_STRIP_TRAILING_WHITESPACE)
set(ENV{GEGL_PATH} "${PLUGINS}/gegl:${own}")
run(COMMAND ${PCONV} inpaint ${PICTURE} -o ${WORK}/expected.png)
run(COMMAND ${GEGL} ${PICTURE} -o ${WORK}/filled.png -- pconv:inpaint OUTPUT said)
message("${said}")
expect_same(${WORK}/expected.png ${WORK}/filled.png 0.51) # what is saved has 16 bits

run(COMMAND ${PCONV} inpaint ${ORIGINAL} --mask ${MASK} -o ${WORK}/expected_by_mask.png)
file(WRITE ${WORK}/aux.xml "<?xml version='1.0'?>
<gegl>
  <node operation='pconv:inpaint'>
    <node operation='gegl:load'><params><param name='path'>${MASK}</param></params></node>
  </node>
  <node operation='gegl:load'><params><param name='path'>${ORIGINAL}</param></params></node>
</gegl>
")
run(COMMAND ${GEGL} ${WORK}/aux.xml -o ${WORK}/filled_by_aux.png)
expect_same(${WORK}/expected_by_mask.png ${WORK}/filled_by_aux.png 0.51)

# By a network.
run(COMMAND ${MODEL} ${WORK}/model.safetensors)
run(COMMAND ${PCONV} inpaint ${PICTURE} --model ${WORK}/model.safetensors -o ${WORK}/expected_by_model.png)
run(COMMAND ${GEGL} ${PICTURE} -o ${WORK}/filled_by_model.png -- pconv:inpaint model=${WORK}/model.safetensors)
# The command rounds to 8 bits twice: what the network gave, and what is then filled from it where the network does not reach.
expect_same(${WORK}/expected_by_model.png ${WORK}/filled_by_model.png 1.01)
execute_process(COMMAND ${COMPARE} ${WORK}/expected.png ${WORK}/filled_by_model.png 2 RESULT_VARIABLE result OUTPUT_QUIET)
if(result EQUAL 0)
  message(FATAL_ERROR "the network fills as the method without one does")
endif()

# A device that is not there: the picture goes through, and a line says why.
execute_process(COMMAND ${GEGL} ${PICTURE} -o ${WORK}/faulty.png -- pconv:inpaint device=nonesuch RESULT_VARIABLE result OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(NOT output MATCHES "pconv:inpaint: .*no device 'nonesuch'" OR NOT EXISTS ${WORK}/faulty.png)
  message(FATAL_ERROR "no word of the device that is missing:\n${output}")
endif()
execute_process(COMMAND ${GEGL} ${PICTURE} -o ${WORK}/faulty.png -- pconv:inpaint model=${PICTURE} RESULT_VARIABLE result
  OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT output MATCHES "pconv:inpaint: [^\n]*damaged.png[^\n]*; the picture is passed on as it is")
  message(FATAL_ERROR "no word of the model that is none:\n${output}")
endif()
