"""The same model behind Gradio, as its guides say: `python serving_gradio.py FOLDER PORT`. Run by another Python.

Requests that wait are computed together (batch=True), and the picture is base64, as in our answer.
"""

import base64
import io
import sys

import gradio
import numpy as np
import torch
from PIL import Image

from genai_core.model import load_model

BATCH = 64


def main() -> None:
    model = load_model(sys.argv[1])

    @torch.inference_mode()
    def draw(seeds: "list[float]") -> "list[list[str]]":
        labels = torch.zeros(len(seeds), dtype=torch.int64) if model.classes else None
        numbers = torch.tensor([int(seed) for seed in seeds])
        pixels = model.network.sample(labels, numbers, model.sampling).cpu().numpy()
        return [[encoded(image) for image in pixels]]

    app = gradio.Interface(draw, gradio.Number(), gradio.Textbox(), batch=True, max_batch_size=BATCH, api_name="draw")
    app.queue(max_size=None).launch(server_name="127.0.0.1", server_port=int(sys.argv[2]), quiet=True, share=False)


def encoded(pixels: "np.ndarray") -> str:
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


if __name__ == "__main__":
    main()
