# Debian packages, one a component, and an archive of all that runs from any folder:
#   cpack --config build/release/CPackConfig.cmake -G DEB
#   cpack --config build/release/CPackConfig.cmake -G TGZ
# Who builds packages for others says who maintains them, as for Debian's own tools: DEBFULLNAME and DEBEMAIL.
set(CPACK_PACKAGE_NAME pconv)
set(CPACK_PACKAGE_VENDOR "the pconv authors")
# As cpack has it where there is none for all: each package has its own.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${CMAKE_PROJECT_NAME} built using CMake")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(maintainer "the pconv authors")
set(address pconv@example.org)
if(DEFINED ENV{DEBFULLNAME} AND DEFINED ENV{DEBEMAIL})
  set(maintainer $ENV{DEBFULLNAME})
  set(address $ENV{DEBEMAIL})
endif()
set(CPACK_PACKAGE_CONTACT "${maintainer} <${address}>")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
# 1: of the first package of this version.
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/package_staging.cmake)

# What every Debian package documents: its licence, and its own changes.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(READ ${PROJECT_SOURCE_DIR}/LICENSE license)
string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
string(REGEX REPLACE "\n" "\n " license "${license}")
set(package_docs ${PROJECT_BINARY_DIR}/packages)
file(WRITE ${package_docs}/copyright "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pconv

Files: *
Copyright: 2026, the pconv authors
License: BSD-3-clause
 ${license}
")
file(WRITE ${package_docs}/changelog "pconv (${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * Made by cpack; what changed in pconv itself is in its CHANGELOG.md.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
# What libraries are to the system: others link them by this package's name, and the loader's cache is made anew.
file(WRITE ${package_docs}/shlibs "libpconv ${PROJECT_VERSION_MAJOR} libpconv0 (>= ${PROJECT_VERSION})\n")
file(WRITE ${package_docs}/triggers "activate-noawait ldconfig\n")
find_program(PCONV_GZIP gzip)
mark_as_advanced(PCONV_GZIP)
if(PCONV_GZIP)
  execute_process(COMMAND ${PCONV_GZIP} -9 -n -c ${package_docs}/changelog OUTPUT_FILE ${package_docs}/changelog.Debian.gz
    COMMAND_ERROR_IS_FATAL ANY)
endif()

# pconv_package(NAME SECTION SUMMARY TEXT DEPENDS...)
set(CPACK_COMPONENTS_ALL "")
macro(pconv_package name section summary text)
  string(TOUPPER ${name} upper)
  list(APPEND CPACK_COMPONENTS_ALL ${name})
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary}\n${text}")
  set(CPACK_COMPONENT_${upper}_DEPENDS ${ARGN})
  install(FILES ${package_docs}/copyright ${package_docs}/changelog.Debian.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${name}
    COMPONENT ${name} EXCLUDE_FROM_ALL)
endmacro()

set(operators "Partial convolutions are convolutions over data with holes, which networks that
inpaint pictures are made of.")
set(filling "It fills holes in pictures from what is around them: scratches, dust, wires and
objects before a plain ground.")
pconv_package(libpconv0 libs "partial convolutions on CPUs and GPUs, the library" "${operators}
This is the library, with what computes them on CPUs and, by Vulkan, on GPUs.")
set(CPACK_DEBIAN_LIBPCONV0_PACKAGE_CONTROL_EXTRA ${package_docs}/shlibs ${package_docs}/triggers)
# The Vulkan module opens the loader, if there is one.
set(CPACK_DEBIAN_LIBPCONV0_PACKAGE_RECOMMENDS libvulkan1)
if(TARGET pconv_cuda)
  pconv_package(libpconv0-cuda libs "partial convolutions on CPUs and GPUs, by CUDA" "${operators}
This is what computes them on NVIDIA's GPUs. It needs NVIDIA's driver, and for
its fastest form cuDNN." libpconv0)
  set(CPACK_DEBIAN_LIBPCONV0-CUDA_PACKAGE_CONTROL_EXTRA ${package_docs}/triggers)
endif()
pconv_package(libpconv-dev libdevel "partial convolutions on CPUs and GPUs, for developers" "${operators}
These are the headers for C and C++, the CMake package and the pkg-config file." libpconv0)
if(TARGET pconv_command)
  pconv_package(pconv graphics "fill the holes of pictures on the command line" "${filling}
With a trained network it fills by that. It also says what a device can
compute, how right and how fast." libpconv0)
  # For `pconv model import`.
  set(CPACK_DEBIAN_PCONV_PACKAGE_SUGGESTS "python3, python3-h5py")
endif()
if(TARGET pconv_gegl)
  pconv_package(pconv-gegl graphics "fill the holes of pictures in GEGL" "${filling}
This is the operation pconv:inpaint." libpconv0)
  set(CPACK_DEBIAN_PCONV-GEGL_PACKAGE_ENHANCES "gegl, gimp")
endif()
if(TARGET pconv_gimp2 OR TARGET pconv_gimp3)
  pconv_package(pconv-gimp graphics "fill selections in GIMP from what is around them" "${filling}
This is Fill selection (pconv) in the menu Filters, Enhance." libpconv0)
  set(CPACK_DEBIAN_PCONV-GIMP_PACKAGE_DEPENDS gimp)
endif()
if(TARGET pconv_frei0r)
  pconv_package(pconv-frei0r video "fill the holes of video frames in hosts of frei0r" "${filling}
This is the filter pconv_inpaint for ffmpeg, Kdenlive and Shotcut." libpconv0)
  set(CPACK_DEBIAN_PCONV-FREI0R_PACKAGE_ENHANCES "ffmpeg, kdenlive, shotcut")
endif()
include(CPack)
