# The table of shader variants: name, source, storage buffer bindings (0 up), whether a uniform buffer follows them, and
# what is defined. Specialization constants, named in specialization.h, make the rest of the variants at run time.
set(PCONV_SHADERS
  "mask_pack            mask_pack.comp           2  no"
  "mask_window          mask_window.comp         6  yes"
  "channel_mask         channel_mask.comp        4  yes"
  "norm_statistics      norm_statistics.comp     6  no"
  "upsample             upsample.comp            2  no"
  "pad                  pad.comp                 2  no"
  "unpack_bits          unpack_bits.comp         2  no"
  "convert_32           convert.comp             2  no"
  "convert_16           convert.comp             2  no   STORAGE_16"
)
# Those that read or write tensors: once for each data type.
foreach(line
    "pack_weights         pack_weights.comp         3  no"
    "weight_magnitude     weight_magnitude.comp     2  no"
    "partial_conv_direct  partial_conv_direct.comp  8  yes"
    "partial_conv_gemm    partial_conv_gemm.comp    8  yes"
    "partial_conv_join    partial_conv_join.comp    8  yes"
    "turn_weights         turn_weights.comp         2  no"
    "grad_sum             grad_sum.comp             4  yes"
    "grad_bias            grad_bias.comp            4  yes"
    "grad_input           grad_input.comp           5  yes"
    "grad_input_gemm      grad_input_gemm.comp      5  yes"
    "grad_weight          grad_weight.comp          5  yes"
    "grad_weight_gemm     grad_weight_gemm.comp     5  yes"
    "give_gradient        give_gradient.comp        2  no"
    "fold_padding         fold_padding.comp         2  no"
    "masked_sums          masked_sums.comp          5  no"
    "norm_apply           norm_apply.comp           5  no"
    "spatial_mean         spatial_mean.comp         3  no"
    "pointwise            pointwise.comp            5  no"
    "pool                 pool.comp                 2  no"
    "interpolate          interpolate.comp          2  no")
  foreach(type f32 f16 bf16)
    string(TOUPPER "STORAGE_${type}" define)
    string(REGEX REPLACE "^([a-z_]+) (.*)" "\\1_${type} \\2 ${define}" variant "${line}")
    list(APPEND PCONV_SHADERS "${variant}")
  endforeach()
endforeach()
# Of what the compiler of shaders may not know.
if(PCONV_COOPERATIVE_MATRICES)
  list(APPEND PCONV_SHADERS
    "pack_halves_f16          pack_weights.comp           3  no   STORAGE_F16  PACKED_HALVES"
    "partial_conv_coopmat_f16 partial_conv_coopmat.comp   8  yes  STORAGE_F16")
endif()
set(PCONV_SHADER_INCLUDES specialization.h element.glsl mask_planes.glsl gelu.glsl window.glsl partial_conv.glsl product_tile.glsl
  register_tile.glsl implicit_gemm.glsl gradient.glsl gradient_tile.glsl grad_input.glsl grad_weight.glsl gradient_mask.glsl masked_rows.glsl
  output_gradient.glsl pass_outputs.glsl sum.glsl walk.glsl workgroup_sum.glsl flat_grid.glsl words.glsl)
