# oneDNN, as DNNL::dnnl and dnnl_VERSION; found only where it was built with OpenMP. Not by its own configuration file, which
# stops the configuration where OpenCL's headers are missing, though nothing here needs them.
find_path(dnnl_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(dnnl_LIBRARY dnnl)
mark_as_advanced(dnnl_INCLUDE_DIR dnnl_LIBRARY)

set(dnnl_runtime "")
if(dnnl_INCLUDE_DIR)
  set(version_line "#define DNNL_VERSION_(MAJOR|MINOR|PATCH) +([0-9]+)")
  file(STRINGS ${dnnl_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h dnnl_VERSION REGEX "${version_line}")
  list(TRANSFORM dnnl_VERSION REPLACE ".* ([0-9]+).*" "\\1")
  list(JOIN dnnl_VERSION . dnnl_VERSION)
  file(STRINGS ${dnnl_INCLUDE_DIR}/oneapi/dnnl/dnnl_config.h dnnl_runtime
    REGEX "^#define DNNL_CPU_THREADING_RUNTIME DNNL_RUNTIME_OMP$")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(dnnl REQUIRED_VARS dnnl_LIBRARY dnnl_INCLUDE_DIR dnnl_runtime VERSION_VAR dnnl_VERSION)
if(dnnl_FOUND AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${dnnl_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${dnnl_INCLUDE_DIR})
endif()
