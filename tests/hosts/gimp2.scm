; What gimp.scm asks of GIMP 2.10.
(define (load-picture path) (car (gimp-file-load RUN-NONINTERACTIVE path path)))
(define (layer-of image) (car (gimp-image-get-active-layer image)))
(define (save image name)
  (file-png-save-defaults RUN-NONINTERACTIVE image (layer-of image) (string-append "@WORK@/" name) name))
(define (fill-layer image layer device model)
  (plug-in-pconv-fill-selection RUN-NONINTERACTIVE image layer device model))
(define (fill-as-last image) (plug-in-pconv-fill-selection-by RUN-WITH-LAST-VALS image (layer-of image) "" ""))
(define (new-group image) (car (gimp-layer-group-new image)))
(define sixteen-bits PRECISION-U16-GAMMA)

