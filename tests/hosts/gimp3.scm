; What gimp.scm asks of the Script-Fu of GIMP 3.
(define (load-picture path) (car (gimp-file-load RUN-NONINTERACTIVE path)))
(define (layer-of image) (vector-ref (car (gimp-image-get-layers image)) 0))
(define (save image name)
  (gimp-file-save RUN-NONINTERACTIVE image (string-append "@WORK@/" name)))
(define (fill-layer image layer device model)
  (plug-in-pconv-fill-selection #:run-mode RUN-NONINTERACTIVE #:image image #:drawables (vector layer) #:device device #:model model))
(define (fill-as-last image)
  (plug-in-pconv-fill-selection-by #:run-mode RUN-WITH-LAST-VALS #:image image #:drawables (vector (layer-of image))))
(define (new-group image) (car (gimp-group-layer-new image "group")))
(define sixteen-bits PRECISION-U16-NON-LINEAR)

