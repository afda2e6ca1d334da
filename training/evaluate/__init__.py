"""Measuring detections against ground truth.

Coordinates. Everything in memory is a continuous box [x0, y0, x1, y1] in pixels of the original
picture, its top-left corner at (0, 0), as the detector gives them. Files have their own ways:

- Pascal VOC (annotations, `comp4_det_test_CLASS.txt`) counts pixels from 1 and includes the last:
  xmin = x0 + 1, ymin = y0 + 1, xmax = x1, ymax = y1. The devkit's width xmax - xmin + 1 is then
  x1 - x0, so its IoU with the +1 convention is the plain IoU of the continuous boxes.
- COCO (`bbox` of the JSON lists) has [x, y, w, h] = [x0, y0, x1 - x0, y1 - y0].
"""
