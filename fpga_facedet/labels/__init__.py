"""Labels of faces in the forms people keep them in (WIDER FACE, YOLO, Pascal VOC), read into one record a picture."""
