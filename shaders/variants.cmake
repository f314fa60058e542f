# The table of shader variants: name, source, storage buffer bindings (0 up), whether a uniform buffer follows them, and
# what is defined. Specialization constants, named in specialization.h, make the rest of the variants at run time.
set(PCONV_SHADERS
  "mask_pack            mask_pack.comp           2  no"
  "mask_window          mask_window.comp         6  yes"
  "pack_weights_f32     pack_weights.comp        3  no"
  "pack_weights_f16     pack_weights.comp        3  no   STORAGE_F16"
  "partial_conv_direct_f32  partial_conv_direct.comp  8  yes"
  "partial_conv_direct_f16  partial_conv_direct.comp  8  yes  STORAGE_F16"
  "partial_conv_gemm_f32    partial_conv_gemm.comp    8  yes"
  "partial_conv_gemm_f16    partial_conv_gemm.comp    8  yes  STORAGE_F16"
)
set(PCONV_SHADER_INCLUDES specialization.h window.glsl partial_conv.glsl)
