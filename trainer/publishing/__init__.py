"""From a fitted model to an artifact that workers find: publishing, and exports to ONNX, OpenVINO and int8."""
