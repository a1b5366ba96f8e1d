"""Labels, captions and splits that files beside the images give: tables, COCO's JSON, Pascal VOC's XML."""
