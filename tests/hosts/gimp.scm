; Fills pictures by the plug-in in every way that gimp.cmake looks at, by what gimp2.scm or gimp3.scm defines.
(define (fill image) (fill-layer image (layer-of image) "cpu" ""))
(define (select-areas image)
  (gimp-image-select-rectangle image CHANNEL-OP-REPLACE 60 50 40 30)
  (gimp-image-select-ellipse image CHANNEL-OP-ADD 300 200 50 70)
  (gimp-image-select-rectangle image CHANNEL-OP-ADD 0 300 512 3)
  (gimp-selection-sharpen image))
(define (original)
  (load-picture "@ORIGINAL@"))

(let ((image (load-picture "@PICTURE@")))
  (fill image)
  (save image "transparent.png"))

(let ((image (original)))
  (select-areas image)
  (fill image)
  (save image "selection.png"))

(let ((image (original)))
  (select-areas image)
  (fill-layer image (layer-of image) "cpu" "@WORK@/model.safetensors")
  (save image "network.png"))

; With what was chosen last, which is nothing yet.
(let ((image (original)))
  (select-areas image)
  (fill-as-last image)
  (save image "last.png"))

(let ((image (original)))
  (gimp-image-convert-precision image sixteen-bits)
  (select-areas image)
  (fill image)
  (save image "sixteen.png"))

(let ((image (original)))
  (gimp-image-convert-grayscale image)
  (save image "gray_before.png")
  (select-areas image)
  (fill image)
  (save image "gray.png"))

(let ((image (original)))
  (gimp-context-set-foreground '(0 0 0))
  (gimp-drawable-fill (layer-of image) FILL-FOREGROUND)
  (select-areas image)
  (gimp-context-set-foreground '(255 255 255))
  (gimp-drawable-edit-fill (layer-of image) FILL-FOREGROUND)
  (save image "mask.png"))

; From here on each form ends with what is refused: the fault is said, and the host goes on with the next.
(define (refused image device)
  (fill-layer image (layer-of image) device ""))

(refused (original) "cpu")

(let ((image (original)))
  (select-areas image)
  (refused image "nonesuch"))

(let ((image (original)))
  (select-areas image)
  (gimp-layer-resize (layer-of image) 20 20 -490 -350)
  (refused image "cpu"))

(let ((image (original)))
  (gimp-selection-all image)
  (refused image "cpu"))

(let ((image (original)))
  (select-areas image)
  (gimp-item-set-lock-content (layer-of image) TRUE)
  (refused image "cpu"))

(let* ((image (original)) (group (new-group image)))
  (gimp-image-insert-layer image group 0 0)
  (select-areas image)
  (fill-layer image group "cpu" ""))

(let ((image (original)))
  (gimp-image-convert-indexed image CONVERT-DITHER-NONE CONVERT-PALETTE-GENERATE 64 FALSE FALSE "")
  (select-areas image)
  (refused image "cpu"))

(let ((image (original)))
  (select-areas image)
  (fill-layer image (layer-of image) "cpu" "@PICTURE@"))

(gimp-message "all tried")
(gimp-quit 0)
