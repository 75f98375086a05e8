"""Detect objects by an exported file, best first: python docs/onnx_example.py FILE.onnx IMAGE. Torch is not needed."""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
said = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
prepare = said["preprocessing"]
pixels = cv2.imread(sys.argv[2])  # 8-bit BGR, turned upright as its EXIF data say

height, width = pixels.shape[:2]
scale = min(prepare["width"] / width, prepare["height"] / height)
fitting = int(width * scale + 0.5), int(height * scale + 0.5)
size = fitting if prepare["keep_ratio"] else (prepare["width"], prepare["height"])
resized = cv2.resize(pixels, size)[..., :: -1 if prepare["channels"] == "RGB" else 1]
image = np.full((prepare["height"], prepare["width"], 3), prepare["pad_value"], dtype=np.float32)
image[: size[1], : size[0]] = (resized - np.float32(prepare["mean"])) / np.float32(prepare["std"])

inputs = {"images": image.transpose(2, 0, 1)[np.newaxis], "sizes": np.array([size[::-1]], dtype=np.int64)}
boxes, scores, labels = (output[0] for output in session.run(None, inputs))
boxes = boxes / np.tile(np.divide(size, (width, height)), 2)  # xyxy in pixels of the image
found = (labels >= 0) & (scores >= (said["threshold"] or 0))
for box, score, label in zip(boxes[found].tolist(), scores[found].tolist(), labels[found].tolist(), strict=True):
    print(json.dumps({"class": said["classes"][label], "score": score, "box": box}))
